"""Time and cost to target of each method."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from benchbench.reporting.currencies import LABELS, Currency, curves
from benchbench.reporting.metrics import TIME_TO_TARGET, UNKNOWN_DIRECTION, Better, better, figure
from benchbench.reporting.results import ResultColumn, lay_out
from benchbench.reporting.runs import Runs, SuiteRuns, all_results, count_seeds, gather, selection_metric, titled
from benchbench.reporting.table import Cell, Table, amount_text, number_cell
from benchbench.reporting.tuning import not_ranked
from benchbench.stats import Hit, time_to_target
from benchbench.values import Frozen, Row, RunResult, Suite

HISTORY = "a history"
"""What a run is without of which only the result is left."""


def targets_table(suite: Suite, rows: Sequence[Row]) -> Table:
    """Return the cost at which each method first reaches the targets that the suite names, in every currency.

    Args:
        suite: The suite.
        rows: What is known of its runs, with what they recorded.
    """
    runs = gather(suite, rows)
    places: list[ResultColumn] = []
    notes = [no_target(suite)] if not suite.targets else [_NOTE, f"{count_seeds(suite)}."]
    notes += without_target(suite)
    known, reasons = goals(suite, runs)
    for workload in suite.targets:
        here = runs[workload]
        heading = suite.heading(workload).full_label
        if workload in reasons:
            notes.append(f"Left out: {heading}: {reasons[workload]}.")
            continue
        goal = known[workload]
        way = ", lower is better" if goal.better == "lower" else ""
        notes.append(f"Target in {heading}: {goal.metric} {figure(goal.metric, [goal.value]).value}{way}.")
        for currency, label in LABELS.items():
            hits = {method: hits_by_seed(found, goal, currency) for method, found in here.items()}
            if all(found is None for found in hits.values()):
                continue
            cells = {method: _cell(here[method], found) for method, found in hits.items()}
            metrics = (f"{TIME_TO_TARGET}{currency}",)
            places.append(ResultColumn(label=label, group=heading, metrics=metrics, cells=cells))
    title = titled(suite, "Cost at the target")
    return lay_out("targets", title, suite.methods, places, notes, unranked=not_ranked(suite))


_NOTE = (
    "Cost of the first evaluation that reaches the target: median over seeds, where a seed that misses it, fails or "
    "diverges before it counts as infinite. Runs are evaluated once per epoch."
)


def without_target(suite: Suite) -> list[str]:
    """Return which workloads are left out because they have no target, where others have one."""
    without = [suite.heading(workload).full_label for workload in suite.workloads if workload not in suite.targets]
    return [f"Left out: {', '.join(without)}: no target."] if without and suite.targets else []


def no_target(suite: Suite) -> str:
    """Return how a suite gets targets."""
    return f"No workload of {suite.name} has a target: name one, such as `target: 0.95`."


class Goal(Frozen):
    """A target to reach on a workload.

    Attributes:
        metric: The metric that is evaluated along the runs.
        better: Which way it is better.
        value: Its value to reach.
    """

    metric: str
    better: Better
    value: float


def goals(suite: Suite, runs: SuiteRuns) -> tuple[dict[str, Goal], dict[str, str]]:
    """Return the targets that a suite names, by workload, and why those of other workloads cannot be used."""
    found, reasons = {}, {}
    for workload, target in suite.targets.items():
        here = runs[workload].values()
        name = selection_metric(here)
        direction = better(name, all_results(here))
        if not name:
            ended = any(each.results for each in here)
            reasons[workload] = "no result says what its best epoch was chosen by" if ended else "no run has ended"
        elif direction is None:
            reasons[workload] = f"{name}: {UNKNOWN_DIRECTION}"
        else:
            found[workload] = Goal(metric=name, better=direction, value=target)
    return found, reasons


def hits_by_seed(runs: Runs, goal: Goal, currency: Currency) -> dict[int, Hit | None] | None:
    """Return when each seed reached a target, `None` for a miss; or `None` if cost was not measured in the currency.

    A run that broke has reached nothing. Seeds of which no history is left are not there: whether they reached the
    target, a diverged one before it diverged, is not known.
    """
    found = curves(runs, goal.metric, currency)
    if found is None:
        return None
    lower = goal.better == "lower"
    return {
        seed: time_to_target(points, goal.value, lower_is_better=lower) if run.conclusive else None
        for seed, run, points in zip(runs.seeds, runs.results, found, strict=True)
        if points or not _is_silent(run)
    }


def without_history(runs: Runs, metric: str) -> int:
    """Return of how many seeds it is not known whether they reached a value of a metric, for their history is lost."""
    return sum(
        _is_silent(run) and not any(metric in record.metrics for record in records)
        for run, records in zip(runs.results, runs.records, strict=True)
    )


def _is_silent(run: RunResult) -> bool:
    """Return whether a run without a history may have reached a target all the same."""
    return run.conclusive and (run.outcome == "finished" or run.epochs > 0)


def _cell(runs: Runs, hits: Mapping[int, Hit | None] | None) -> Cell:
    if not runs.results:
        return Cell(reason=runs.absence())
    if hits is None:
        return Cell(reason="not measured in this currency")
    if not hits:
        return Cell(reason=runs.absence(HISTORY))
    costs = [math.inf if hit is None else hit.cost for hit in hits.values()]
    reached = sum(map(math.isfinite, costs))
    median = statistics.median(costs)
    unknown = len(runs.results) - len(hits)
    share = f"{reached} of {len(costs)} seeds" + (f"; {unknown} without {HISTORY}" if unknown else "")
    if not math.isfinite(median):
        return Cell(reason=f"target reached by {share}")
    remark = "" if reached == runs.expected else f"({share})"
    return number_cell(amount_text(median), median, n=len(costs), remark=remark)
