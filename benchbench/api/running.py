"""Running suites: plans, estimates, states and results."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from pydantic import JsonValue

from benchbench.api.engines import EngineOptions, engine_of, load_ahead
from benchbench.api.results import rows_of
from benchbench.api.suites import as_suite, check
from benchbench.api.workspace import HERE, Workspace
from benchbench.problems import BadInputError, Problem
from benchbench.values import Method, Row, Suite

if TYPE_CHECKING:
    from benchbench.runs.folder import RunFolder
    from benchbench.scheduling.plan import PlannedRun
    from benchbench.scheduling.runner import Observer
    from benchbench.training.estimate import RunEstimate


def estimates(
    suite: Suite, *, workspace: Workspace = HERE, devices: Sequence[str] = ()
) -> dict[tuple[str, str], RunEstimate]:
    """Estimate what a run of each workload and method costs on this machine, from small experiments.

    Args:
        suite: A suite without problems.
        workspace: Where data sets are, for workloads that cannot make up their own.
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
    return estimate.of_runs(first, torch.device(device_here(slot)), workspace.data)


def plan(
    suite: Suite,
    *,
    force: bool = False,
    keep_stale: bool = False,
    workspace: Workspace = HERE,
) -> list[PlannedRun]:
    """Check a suite and return for every run whether it is done or has to be run. Changes nothing.

    Data may still be missing.

    Args:
        suite: The suite.
        force: Plan every run as if nothing were known.
        keep_stale: Take results for what they are, whatever code they were made by.
        workspace: Where results are tracked and runs leave their files.

    Raises:
        BadInputError: A run could not be set up.
        TrackingError: The tracking store cannot be read.
    """
    from benchbench.scheduling.plan import plan as plan_specs

    check(suite, workspace=workspace, may_be_missing=True)
    return plan_specs(suite.specs, workspace.tracker(), workspace.runs_dir, force=force, keep_stale=keep_stale)


def run(
    suite: Suite | str | Path,
    *,
    engine: str = "local",
    wait: bool = True,
    force: bool = False,
    keep_stale: bool = False,
    workspace: Workspace = HERE,
    observe: Observer = lambda event: None,
    warn: Callable[[str], None] = lambda text: None,
    **options: Unpack[EngineOptions],
) -> list[Row]:
    """Check a suite, run what is missing of it, and return all its results.

    Args:
        suite: A loaded suite, or what `load_suite` takes.
        engine: `local` (a process per run), `inline` (in this process, one after the other), `ray` or `slurm`.
        wait: For `slurm`: whether to wait for the runs, or to return once they are in the queue, see `collect`.
        force: Run again what is done already.
        keep_stale: Do not run again what was made by other code than is installed now.
        workspace: Where results are tracked, runs leave their files, and data sets are.
        observe: Called with every event.
        warn: Called with one line for whatever goes wrong outside the runs, and for remarks about methods.
        **options: `slots`, `devices`, `slots_per_device` and `address`, see `EngineOptions`.

    Returns:
        One row per run of the suite, with its result.

    Raises:
        BadInputError: The suite cannot be used; no run was started.
        EngineError: The engine cannot be used.
        TrackingError: The tracking store cannot be used; a `TrackingLostError` if it went away in the middle: the runs
            are done then, and the same call writes them to it.
        KeyboardInterrupt: On Ctrl-C or SIGTERM, after everything has been put in order.
    """
    suite = as_suite(suite)
    load_ahead(suite, engine)
    check(suite, workspace=workspace)
    return _run(suite, engine, workspace, observe, warn, options, wait=wait, force=force, keep_stale=keep_stale)


def _run(
    suite: Suite,
    engine: str,
    workspace: Workspace,
    observe: Observer,
    warn: Callable[[str], None],
    options: EngineOptions,
    *,
    wait: bool = True,
    force: bool = False,
    keep_stale: bool = False,
) -> list[Row]:
    """Run what is missing of a suite that has been checked; the arguments are those of `run`."""
    from benchbench import checks
    from benchbench.runs.presence import at_work
    from benchbench.scheduling.runner import Runner

    for remark in checks.remarks(suite):
        warn(str(remark))
    if engine in ("local", "inline") and (others := at_work()):
        warn(
            f"other commands have {others} run{'s' * (others > 1)} at work on this machine: cores are not shared "
            "out between commands, so the times of both mean little; --slots and --devices say what this one takes"
        )
    chosen, tracker = engine_of(suite, engine, **options), workspace.tracker()
    runner = Runner(suite, chosen, tracker, workspace.runs_dir, workspace.data, observe, force, warn, keep_stale)
    if wait:
        try:
            runner.run()
        finally:
            chosen.stop()  # gives back what it holds; after an interruption there is nothing left to stop
    else:
        runner.submit()
    return rows_of(suite, runner.results, tracker, workspace.runs_dir)


def status(suite: Suite, *, workspace: Workspace = HERE) -> list[dict[str, object]]:
    """Return the state of every run of a suite: one mapping per run.

    Args:
        suite: The suite.
        workspace: Where results are tracked and runs leave their files.

    Raises:
        EngineError: The system that has the runs in its queue does not answer.
        TrackingError: The tracking store cannot be read.
    """
    from benchbench.scheduling.plan import plan as plan_specs
    from benchbench.scheduling.plan_tables import status_rows

    return status_rows(plan_specs(suite.specs, workspace.tracker(), workspace.runs_dir))


def collect(
    suite: Suite,
    *,
    workspace: Workspace = HERE,
    observe: Observer = lambda event: None,
) -> list[Row]:
    """Write the submitted runs that have ended since into tracking, and return all results of the suite.

    Args:
        suite: The suite.
        workspace: Where results are tracked and runs leave their files.
        observe: Called with every run that is collected.

    Raises:
        EngineError: The system that has the runs in its queue does not answer.
        TrackingError: The tracking store cannot be used.
    """
    from benchbench.engines.submissions import Collecting
    from benchbench.scheduling.runner import Runner

    tracker = workspace.tracker()
    runner = Runner(suite, Collecting(), tracker, workspace.runs_dir, workspace.data, observe, keep_stale=True)
    runner.collect()
    return rows_of(suite, runner.results, tracker, workspace.runs_dir)


def measure(
    suite: Suite | str | Path,
    *,
    changes: Mapping[str, JsonValue] | None = None,
    engine: str = "local",
    workspace: Workspace = HERE,
    observe: Observer = lambda event: None,
    warn: Callable[[str], None] = lambda text: None,
    **options: Unpack[EngineOptions],
) -> list[Row]:
    """Measure the sharpness of every finished run of a suite that has not been measured so; train nothing.

    Args:
        suite: A loaded suite, or what `load_suite` takes. Its `sharpness` says what is measured, and how. It is checked
            first, those of its runs included that have not finished.
        changes: Settings of `sharpness` that differ, such as `{"dtype": "float64"}`.
        engine: As for `run`.
        workspace: Where results are tracked, runs leave their files, and data sets are.
        observe: Called with every event.
        warn: Called with one line for whatever goes wrong outside the runs.
        **options: As for `run`.

    Returns:
        One row per run of the suite, with its result; its spec says what was asked for.

    Raises:
        BadInputError: The suite cannot be used; nothing was measured.
        TrackingError: The tracking store cannot be used.
        KeyboardInterrupt: On Ctrl-C or SIGTERM, after everything has been put in order.
    """
    from benchbench.scheduling.plan import plan as plan_specs

    suite = as_suite(suite)
    load_ahead(suite, engine)
    specs = tuple(spec.asking_for_sharpness(changes or {}) for spec in suite.specs)
    suite = suite.model_copy(update={"specs": specs})
    check(suite, workspace=workspace)
    planned = plan_specs(specs, workspace.tracker(), workspace.runs_dir, keep_stale=True)
    finished = {item.spec.key for item in planned if item.state != "to run"}
    trained = suite.model_copy(update={"specs": tuple(spec for spec in specs if spec.key in finished)})
    known = _run(trained, engine, workspace, observe, warn, options, keep_stale=True)
    by_key = {row.spec.key: row.result for row in known}
    return [Row(spec=spec, result=by_key.get(spec.key)) for spec in specs]


def find_run(folder_or_key: str, *, workspace: Workspace = HERE) -> tuple[Suite, RunFolder] | None:
    """Return a single run as a suite of its own, with its folder; `None` for what names no run.

    Args:
        folder_or_key: Path of a run's folder, or a run's key.
        workspace: Where runs leave their files.

    Raises:
        BadInputError: There is no such run, or its folder is damaged.
    """
    from benchbench.runs.checksums import DamagedError
    from benchbench.runs.folder import RunFolder

    is_key = re.fullmatch("[0-9a-f]{16}", folder_or_key) is not None
    folder = workspace.folder(folder_or_key) if is_key else RunFolder(Path(folder_or_key))
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
