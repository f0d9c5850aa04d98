"""Reading results back: rows, tables, comparisons, figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchbench.api.suites import as_suite
from benchbench.api.workspace import HERE, Workspace
from benchbench.plugins.provenance import InstalledCode
from benchbench.values import Row, RunResult, Suite

if TYPE_CHECKING:
    from benchbench.figures import Currency, Figure, Kind
    from benchbench.reporting.exchange import Record
    from benchbench.reporting.table import Table
    from benchbench.tracking import Tracker


def rows(suite: Suite, *, workspace: Workspace = HERE) -> list[Row]:
    """Return a row per run of a suite, with the result that tracking or else the run folder holds.

    What the runs recorded after every epoch is there if the suite's tables need it.

    Args:
        suite: The suite.
        workspace: Where results are tracked and runs leave their files.

    Raises:
        TrackingError: The tracking store cannot be read.
    """
    from benchbench.scheduling.plan import saying_what_is_on_disk

    tracker = workspace.tracker()
    with saying_what_is_on_disk([spec.key for spec in suite.specs], workspace.runs_dir):
        found = tracker.results(suite.specs)
    for spec in suite.specs:
        tracked = found.get(spec.key)
        if tracked is None or not tracked.conclusive:
            folder = workspace.folder(spec.key)
            on_disk = folder.answer(spec)
            if on_disk is None and (lost := folder.lost()):
                on_disk = RunResult(
                    key=spec.key, outcome="failed", message=f"{lost[0]}; `benchbench run` repeats the run"
                )
            if on_disk is not None and (on_disk.conclusive or tracked is None):
                found[spec.key] = on_disk
    return rows_of(suite, found, tracker, workspace.runs_dir)


def results(
    suite: Suite,
    *,
    imported: Sequence[Path] = (),
    workspace: Workspace = HERE,
) -> tuple[Suite, list[Row]]:
    """Return a suite and its rows, together with the methods of imported results.

    Args:
        suite: The suite.
        imported: Files that `benchbench export` wrote, or another program in the same form.
        workspace: Where results are tracked and runs leave their files.

    Raises:
        BadInputError: A file cannot be used.
        TrackingError: The tracking store cannot be read.
    """
    known = rows(suite, workspace=workspace)
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
    workspace: Workspace = HERE,
) -> list[Table]:
    """Return the tables of suites, from what tracking holds.

    Args:
        *suites: Loaded suites, or what `load_suite` takes; of several, the tables over all of them follow.
        imported: Files of results to show together with the suites' own.
        workspace: Where results are tracked and runs leave their files.

    Raises:
        BadInputError: A suite or a file cannot be used.
        TrackingError: The tracking store cannot be read.
    """
    from benchbench.reporting import joint_tables, tables

    loaded = [as_suite(suite) for suite in suites]
    known = [results(suite, imported=imported, workspace=workspace) for suite in loaded]
    of_each = [table for suite, found in known for table in tables(suite, found)]
    if len(known) == 1:
        return of_each
    return [*of_each, *joint_tables([suite for suite, _ in known], [found for _, found in known])]


def compare(
    suite: Suite | str | Path, publication: str, *, best_epoch: bool = False, workspace: Workspace = HERE
) -> Table:
    """Compare measured results with published ones: a table with a verdict for each.

    Args:
        suite: A loaded suite, or what `load_suite` takes.
        publication: Name of bundled published tables, or a YAML file of that form.
        best_epoch: Whether results after the best epoch count, instead of those after the final one.
        workspace: Where results are tracked and runs leave their files.

    Raises:
        BadInputError: The suite cannot be used, or there is no such publication.
        TrackingError: The tracking store cannot be read.
    """
    from benchbench.reporting import published
    from benchbench.reporting.compare import comparison

    loaded = as_suite(suite)
    found = published.load(publication)
    return comparison(loaded, rows(loaded, workspace=workspace), found, best_epoch=best_epoch)


def export(suite: Suite | str | Path, *, workspace: Workspace = HERE) -> list[Record]:
    """Return every result of a suite: one record per method, workload, seed and metric.

    Args:
        suite: A loaded suite, or what `load_suite` takes.
        workspace: Where results are tracked and runs leave their files.

    Raises:
        BadInputError: The suite cannot be used.
        TrackingError: The tracking store cannot be read.
    """
    from benchbench.reporting.exchange import records

    loaded = as_suite(suite)
    return records(loaded, rows(loaded, workspace=workspace))


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
    workspace: Workspace = HERE,
) -> Figures:
    """Return what the figures of a suite show, as values that can be written as JSON.

    Args:
        suite: A loaded suite, or what `load_suite` takes.
        kinds: Kinds of figures (default: every kind for which there are data).
        metrics: Metrics to show (default: those that are usual for a kind).
        currency: What training is counted in (default: `epochs` for curves, `gc` for cost).
        workspace: Where results are tracked and runs leave their files.

    Raises:
        BadInputError: The suite cannot be used, there is no such metric, or nothing to draw.
        TrackingError: The tracking store cannot be read.
    """
    from benchbench import figures as making
    from benchbench.tracking.histories import read_histories

    loaded = as_suite(suite)
    known = rows(loaded, workspace=workspace)
    ended = {row.spec.key: row.result for row in known if row.result is not None and row.result.conclusive}
    histories = read_histories(ended, workspace.runs_dir, workspace.tracker())
    made = making.figures(loaded, known, histories, kinds=kinds, metrics=metrics, currency=currency)
    return Figures(made, making.without_history(loaded, known, histories))


def plot(
    suite: Suite | str | Path,
    out: Path,
    *,
    kinds: Sequence[Kind] = (),
    metrics: Sequence[str] = (),
    currency: Currency | None = None,
    workspace: Workspace = HERE,
) -> list[Path]:
    """Draw the figures of a suite as PNG, SVG and PDF, and return the files.

    Args:
        suite: A loaded suite, or what `load_suite` takes.
        out: The folder to write into.
        kinds: As in `figures`, like all that follows.
        metrics: Metrics to show.
        currency: What training is counted in.
        workspace: Where results are tracked and runs leave their files.

    Raises:
        BadInputError: The suite cannot be used, there is no such metric, or nothing to draw.
        TrackingError: The tracking store cannot be read.
    """
    from benchbench.figures.drawing import save

    loaded = as_suite(suite)
    found = figures(loaded, kinds=kinds, metrics=metrics, currency=currency, workspace=workspace)
    return save(found.figures, loaded.name, out)


def rows_of(suite: Suite, found: Mapping[str, RunResult], tracker: Tracker, runs_dir: Path) -> list[Row]:
    """Return one row per run of a suite, with what runs recorded after every epoch if the suite's tables need it."""
    from benchbench.reporting import FROM_RECORDS
    from benchbench.tracking.histories import read_histories

    wanted = found if FROM_RECORDS & set(suite.tables) else {}
    ended = {key: result for key, result in wanted.items() if result.conclusive}
    histories = read_histories(ended, runs_dir, tracker)
    records = {key: history.epochs for key, history in histories.items()}
    code = InstalledCode()
    return [
        Row(
            spec=spec,
            result=(result := found.get(spec.key)),
            records=records.get(spec.key, ()),
            changes=() if result is None else tuple(code.changes(result)),
        )
        for spec in suite.specs
    ]
