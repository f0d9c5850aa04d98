"""Two sets of results of the same runs: which differ, from which step on, and between which versions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from benchbench.reporting.table import ABSENT, Cell, Column, Table, TableRow, number_cell
from benchbench.values import Cost, DiagnosticRecord, EpochRecord, Frozen, Metrics, RunResult, RunSpec

Labels = tuple[str, str, int]
"""A run's workload, method and seed."""

_COLUMNS = ("from step", "what", "before", "after", "change", "final before", "final after")

_CHANCES = ("packages", "host", "concurrent_runs", "other_commands_runs", "tokens_per_second", "resumed", "commit")
"""Entries of a run's environment that change from run to run without its numbers."""


class Recorded(Frozen):
    """Everything that one run recorded.

    Attributes:
        spec: What it was.
        result: Its result; `None`: there is none.
        epochs: What it recorded after every epoch; empty where that is lost.
        diagnostics: What it recorded of its steps.
    """

    spec: RunSpec | None = None
    result: RunResult | None = None
    epochs: tuple[EpochRecord, ...] = ()
    diagnostics: tuple[DiagnosticRecord, ...] = ()


class Difference(Frozen):
    """The first numbers in which two runs differ.

    Attributes:
        after: Steps after which all that was recorded was still equal; `None` where no steps were recorded.
        at: Step of the first record that differs; `None`: only how the runs ended is known.
        name: What differs; of several numbers of that record, the one whose relative change is the largest.
        before: Its value in the first run; `None`: it is not there.
        now: Its value in the second run.
    """

    after: int | None
    at: int | None
    name: str
    before: float | None
    now: float | None

    @property
    def change(self) -> float | None:
        """The relative change, where both are finite numbers and the first one is not zero."""
        if self.before is None or self.now is None or not self.before:
            return None
        found = (self.now - self.before) / abs(self.before)
        return found if math.isfinite(found) else None


def first_difference(before: Recorded, after: Recorded) -> Difference | None:
    """Return the first difference between two runs of one spec, `None` if all that they recorded is equal bit by bit.

    Metrics and counts are compared, seconds and memory are not. NaN equals NaN.
    """
    equal_until: int | None = None
    old, new = _timeline(before), _timeline(after)
    for step in sorted({*old, *new}):
        if found := _largest(old.get(step, {}), new.get(step, {})):
            name, (first, second) = found
            return Difference(after=equal_until or 0, at=step, name=name, before=first, now=second)
        equal_until = step
    assert before.result is not None
    assert after.result is not None
    if found := _largest(_end(before.result), _end(after.result)):
        name, (first, second) = found
        return Difference(after=equal_until, at=None, name=name, before=first, now=second)
    return None


def _timeline(run: Recorded) -> dict[int, Metrics]:
    """Return the recorded numbers by step."""
    found: dict[int, Metrics] = {}
    for record in run.diagnostics:
        numbers = found.setdefault(record.step, {})
        numbers.update(record.values)
        for name, histogram in record.histograms.items():
            numbers |= {f"{name}, edge {place}": each for place, each in enumerate(histogram.edges)}
            numbers |= {f"{name}, count {place}": each for place, each in enumerate(histogram.counts)}
    for epoch in run.epochs:
        found.setdefault(epoch.cost.steps, {}).update({**epoch.metrics, **_counts(epoch.cost)})
    return found


def _end(result: RunResult) -> Metrics:
    """Return the numbers that a run ended with; it may have diverged before anything else was recorded."""
    return {**result.final, **_counts(result.cost), "diverged": float(result.outcome == "diverged")}


def _counts(cost: Cost) -> Metrics:
    return cost.model_dump(include={"steps", "forwards", "gradients", "hvps"})


def _largest(before: Metrics, after: Metrics) -> tuple[str, tuple[float | None, float | None]] | None:
    """Return the number that has changed most, relative to what it was; one that came or went counts as infinite."""
    changed = {
        name: (old, new)
        for name in {**before, **after}
        if (old := before.get(name)) != (new := after.get(name)) and not (_is_nan(old) and _is_nan(new))
    }

    def size(name: str) -> float:
        old, new = changed[name]
        if old is None or new is None or not old:
            return math.inf
        relative = abs(new - old) / abs(old)
        return math.inf if math.isnan(relative) else relative

    return max(((name, changed[name]) for name in changed), key=lambda each: size(each[0]), default=None)


def _is_nan(value: float | None) -> bool:
    return value is not None and math.isnan(value)


def regression_table(
    title: str,
    before: Mapping[Labels, Recorded],
    after: Mapping[Labels, Recorded],
) -> Table:
    """Return which runs differ between two sets of results, and what was installed then and now.

    Args:
        title: What is compared.
        before: Runs by workload, method and seed.
        after: The same runs, made elsewhere or later.
    """
    rows, equal, compared = [], 0, 0
    pairs: list[tuple[RunResult, RunResult]] = []
    for run, old in before.items():
        new = after[run]
        if old.result is None or new.result is None or not (old.result.conclusive and new.result.conclusive):
            missing = [said for said, side in (("before", old), ("after", new)) if not _has_ended(side)]
            rows.append(_row(run, [Cell(reason=f"no result {' and '.join(missing)}"), *[Cell()] * 6]))
            continue
        compared += 1
        pairs.append((old.result, new.result))
        difference = first_difference(old, new)
        if difference is None:
            equal += 1
        else:
            rows.append(_row(run, [*_cells(difference, old.result, new.result)]))
    absent = sum(bool(row.cells[0].reason) for row in rows)
    return Table(
        name="regress",
        title=title,
        headers=("Workload", "Method", "seed"),
        columns=tuple(Column(label=label) for label in _COLUMNS),
        rows=tuple(rows),
        notes=(
            f"{equal} of {compared} runs are equal bit for bit in everything that they recorded: metrics, counts of "
            "evaluations and diagnostics; seconds and memory are not compared.",
            *(
                ["from step: the records up to the first number were equal, those at the second are not."]
                if rows
                else []
            ),
            *([f"{ABSENT}: no result on one side; {absent} runs were not compared."] if absent else []),
            *_settings(before, after),
            *_versions(pairs),
        ),
    )


def _has_ended(run: Recorded) -> bool:
    return run.result is not None and run.result.conclusive


def _row(run: Labels, cells: Sequence[Cell]) -> TableRow:
    workload, method, seed = run
    return TableRow(headers=(workload, method, str(seed)), cells=tuple(cells))


def _cells(difference: Difference, before: RunResult, after: RunResult) -> Iterator[Cell]:
    after_step = "" if difference.after is None else f"{difference.after:,} – "
    yield Cell(remark=f"{after_step}{'the end' if difference.at is None else f'{difference.at:,}'}")
    yield Cell(remark=difference.name)
    values = (difference.before, difference.now)
    digits = next(
        (each for each in (6, 9) if len({f"{value:.{each}g}" for value in values if value is not None}) == 2), 17
    )
    for value in values:
        yield Cell(remark="not there") if value is None else number_cell(f"{value:.{digits}g}", value)
    change = difference.change
    yield Cell(remark="?") if change is None else number_cell(f"{change:+.1e}", change)
    metric = f"test/{before.selection_metric.rpartition('/')[2]}"
    for result in (before, after):
        value = result.final.get(metric, result.final.get(result.selection_metric))
        said = "" if result.outcome == before.outcome == after.outcome else result.outcome
        yield Cell(remark=said or "?") if value is None else number_cell(f"{value:.6g}", value, remark=said)


def _settings(before: Mapping[Labels, Recorded], after: Mapping[Labels, Recorded]) -> list[str]:
    """Return which settings of runs were others before, a line for each method."""
    found: dict[str, None] = {}
    for run, old in before.items():
        new = after[run]
        if old.spec is None or new.spec is None or old.spec.key == new.spec.key:
            continue
        then, now = _leaves(old.spec.decisive), _leaves(new.spec.decisive)
        names = [name for name in {**then, **now} if then.get(name) != now.get(name)]
        said = "; ".join(f"{name} was {then.get(name)}, is {now.get(name)}" for name in names)
        found[f"{run[1]} on {run[0]} is another run than before: {said}."] = None
    return list(found)


def _leaves(value: object, path: str = "") -> dict[str, object]:
    """Return the entries of nested mappings by dotted path."""
    if not isinstance(value, dict):
        return {path: value}
    return {
        name: leaf for key, each in value.items() for name, leaf in _leaves(each, f"{path}.{key}".lstrip(".")).items()
    }


def _versions(pairs: Sequence[tuple[RunResult, RunResult]]) -> list[str]:
    """Return what was another version, or another machine, then and now, each difference once."""
    found: dict[str, None] = {}
    for before, after in pairs:
        for old, new in (
            (before.code or {}, after.code or {}),
            (_machine(before), _machine(after)),
            (_packages(before), _packages(after)),
        ):
            for name in old.keys() & new.keys():
                if old[name] != new[name]:
                    found[f"{name}: {old[name]} before, {new[name]} after."] = None
    return sorted(found) or (["Both were made with the same versions on the same kind of machine."] if pairs else [])


def _machine(result: RunResult) -> dict[str, str]:
    """Return what a run's environment says of the machine and of the software in it."""
    return {name: said for name, said in result.environment.items() if name not in _CHANCES and "/" not in name}


def _packages(result: RunResult) -> dict[str, str]:
    """Return the versions of the packages that were loaded."""
    each = (package.rpartition(" ") for package in result.environment.get("packages", "").split(", "))
    return {name: version for name, _, version in each if name}
