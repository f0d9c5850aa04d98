"""What the command line does, as functions: load a suite, run it, read its results back as tables."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue, ValidationError

from benchbench import suite as suites
from benchbench.problems import BadInputError, Problem
from benchbench.values import Component, Method, Row, RunResult, RunSpec, Suite

if TYPE_CHECKING:
    from benchbench.conformance import Verdict
    from benchbench.estimate import Estimate
    from benchbench.figures import Currency, Figure, Kind
    from benchbench.leaderboard.submission import Submission
    from benchbench.plan import PlannedRun
    from benchbench.reporting.exchange import Record
    from benchbench.reporting.table import Table
    from benchbench.run_folder import RunFolder
    from benchbench.runner import Observer
    from benchbench.tracking import Tracker

RUNS_DIR = Path(".benchbench/runs")
"""Where runs leave their files, unless told otherwise: below the current folder."""

DATA = Path("data")
"""Where data sets are looked for, unless told otherwise: below the current folder."""


def load_suite(
    suite: str | Path,
    *,
    overrides: Sequence[str] = (),
    only: Sequence[str] = (),
    data: Path | None = DATA,
    synthetic: bool = False,
    thorough: bool = True,
    warm_up: bool = False,
) -> Suite:
    """Load a suite and check it.

    Args:
        suite: Path of a YAML file, or the name of a bundled suite.
        overrides: Changes such as `workloads.digits-mlp.epochs=2`.
        only: Selections such as `method=SASSHA,seed=0`.
        data: The folder in which data sets lie; `None` if they may be missing.
        synthetic: Whether every workload that can shall make up its data.
        thorough: Whether to check everything that can be known before its first run starts (which imports the plugins
            that it names), or its form only.
        warm_up: Let the local engine load what the runs will need meanwhile.

    Raises:
        BadInputError: The suite cannot be used; carries every problem found.
    """
    if thorough:
        from benchbench import checks

        before = _warm_up if warm_up else None
        return checks.load(suite, overrides=overrides, only=only, data=data, synthetic=synthetic, before=before)
    loaded = suites.load(suite, overrides=overrides)
    if synthetic:
        from benchbench.checks import with_synthetic_data

        loaded = with_synthetic_data(loaded)
    return suites.select(loaded, only) if only else loaded


def check(suite: Suite, *, data: Path | None = DATA) -> None:
    """Check everything about a suite that can be known before its first run starts.

    Args:
        suite: The suite.
        data: The folder in which data sets lie; `None` if they may be missing.

    Raises:
        BadInputError: A run could not be set up; carries every problem found.
    """
    from benchbench.checks import problems

    found = problems(suite, data)
    if found:
        raise BadInputError(found)


def prepare(suite: Suite, *, data: Path = DATA) -> Iterator[str]:
    """Download and verify the data of a suite.

    Args:
        suite: The suite, loaded without `thorough`.
        data: The folder in which data sets lie, or shall lie.

    Yields:
        The label of each workload, once its data is there.

    Raises:
        BadInputError: A workload or its parameters cannot be used, or data cannot be had.
    """
    from benchbench.checks import prepare as prepare_workloads

    yield from prepare_workloads(suite, data)


def missing_data(suite: Suite, *, data: Path = DATA) -> list[Problem]:
    """Say which data are missing: a line for each workload, with where they were looked for and how to get them.

    Args:
        suite: A suite without problems.
        data: The folder in which data sets lie.
    """
    from benchbench.checks import missing_data as missing

    return missing(suite, data)


def estimates(suite: Suite, *, data: Path = DATA) -> dict[tuple[str, str], Estimate]:
    """Estimate what a run of each workload and method costs on this machine, from small experiments.

    Args:
        suite: A suite without problems.
        data: The folder in which data sets lie, for workloads that cannot make up their own.

    Returns:
        An estimate for one seed by (workload, method), where there can be one.
    """
    import torch

    from benchbench import estimate
    from benchbench.engines.slots import available_slots

    slot = available_slots()[0]
    torch.set_num_threads(slot.threads)
    first = {(spec.workload_label, spec.method): spec for spec in reversed(suite.specs)}
    return estimate.of_runs(first, torch.device(slot.device), data)


def plan(
    suite: Suite,
    *,
    force: bool = False,
    tracking_uri: str | None = None,
    runs_dir: Path | None = None,
) -> list[PlannedRun]:
    """Say for every run of a suite whether it is done or has to be run. Changes nothing.

    Args:
        suite: The suite.
        force: Plan every run as if nothing were known.
        tracking_uri: MLflow store (default: `MLFLOW_TRACKING_URI`, else `mlflow.db` in the current folder).
        runs_dir: Folder of the runs' files (default: `.benchbench/runs`).

    Raises:
        BadInputError: A run could not be set up.
        TrackingError: The tracking store cannot be read.
    """
    from benchbench.plan import plan as plan_specs
    from benchbench.tracking import Tracker

    check(suite, data=None)
    return plan_specs(suite.specs, Tracker(tracking_uri), runs_dir or RUNS_DIR, force=force)


def run(
    suite: Suite | str | Path,
    *,
    engine: str = "local",
    slots: int | None = None,
    devices: Sequence[str] = (),
    slots_per_device: int = 1,
    address: str | None = None,
    wait: bool = True,
    force: bool = False,
    tracking_uri: str | None = None,
    runs_dir: Path | None = None,
    data: Path = DATA,
    observe: Observer = lambda event: None,
    warn: Callable[[str], None] = lambda text: None,
) -> list[Row]:
    """Run what is missing of a suite and return all its results.

    Args:
        suite: A loaded suite, or what `load_suite` takes.
        engine: `local` (a process per run), `inline` (in this process, one after the other), `ray` or `slurm`.
        slots: Runs at a time (default: one per GPU, or per core without a GPU; on a cluster, as many as it takes).
        devices: What to use of this machine: `cpu`, or GPUs by number (default: all GPUs, or else the CPU).
        slots_per_device: Runs that share a GPU.
        address: For `ray`: the cluster (default: `RAY_ADDRESS`; without it, one is started on this machine).
        wait: For `slurm`: whether to wait for the runs, or to return once they are in the queue, see `collect`.
        force: Run again what is done already.
        tracking_uri: MLflow store (default: `MLFLOW_TRACKING_URI`, else `mlflow.db` in the current folder).
        runs_dir: Folder of the runs' files (default: `.benchbench/runs`).
        data: The folder in which data sets lie.
        observe: Told about everything that happens.
        warn: Told what goes wrong beside the runs, in one line.

    Returns:
        One row per run of the suite, with its result.

    Raises:
        BadInputError: The suite cannot be used; no run was started.
        EngineError: The engine cannot be used.
        TrackingError: The tracking store cannot be used; a `TrackingLostError` if it went away in the middle: the runs
            are done then, and the same call writes them to it.
        KeyboardInterrupt: On Ctrl-C or SIGTERM, after everything has been put in order.
    """
    from benchbench.engines import create
    from benchbench.engines.slots import available_slots
    from benchbench.runner import Runner
    from benchbench.tracking import Tracker

    suite = suite if isinstance(suite, Suite) else load_suite(suite, data=data)
    check(suite, data=data)
    tracker = Tracker(tracking_uri)
    chosen = create(
        engine,
        available_slots(slots, devices, slots_per_device, exclusive=suite.exclusive),
        _plugin_modules(suite.specs),
        limit=slots,
        address=address,
        options=suite.engine_options.get(engine, {}),
    )
    runner = Runner(suite, chosen, tracker, runs_dir or RUNS_DIR, data, observe, force, warn)
    if wait:
        try:
            runner.run()
        finally:
            chosen.stop()  # gives back what it holds; after an interruption there is nothing left to stop
    else:
        runner.submit()
    return _rows(suite, runner.results, tracker, runs_dir)


def status(suite: Suite, *, tracking_uri: str | None = None, runs_dir: Path | None = None) -> list[dict[str, object]]:
    """Say how far every run of a suite is: one mapping per run.

    Args:
        suite: The suite.
        tracking_uri: MLflow store (default: `MLFLOW_TRACKING_URI`, else `mlflow.db` in the current folder).
        runs_dir: Folder of the runs' files (default: `.benchbench/runs`).

    Raises:
        EngineError: The system that has the runs in its queue does not answer.
        TrackingError: The tracking store cannot be read.
    """
    from benchbench.plan import plan as plan_specs
    from benchbench.planning import standing
    from benchbench.tracking import Tracker

    return standing(plan_specs(suite.specs, Tracker(tracking_uri), runs_dir or RUNS_DIR))


def collect(
    suite: Suite,
    *,
    tracking_uri: str | None = None,
    runs_dir: Path | None = None,
    observe: Observer = lambda event: None,
) -> list[Row]:
    """Bring the runs that have ended since they were submitted into tracking, and return all results of the suite.

    Args:
        suite: The suite.
        tracking_uri: MLflow store (default: `MLFLOW_TRACKING_URI`, else `mlflow.db` in the current folder).
        runs_dir: Folder of the runs' files (default: `.benchbench/runs`).
        observe: Told about every run that is brought in.

    Raises:
        EngineError: The system that has the runs in its queue does not answer.
        TrackingError: The tracking store cannot be used.
    """
    from benchbench.engines.submissions import Collecting
    from benchbench.runner import Runner
    from benchbench.tracking import Tracker

    tracker = Tracker(tracking_uri)
    runner = Runner(suite, Collecting(), tracker, runs_dir or RUNS_DIR, DATA, observe)
    runner.collect()
    return _rows(suite, runner.results, tracker, runs_dir)


def measure(
    suite: Suite | str | Path,
    *,
    changes: Mapping[str, JsonValue] | None = None,
    engine: str = "local",
    slots: int | None = None,
    tracking_uri: str | None = None,
    runs_dir: Path | None = None,
    data: Path = DATA,
    observe: Observer = lambda event: None,
) -> list[Row]:
    """Measure the sharpness of every finished run of a suite that has not been measured so; train nothing.

    Args:
        suite: A loaded suite, or what `load_suite` takes. Its `sharpness` says what is measured, and how.
        changes: Settings of `sharpness` that differ, such as `{"dtype": "float64"}`.
        engine: As for `run`.
        slots: As for `run`.
        tracking_uri: MLflow store (default: `MLFLOW_TRACKING_URI`, else `mlflow.db` in the current folder).
        runs_dir: Folder of the runs' files (default: `.benchbench/runs`).
        data: The folder in which data sets lie.
        observe: Told about everything that happens.

    Returns:
        One row per run of the suite, with its result; its spec says what was asked for.

    Raises:
        BadInputError: The suite cannot be used; nothing was measured.
        TrackingError: The tracking store cannot be used.
        KeyboardInterrupt: On Ctrl-C or SIGTERM, after everything has been put in order.
    """
    from benchbench.plan import plan as plan_specs
    from benchbench.tracking import Tracker

    suite = suite if isinstance(suite, Suite) else load_suite(suite, data=data)
    specs = tuple(spec.asking_for_sharpness(changes or {}) for spec in suite.specs)
    suite = suite.model_copy(update={"specs": specs})
    planned = plan_specs(specs, Tracker(tracking_uri), runs_dir or RUNS_DIR)
    finished = {item.spec.key for item in planned if item.state != "to run"}
    trained = suite.model_copy(update={"specs": tuple(spec for spec in specs if spec.key in finished)})
    known = run(
        trained,
        engine=engine,
        slots=slots,
        tracking_uri=tracking_uri,
        runs_dir=runs_dir,
        data=data,
        observe=observe,
    )
    by_key = {row.spec.key: row.result for row in known}
    return [Row(spec=spec, result=by_key.get(spec.key)) for spec in specs]


def find_run(folder_or_key: str, *, runs_dir: Path | None = None) -> tuple[Suite, RunFolder] | None:
    """Return a single run as a suite of its own, with its folder; `None` for what names no run.

    Args:
        folder_or_key: Path of a run's folder, or a run's key.
        runs_dir: Folder of the runs' files (default: `.benchbench/runs`).

    Raises:
        BadInputError: There is no such run, or its folder is damaged.
    """
    from benchbench.run_folder import RunFolder

    is_key = re.fullmatch("[0-9a-f]{16}", folder_or_key) is not None
    folder = RunFolder((runs_dir or RUNS_DIR) / folder_or_key if is_key else Path(folder_or_key))
    if not (is_key or folder.path.is_dir()):
        return None
    try:
        spec = RunSpec.model_validate_json(folder.spec_file.read_bytes())
    except FileNotFoundError:
        raise BadInputError([Problem("no such run: there is no spec.json", str(folder.path))]) from None
    except ValidationError as error:
        message = f"cannot be read: {error.errors()[0]['msg']}"
        raise BadInputError([Problem(message, str(folder.spec_file))]) from None
    if folder.path.resolve().name != spec.key:
        raise BadInputError([Problem(f"the folder of a run has the name of its key, {spec.key}", str(folder.path))])
    suite = Suite(
        name=spec.suite,
        title=spec.suite,
        protocol=spec.protocol,
        seeds=(spec.seed,),
        methods=(Method(label=spec.method),),
        workloads=(spec.workload_label,),
        tables=("sharpness",),
        specs=(spec,),
    )
    return suite, folder


def rows(suite: Suite, *, tracking_uri: str | None = None, runs_dir: Path | None = None) -> list[Row]:
    """Read back what tracking holds of a suite: one row per run, without a result where there is none.

    What the runs recorded after every epoch is there if the suite's tables need it.

    Args:
        suite: The suite.
        tracking_uri: MLflow store (default: `MLFLOW_TRACKING_URI`, else `mlflow.db` in the current folder).
        runs_dir: Folder of the runs' files (default: `.benchbench/runs`).

    Raises:
        TrackingError: The tracking store cannot be read.
    """
    from benchbench.tracking import Tracker

    tracker = Tracker(tracking_uri)
    return _rows(suite, tracker.results([spec.key for spec in suite.specs]), tracker, runs_dir)


def results(
    suite: Suite,
    *,
    imported: Sequence[Path] = (),
    tracking_uri: str | None = None,
    runs_dir: Path | None = None,
) -> tuple[Suite, list[Row]]:
    """Return a suite and its rows, with the methods of imported results beside its own.

    Args:
        suite: The suite.
        imported: Files that `benchbench export` wrote, or another program in the same form.
        tracking_uri: MLflow store (default: `MLFLOW_TRACKING_URI`, else `mlflow.db` in the current folder).
        runs_dir: Folder of the runs' files (default: `.benchbench/runs`).

    Raises:
        BadInputError: A file cannot be used.
        TrackingError: The tracking store cannot be read.
    """
    known = rows(suite, tracking_uri=tracking_uri, runs_dir=runs_dir)
    if imported:
        from benchbench.reporting.exchange import read_all, with_imported

        return with_imported(suite, known, read_all(imported))
    return suite, known


def workloads_left_out(suites: Sequence[Suite], imported: Sequence[Path]) -> list[str]:
    """Return the workloads of imported results that none of the suites has.

    Raises:
        BadInputError: A file cannot be used.
    """
    if not imported:
        return []
    from benchbench.reporting.exchange import read_all

    known = {workload for suite in suites for workload in suite.workloads}
    return [label for label in dict.fromkeys(record.workload for record in read_all(imported)) if label not in known]


def report(
    *suites: Suite | str | Path,
    imported: Sequence[Path] = (),
    tracking_uri: str | None = None,
    runs_dir: Path | None = None,
) -> list[Table]:
    """Return the tables of suites, from what tracking holds.

    Args:
        *suites: Loaded suites, or what `load_suite` takes; of several, the tables over all of them follow.
        imported: Files of results to show beside the suites' own.
        tracking_uri: MLflow store (default: `MLFLOW_TRACKING_URI`, else `mlflow.db` in the current folder).
        runs_dir: Folder of the runs' files (default: `.benchbench/runs`).

    Raises:
        BadInputError: A suite or a file cannot be used.
        TrackingError: The tracking store cannot be read.
    """
    from benchbench.reporting import joint_tables, tables

    loaded = [suite if isinstance(suite, Suite) else load_suite(suite, thorough=False) for suite in suites]
    known = [results(suite, imported=imported, tracking_uri=tracking_uri, runs_dir=runs_dir) for suite in loaded]
    of_each = [table for suite, found in known for table in tables(suite, found)]
    if len(known) == 1:
        return of_each
    return [*of_each, *joint_tables([suite for suite, _ in known], [found for _, found in known])]


def compare(
    suite: Suite | str | Path, publication: str, *, best_epoch: bool = False, tracking_uri: str | None = None
) -> Table:
    """Return measured results beside published ones, with a verdict for each.

    Args:
        suite: A loaded suite, or what `load_suite` takes.
        publication: Name of published tables that come along, or a YAML file of that form.
        best_epoch: Whether results after the best epoch count, instead of those after the final one.
        tracking_uri: MLflow store (default: `MLFLOW_TRACKING_URI`, else `mlflow.db` in the current folder).

    Raises:
        BadInputError: The suite cannot be used, or there is no such publication.
        TrackingError: The tracking store cannot be read.
    """
    from benchbench.reporting import published
    from benchbench.reporting.compare import comparison

    loaded = suite if isinstance(suite, Suite) else load_suite(suite, thorough=False)
    found = published.load(publication)
    return comparison(loaded, rows(loaded, tracking_uri=tracking_uri), found, best_epoch=best_epoch)


def export(suite: Suite | str | Path, *, tracking_uri: str | None = None) -> list[Record]:
    """Return every result of a suite: one record per method, workload, seed and metric.

    Args:
        suite: A loaded suite, or what `load_suite` takes.
        tracking_uri: MLflow store (default: `MLFLOW_TRACKING_URI`, else `mlflow.db` in the current folder).

    Raises:
        BadInputError: The suite cannot be used.
        TrackingError: The tracking store cannot be read.
    """
    from benchbench.reporting.exchange import records

    loaded = suite if isinstance(suite, Suite) else load_suite(suite, thorough=False)
    return records(loaded, rows(loaded, tracking_uri=tracking_uri))


def export_bundle(
    suite: Suite,
    path: Path,
    declaration: Mapping[str, str],
    *,
    date: str | None = None,
    tracking_uri: str | None = None,
    runs_dir: Path | None = None,
) -> None:
    """Write the results of a suite as a bundle for a leaderboard.

    Args:
        suite: The suite; every run must have finished or diverged.
        path: The zip file to write.
        declaration: What is declared: `tuning` (how the hyperparameters were chosen), `by`, `contact`, `licence`.
        date: The day to state (default: today).
        tracking_uri: MLflow store (default: `MLFLOW_TRACKING_URI`, else `mlflow.db` in the current folder).
        runs_dir: Folder of the runs' files (default: `.benchbench/runs`).

    Raises:
        BadInputError: A run has no result, or the declaration lacks something.
        TrackingError: The tracking store cannot be read.
    """
    from benchbench.leaderboard import bundle

    bundle.write(
        submission(suite, tracking_uri=tracking_uri, runs_dir=runs_dir),
        bundle.declare(declaration),
        date or datetime.date.today().isoformat(),
        path,
    )


def submission(suite: Suite, *, tracking_uri: str | None = None, runs_dir: Path | None = None) -> Submission:
    """Return the results of a suite as they can be handed in to a leaderboard.

    Args:
        suite: The suite.
        tracking_uri: MLflow store (default: `MLFLOW_TRACKING_URI`, else `mlflow.db` in the current folder).
        runs_dir: Folder of the runs' files (default: `.benchbench/runs`).

    Raises:
        BadInputError: A path of this machine is part of what identifies a run.
        TrackingError: The tracking store cannot be read.
    """
    from benchbench.leaderboard import collect
    from benchbench.tracking import Tracker

    tracker = Tracker(tracking_uri)
    keys = [spec.key for spec in suite.specs]
    return collect.submission(
        suite, _rows(suite, tracker.results(keys), tracker, runs_dir), runs_dir or RUNS_DIR, tracker.commits(keys)
    )


@dataclass(frozen=True)
class Figures:
    """The figures of a suite, not drawn yet.

    Attributes:
        figures: What each of them shows.
        without_history: Runs that have a result, but of which nothing is left that a curve could be made of.
    """

    figures: list[Figure]
    without_history: list[str]


def figures(
    suite: Suite | str | Path,
    *,
    kinds: Sequence[Kind] = (),
    metrics: Sequence[str] = (),
    currency: Currency | None = None,
    tracking_uri: str | None = None,
    runs_dir: Path | None = None,
) -> Figures:
    """Return what the figures of a suite show, as values that can be written as JSON.

    Args:
        suite: A loaded suite, or what `load_suite` takes.
        kinds: Kinds of figures (default: every kind for which there are data).
        metrics: Metrics to show (default: those that are usual for a kind).
        currency: What training is counted in (default: `epochs` for curves, `gc` for cost).
        tracking_uri: MLflow store (default: `MLFLOW_TRACKING_URI`, else `mlflow.db` in the current folder).
        runs_dir: Folder of the runs' files (default: `.benchbench/runs`).

    Raises:
        BadInputError: The suite cannot be used, there is no such metric, or nothing to draw.
        TrackingError: The tracking store cannot be read.
    """
    from benchbench import figures as making
    from benchbench.figures.histories import read_histories
    from benchbench.tracking import Tracker

    loaded = suite if isinstance(suite, Suite) else load_suite(suite, thorough=False)
    known = rows(loaded, tracking_uri=tracking_uri)
    ended = [row.spec.key for row in known if row.result is not None and row.result.conclusive]
    histories = read_histories(ended, runs_dir or RUNS_DIR, Tracker(tracking_uri))
    made = making.figures(loaded, known, histories, kinds=kinds, metrics=metrics, currency=currency)
    return Figures(made, making.without_history(loaded, known, histories))


def plot(
    suite: Suite | str | Path,
    out: Path,
    *,
    kinds: Sequence[Kind] = (),
    metrics: Sequence[str] = (),
    currency: Currency | None = None,
    tracking_uri: str | None = None,
    runs_dir: Path | None = None,
) -> list[Path]:
    """Draw the figures of a suite as PNG, SVG and PDF, and return the files.

    Args:
        suite: A loaded suite, or what `load_suite` takes.
        out: The folder to write into.
        kinds: As in `figures`, like all that follows.
        metrics: Metrics to show.
        currency: What training is counted in.
        tracking_uri: MLflow store.
        runs_dir: Folder of the runs' files.

    Raises:
        BadInputError: The suite cannot be used, there is no such metric, or nothing to draw.
        TrackingError: The tracking store cannot be read.
    """
    from benchbench.figures.drawing import save

    loaded = suite if isinstance(suite, Suite) else load_suite(suite, thorough=False)
    found = figures(
        loaded, kinds=kinds, metrics=metrics, currency=currency, tracking_uri=tracking_uri, runs_dir=runs_dir
    )
    return save(found.figures, loaded.name, out)


def check_optimizer(
    target: str, settings: Sequence[str] = (), *, create_graph: bool | None = None
) -> Iterator[Verdict]:
    """Check whether an optimizer keeps what the harness relies on.

    Args:
        target: A registered name, `module:attribute` or `path/to/file.py:attribute`.
        settings: Hyperparameters such as `lr=0.1`.
        create_graph: Whether it differentiates gradients itself (default: what it declares).

    Yields:
        One verdict per promise, as soon as it is known.

    Raises:
        BadInputError: There is no such optimizer, or it has no such hyperparameter.
    """
    from benchbench.checks import component_problems
    from benchbench.conformance import verdicts

    component = Component(target=target, parameters=suites.settings(settings))
    found = component_problems("optimizer", component)
    if found:
        raise BadInputError(found)
    yield from verdicts(component, create_graph=create_graph)


def _rows(suite: Suite, found: Mapping[str, RunResult], tracker: Tracker, runs_dir: Path | None) -> list[Row]:
    from benchbench.figures.histories import read_histories
    from benchbench.reporting import FROM_RECORDS

    wanted = [key for key, result in found.items() if result.conclusive] if FROM_RECORDS & set(suite.tables) else []
    histories = read_histories(wanted, runs_dir or RUNS_DIR, tracker)
    records = {key: history.epochs for key, history in histories.items()}
    return [Row(spec=spec, result=found.get(spec.key), records=records.get(spec.key, ())) for spec in suite.specs]


def _warm_up(suite: Suite) -> None:
    from benchbench.engines.local import start_server

    start_server(_plugin_modules(suite.specs))


def _plugin_modules(specs: Sequence[RunSpec]) -> list[str]:
    """Return the modules of the plugins that the specs name, for engines that load them once for all runs."""
    from benchbench.registry import module_of

    optimizers = dict.fromkeys(spec.optimizer.target for spec in specs)
    workloads = dict.fromkeys(spec.workload.target for spec in specs)
    modules = [module_of("optimizer", target) for target in optimizers]
    modules += [module_of("workload", target) for target in workloads]
    return [module for module in dict.fromkeys(modules) if module is not None]
