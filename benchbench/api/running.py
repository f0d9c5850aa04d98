"""Running suites, and what is known before, while and after they run."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from benchbench.api.engines import engine_of
from benchbench.api.folders import DATA, RUNS_DIR
from benchbench.api.results import rows_of
from benchbench.api.suites import check, load_suite, remarks
from benchbench.problems import BadInputError, Problem
from benchbench.values import Method, Row, Suite

if TYPE_CHECKING:
    from benchbench.runs.folder import RunFolder
    from benchbench.scheduling.plan import PlannedRun
    from benchbench.scheduling.runner import Observer
    from benchbench.training.estimate import RunEstimate


def estimates(suite: Suite, *, data: Path = DATA, devices: Sequence[str] = ()) -> dict[tuple[str, str], RunEstimate]:
    """Estimate what a run of each workload and method costs on this machine, from small experiments.

    Args:
        suite: A suite without problems.
        data: The folder in which data sets lie, for workloads that cannot make up their own.
        devices: As for `run`; the first one is used.

    Returns:
        An estimate for one seed by (workload, method), where there can be one.

    Raises:
        BadInputError: There is no such device, or it does not start.
    """
    import torch

    from benchbench.engines.inline import device_here
    from benchbench.engines.slots import Placement, available_slots
    from benchbench.engines.starting import ready
    from benchbench.training import estimate

    slot = available_slots(Placement(devices=tuple(devices)))[0]
    ready([slot])
    torch.set_num_threads(slot.threads)
    first = {(spec.workload_label, spec.method): spec for spec in reversed(suite.specs)}
    return estimate.of_runs(first, torch.device(device_here(slot)), data)


def plan(
    suite: Suite,
    *,
    force: bool = False,
    keep_stale: bool = False,
    tracking_uri: str | None = None,
    runs_dir: Path | None = None,
) -> list[PlannedRun]:
    """Say for every run of a suite whether it is done or has to be run. Changes nothing.

    Args:
        suite: The suite.
        force: Plan every run as if nothing were known.
        keep_stale: Take results for what they are, whatever code they were made by.
        tracking_uri: MLflow store (default: `MLFLOW_TRACKING_URI`, else `mlflow.db` in the current folder).
        runs_dir: Folder of the runs' files (default: `.benchbench/runs`).

    Raises:
        BadInputError: A run could not be set up.
        TrackingError: The tracking store cannot be read.
    """
    from benchbench.scheduling.plan import plan as plan_specs
    from benchbench.tracking import Tracker

    check(suite, data=None)
    return plan_specs(suite.specs, Tracker(tracking_uri), runs_dir or RUNS_DIR, force=force, keep_stale=keep_stale)


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
    keep_stale: bool = False,
    checked: bool = False,
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
        devices: What to use of this machine: `cpu`, or GPUs by number or UUID (default: all GPUs, or else the CPU); on
            a cluster `cpu`, or nothing.
        slots_per_device: Runs that share a GPU.
        address: For `ray`: the cluster (default: `RAY_ADDRESS`; without it, one is started on this machine).
        wait: For `slurm`: whether to wait for the runs, or to return once they are in the queue, see `collect`.
        force: Run again what is done already.
        keep_stale: Do not run again what was made by other code than is installed now.
        checked: Whether `load_suite` has just checked the suite thoroughly.
        tracking_uri: MLflow store (default: `MLFLOW_TRACKING_URI`, else `mlflow.db` in the current folder).
        runs_dir: Folder of the runs' files (default: `.benchbench/runs`).
        data: The folder in which data sets lie.
        observe: Told about everything that happens.
        warn: Told what goes wrong beside the runs, and what is remarkable of a method, in one line.

    Returns:
        One row per run of the suite, with its result.

    Raises:
        BadInputError: The suite cannot be used; no run was started.
        EngineError: The engine cannot be used.
        TrackingError: The tracking store cannot be used; a `TrackingLostError` if it went away in the middle: the runs
            are done then, and the same call writes them to it.
        KeyboardInterrupt: On Ctrl-C or SIGTERM, after everything has been put in order.
    """
    from benchbench.runs.presence import at_work
    from benchbench.scheduling.runner import Runner
    from benchbench.tracking import Tracker

    suite = suite if isinstance(suite, Suite) else load_suite(suite, data=data)
    if not checked:
        check(suite, data=data)
    for remark in remarks(suite):
        warn(str(remark))
    tracker = Tracker(tracking_uri)
    if engine in ("local", "inline") and (others := at_work()):
        warn(
            f"other commands have {others} run{'s' * (others > 1)} at work on this machine: cores are not shared "
            "out between commands, so the times of both mean little; --slots and --devices say what this one takes"
        )
    chosen = engine_of(suite, engine, slots=slots, devices=devices, slots_per_device=slots_per_device, address=address)
    runner = Runner(suite, chosen, tracker, runs_dir or RUNS_DIR, data, observe, force, warn, keep_stale)
    if wait:
        try:
            runner.run()
        finally:
            chosen.stop()  # gives back what it holds; after an interruption there is nothing left to stop
    else:
        runner.submit()
    return rows_of(suite, runner.results, tracker, runs_dir)


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
    from benchbench.scheduling.plan import plan as plan_specs
    from benchbench.scheduling.plan_tables import status_rows
    from benchbench.tracking import Tracker

    return status_rows(plan_specs(suite.specs, Tracker(tracking_uri), runs_dir or RUNS_DIR))


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
    from benchbench.scheduling.runner import Runner
    from benchbench.tracking import Tracker

    tracker = Tracker(tracking_uri)
    runner = Runner(suite, Collecting(), tracker, runs_dir or RUNS_DIR, DATA, observe, keep_stale=True)
    runner.collect()
    return rows_of(suite, runner.results, tracker, runs_dir)


def measure(
    suite: Suite | str | Path,
    *,
    changes: Mapping[str, JsonValue] | None = None,
    engine: str = "local",
    slots: int | None = None,
    devices: Sequence[str] = (),
    slots_per_device: int = 1,
    tracking_uri: str | None = None,
    runs_dir: Path | None = None,
    data: Path = DATA,
    observe: Observer = lambda event: None,
    warn: Callable[[str], None] = lambda text: None,
) -> list[Row]:
    """Measure the sharpness of every finished run of a suite that has not been measured so; train nothing.

    Args:
        suite: A loaded suite, or what `load_suite` takes. Its `sharpness` says what is measured, and how.
        changes: Settings of `sharpness` that differ, such as `{"dtype": "float64"}`.
        engine: As for `run`.
        slots: As for `run`.
        devices: As for `run`.
        slots_per_device: As for `run`.
        tracking_uri: MLflow store (default: `MLFLOW_TRACKING_URI`, else `mlflow.db` in the current folder).
        runs_dir: Folder of the runs' files (default: `.benchbench/runs`).
        data: The folder in which data sets lie.
        observe: Told about everything that happens.
        warn: Told what goes wrong beside the runs, in one line.

    Returns:
        One row per run of the suite, with its result; its spec says what was asked for.

    Raises:
        BadInputError: The suite cannot be used; nothing was measured.
        TrackingError: The tracking store cannot be used.
        KeyboardInterrupt: On Ctrl-C or SIGTERM, after everything has been put in order.
    """
    from benchbench.scheduling.plan import plan as plan_specs
    from benchbench.tracking import Tracker

    suite = suite if isinstance(suite, Suite) else load_suite(suite, data=data)
    specs = tuple(spec.asking_for_sharpness(changes or {}) for spec in suite.specs)
    suite = suite.model_copy(update={"specs": specs})
    planned = plan_specs(specs, Tracker(tracking_uri), runs_dir or RUNS_DIR, keep_stale=True)
    finished = {item.spec.key for item in planned if item.state != "to run"}
    trained = suite.model_copy(update={"specs": tuple(spec for spec in specs if spec.key in finished)})
    known = run(
        trained,
        engine=engine,
        slots=slots,
        devices=devices,
        slots_per_device=slots_per_device,
        keep_stale=True,
        tracking_uri=tracking_uri,
        runs_dir=runs_dir,
        data=data,
        observe=observe,
        warn=warn,
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
    from benchbench.runs.checksums import DamagedError
    from benchbench.runs.folder import RunFolder

    is_key = re.fullmatch("[0-9a-f]{16}", folder_or_key) is not None
    folder = RunFolder((runs_dir or RUNS_DIR) / folder_or_key if is_key else Path(folder_or_key))
    if not (is_key or folder.path.is_dir()):
        return None
    try:
        spec = folder.spec()
    except FileNotFoundError:
        raise BadInputError([Problem("no such run: there is no spec.json", str(folder.path))]) from None
    except DamagedError as error:
        raise BadInputError([Problem(error.strerror or "", str(folder.spec_file))]) from None
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
