"""Results of a suite against those of the same runs made elsewhere or earlier."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

from benchbench.api.results import rows
from benchbench.api.suites import as_suite
from benchbench.api.workspace import HERE, Workspace
from benchbench.problems import BadInputError, Problem
from benchbench.reporting.regression import Labels, Recorded, regression_table
from benchbench.reporting.table import Table
from benchbench.values import RunSpec, Suite


def regress(suite: Suite | str | Path, against: str, *, workspace: Workspace = HERE) -> Table:
    """Return which runs of a suite differ from the same runs made elsewhere or earlier, and from which step on.

    Runs are matched by workload, method and seed. A run whose settings are others, such as those of a plugin file that
    was edited meanwhile, is found in a folder or a bundle if there is one run alone of those labels; a note says so.

    Args:
        suite: A loaded suite, or what `load_suite` takes.
        against: A folder in which the suite was run, the URI of a tracking store, or a bundle.
        workspace: Where the results are tracked that are compared with those.

    Raises:
        BadInputError: The suite or the bundle cannot be used, or there is nothing at `against`.
        TrackingError: A tracking store cannot be read.
    """
    loaded = as_suite(suite)
    if against.endswith(".zip"):
        before = _handed_in(Path(against))
    elif "://" in against:
        before = _recorded(loaded, Workspace(against, Path(os.devnull)))
    else:
        before = _recorded_in(Path(against), loaded)
    now = _recorded(loaded, workspace)
    runs = [(spec.workload_label, spec.method, spec.seed) for spec in loaded.specs]
    return regression_table(
        f"{loaded.title or loaded.name}, against {against}",
        {run: before.get(run, Recorded()) for run in runs},
        {run: now.get(run, Recorded()) for run in runs},
    )


def _recorded(suite: Suite, workspace: Workspace) -> dict[Labels, Recorded]:
    """Return what the runs of a suite have left."""
    from benchbench.tracking.histories import History, read_histories

    known = {row.spec.key: (row.spec, row.result) for row in rows(suite, workspace=workspace) if row.result is not None}
    ended = {key: result for key, (_, result) in known.items() if result.conclusive}
    histories = read_histories(ended, workspace.runs_dir, workspace.tracker())
    found = {}
    for key, (spec, result) in known.items():
        left = histories.get(key, History())
        found[_labels(spec)] = Recorded(spec=spec, result=result, epochs=left.epochs, diagnostics=left.diagnostics)
    return found


def _recorded_in(folder: Path, suite: Suite) -> dict[Labels, Recorded]:
    """Return what the runs of a suite have left in a folder in which it was run, whatever their settings were.

    Raises:
        BadInputError: Nothing was run there.
    """
    store = folder / "mlflow.db"
    if not store.is_file():
        message = "must be a folder with an mlflow.db, the URI of a tracking store, or a bundle.zip"
        raise BadInputError([Problem(message, field="--against", value=str(folder))])
    workspace = Workspace(f"sqlite:///{store.absolute()}", folder / Workspace.runs_dir)
    there: dict[Labels, list[RunSpec]] = defaultdict(list)
    for path in sorted(workspace.runs_dir.glob("*/spec.json")):
        try:
            spec = workspace.folder(path.parent.name).spec()
        except OSError:  # damaged: no run of anything
            continue
        if spec.suite == suite.name:
            there[_labels(spec)].append(spec)
    keys = {spec.key for specs in there.values() for spec in specs}
    chosen = [
        of_labels[0] if spec.key not in keys and len(of_labels := there[_labels(spec)]) == 1 else spec
        for spec in suite.specs
    ]
    return _recorded(suite.model_copy(update={"specs": tuple(chosen)}), workspace)


def _handed_in(path: Path) -> dict[Labels, Recorded]:
    """Return what the runs in a bundle have left.

    Raises:
        BadInputError: It cannot be used.
    """
    from benchbench.leaderboard import bundle

    submission = bundle.read(path)
    return {
        _labels(spec): Recorded(spec=spec, result=run.result, epochs=tuple(run.records))
        for spec in submission.suite.specs
        if (run := submission.runs.get(spec.key)) is not None
    }


def _labels(spec: RunSpec) -> Labels:
    return spec.workload_label, spec.method, spec.seed
