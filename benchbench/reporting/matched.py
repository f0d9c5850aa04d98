"""Compute-matched results: what each method has come to when all have spent the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchbench.reporting.currencies import GC_PAPER, UNITS_NOTE, Currency, curves
from benchbench.reporting.metrics import UNKNOWN_DIRECTION, better, describe, figure
from benchbench.reporting.results import ResultColumn, lay_out
from benchbench.reporting.runs import (
    MEAN_AND_STD,
    Runs,
    all_results,
    count_seeds,
    gather,
    selection_metric,
    titled,
)
from benchbench.reporting.significance import order, significance_note, with_ties
from benchbench.reporting.table import Cell, Table
from benchbench.reporting.targets import HISTORY
from benchbench.reporting.tuning import not_ranked
from benchbench.stats import Evaluation, Ranking, metric_within
from benchbench.values import Frozen, Row, Suite

_LABELS: Mapping[Currency, str] = {"steps": "{:,.0f} steps", "gc": f"{{:,.0f}} {GC_PAPER}", "seconds": "{:.3g} s"}
"""The currencies that are shown, and how a budget in each is written."""


def matched_table(suite: Suite, rows: Sequence[Row]) -> Table:
    """Return the metric that chooses the best epoch, at equal steps, equal gradient computations and equal seconds.

    The budget of a column is the largest one that every finished run of the workload has used up; a run counts with its
    last evaluation within it.

    Args:
        suite: The suite.
        rows: What is known of its runs, with what they recorded.
    """
    runs = gather(suite, rows)
    places: list[ResultColumn] = []
    rankings: list[Ranking | None] = []
    left_out: list[str] = []
    unranked = not_ranked(suite)
    for workload in suite.workloads:
        here = runs[workload]
        name = selection_metric(here.values())
        direction = better(name, all_results(here.values()))
        heading = suite.heading(workload).full_label
        if not any(points for of_method in here.values() for points in _finished(of_method, name, "steps").values()):
            left_out.append(f"Left out: {heading}: no finished run has left a curve.")
            continue
        if direction is None:
            left_out.append(f"{heading}: {name}: {UNKNOWN_DIRECTION}, so nothing is marked or tested.")
        for currency, label in _LABELS.items():
            matched = at_equal_cost(here, name, currency)
            if matched is None:
                continue
            values = matched.values
            rankings.append(order(direction, values, unranked))
            made = {method: _cell(here[method], name, by_seed) for method, by_seed in values.items()}
            places.append(
                ResultColumn(
                    label=label.format(matched.budget),
                    group=f"{heading}: {describe(name).title}",
                    metrics=(name,),
                    better=(direction,),
                    cells=with_ties(made, [rankings[-1]]),
                )
            )
    notes = [
        "The budget of a column is the largest one that all finished runs have used up; the last evaluation within it "
        f"counts. {UNITS_NOTE}",
        f"{MEAN_AND_STD}; {count_seeds(suite)} unless a cell says otherwise.",
        *significance_note(rankings),
        *left_out,
    ]
    if not places:
        notes = ["No finished run has left a curve."]
    title = titled(suite, "At equal cost")
    return lay_out("matched", title, suite.methods, places, notes, unranked=unranked)


class AtEqualCost(Frozen):
    """Results of the methods on one workload at equal cost.

    Attributes:
        budget: The largest cost that every finished run with a history has used up.
        values: The metric at a run's last evaluation within it, by method and seed; `None` where there is none.
    """

    budget: float
    values: dict[str, dict[int, float | None]]


def at_equal_cost(runs: Mapping[str, Runs], name: str, currency: Currency) -> AtEqualCost | None:
    """Return what methods have come to at equal cost, `None` where no finished run has left a curve.

    Args:
        runs: Runs of each method on one workload.
        name: The metric.
        currency: What cost is counted in.
    """
    found = {method: _finished(here, name, currency) for method, here in runs.items()}
    costs = [points[-1].cost for of_seeds in found.values() for points in of_seeds.values() if points]
    if not costs:
        return None
    budget = min(costs)

    def last(points: Sequence[Evaluation]) -> float | None:
        # Of the last one it does not matter which way is better.
        evaluation = metric_within(points, budget, pick="last", lower_is_better=False)
        return None if evaluation is None else evaluation.metric

    values = {method: {seed: last(found[method].get(seed, [])) for seed in here.seeds} for method, here in runs.items()}
    return AtEqualCost(budget=budget, values=values)


def _finished(runs: Runs, name: str, currency: Currency) -> dict[int, list[Evaluation]]:
    """Return the curves of the runs that finished, by seed."""
    found = curves(runs, name, currency) or []
    return {
        seed: points
        for seed, run, points in zip(runs.seeds, runs.results, found, strict=False)
        if run.outcome == "finished"
    }


def _cell(runs: Runs, name: str, by_seed: Mapping[int, float | None]) -> Cell:
    values = [value for value in by_seed.values() if value is not None]
    finished = [records for run, records in zip(runs.results, runs.records, strict=True) if run.outcome == "finished"]
    lost = sum(not any(name in record.metrics for record in records) for records in finished)
    late = len(finished) - len(values) - lost
    lacking = " or ".join([*([HISTORY] if lost else []), *(["an evaluation in time"] if late else [])])
    if not values:
        return Cell(reason=runs.absence(lacking))
    return Cell(figures=(figure(name, values),), remark=runs.remark(len(values), lacking))
