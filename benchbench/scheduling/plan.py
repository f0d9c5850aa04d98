"""Plan of a suite: its runs against the results that are known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchbench.plugins.provenance import InstalledCode
from benchbench.runs.folder import RunFolder
from benchbench.tracking import Tracker, TrackingError
from benchbench.values import RunResult, RunSpec

State = Literal["done", "on disk", "stale", "to run", "to measure", "no weights"]
"""`done`: tracked to a conclusive end; `on disk`: ended, but not tracked yet; `stale`: ended, but its plugins have
changed since, so that it is run again; `to run`: new, or to be run again;
`to measure`: only its sharpness is missing; `no weights`: that cannot be measured, for the run's weights are gone."""


@dataclass(frozen=True)
class PlannedRun:
    """A run of the suite, and what is known of it.

    Attributes:
        spec: The run's spec.
        folder: Where its files are, or will be.
        state: What has to be done about it.
        result: What tracking or the folder holds; for a run that broke, how it broke.
        changes: For `stale`: which code has changed.
        lost: What is wrong with the files of a run that has ended, a line each; it is run again for that.
    """

    spec: RunSpec
    folder: RunFolder
    state: State
    result: RunResult | None
    changes: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()

    @property
    def settled(self) -> bool:
        """True if nothing is to be done about the run, or can be."""
        return self.state in ("done", "no weights")


def plan(
    specs: Sequence[RunSpec], tracker: Tracker, runs_dir: Path, *, force: bool = False, keep_stale: bool = False
) -> list[PlannedRun]:
    """Compare specs with what tracking and the disk hold. Changes nothing.

    Args:
        specs: Runs that are wanted; a key that occurs twice (two labels for the same settings) is planned once.
        tracker: The tracking store.
        runs_dir: Folder of the runs' folders.
        force: Plan every run as if nothing were known.
        keep_stale: Take results for what they are, whatever code they were made by.
    """
    code = None if keep_stale else InstalledCode()
    unique = {spec.key: spec for spec in reversed(specs)}
    ordered = list(dict.fromkeys(spec.key for spec in specs))
    with saying_what_is_on_disk(ordered, runs_dir):
        tracked = tracker.results(list(unique.values()))
    planned = []
    for key in ordered:
        folder = RunFolder(runs_dir / key)
        result = tracked.get(key)
        if force:
            planned.append(PlannedRun(unique[key], folder, "to run", result))
        else:
            planned.append(_planned(unique[key], result, folder, code))
    return planned


@contextmanager
def saying_what_is_on_disk(keys: Sequence[str], runs_dir: Path) -> Iterator[None]:
    """Have the error of a store that must be fixed or replaced say how much of it the runs' folders hold.

    Raises:
        TrackingError: The store cannot be used.
    """
    try:
        yield
    except TrackingError as error:
        if error.fault != "store":
            raise
        results = [result for key in set(keys) if (result := RunFolder(runs_dir / key).result())]
        count = sum(result.conclusive for result in results)
        raise TrackingError(
            f"{error} ({runs_dir} has the results of {count} of the {len(set(keys))} runs asked for, which the same "
            "command writes to whatever store it is given)",
            fault=error.fault,
        ) from error


def longest_first(planned: Sequence[PlannedRun]) -> list[PlannedRun]:
    """Return what is to be done, the longest runs first, so that none of them is left alone at the end.

    How long a run takes is taken from the seconds per epoch of others with the same workload and method, or else the
    same workload, or else any; where nothing is known, epochs count. Among equals the suite's order stays.
    """
    pace: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for item in planned:
        result = item.result
        if result is not None and result.conclusive and result.epochs:
            for group in groups(item.spec):
                pace[group].append(result.cost.steady_seconds / result.epochs)

    def seconds(item: PlannedRun) -> float:
        known = next((pace[group] for group in groups(item.spec) if group in pace), [1.0])
        return item.spec.epochs * sum(known) / len(known)

    return sorted((item for item in planned if not item.settled), key=seconds, reverse=True)


def groups(spec: RunSpec) -> list[tuple[str, ...]]:
    """Return what a run has in common with others, the most telling first: workload and method, workload, nothing."""
    return [(spec.workload_label, spec.method), (spec.workload_label,), ()]


def _planned(spec: RunSpec, tracked: RunResult | None, folder: RunFolder, code: InstalledCode | None) -> PlannedRun:
    def changes(result: RunResult) -> tuple[str, ...]:
        return tuple(code.changes(result)) if code is not None and result.conclusive else ()

    state: State
    if tracked is not None and (stale := changes(tracked)):
        again = folder.answer(spec)  # run again since, and not tracked yet
        if again is not None and again.conclusive and not changes(again):
            return PlannedRun(spec, folder, "on disk", again)
        return PlannedRun(spec, folder, "stale", tracked, stale)
    if tracked is not None and spec.is_answered_by(tracked):
        return PlannedRun(spec, folder, "done", tracked)
    on_disk = folder.answer(spec)
    if on_disk is not None and (stale := changes(on_disk)):
        return PlannedRun(spec, folder, "stale", on_disk, stale)
    state, result = _state(spec, tracked, on_disk, folder)
    return PlannedRun(spec, folder, state, result, lost=tuple(folder.lost()) if on_disk is None else ())


def _state(
    spec: RunSpec, tracked: RunResult | None, on_disk: RunResult | None, folder: RunFolder
) -> tuple[State, RunResult | None]:
    if folder.is_measurable(spec):
        return "to measure", on_disk
    is_tracked = tracked is not None and tracked.conclusive
    if on_disk is not None and on_disk.conclusive and not (is_tracked and spec.lacks_sharpness(on_disk)):
        return "on disk", on_disk
    if tracked is not None and is_tracked:
        why = next(iter(folder.lost()), f"no weights in {folder.path}")
        reason = f"{why}; --force trains the run again"
        return "no weights", tracked.model_copy(update={"sharpness_missing": reason})
    return "to run", tracked or on_disk
