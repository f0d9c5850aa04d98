"""What runs measured after every epoch: which metric of it is shown, and what it came to at equal cost."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from benchbench.leaderboard.costs import CURRENCIES, Currency
from benchbench.leaderboard.merge import Entry
from benchbench.reporting.metrics import Better, better, describe
from benchbench.stats import Evaluation, mean, metric_within
from benchbench.values import EpochRecord


def curve_metric(metric: str, by_method: Mapping[str, Sequence[Entry]]) -> str:
    """Return the metric of the curves that is nearest to that of the results; test data may be read once only."""
    candidates = (metric, f"validation/{metric.partition('/')[2]}", "validation/loss", "train/loss")
    measured = [
        set(run.stored.records[0].metrics)
        for runs in by_method.values()
        for run in runs
        if run.stored and run.stored.records
    ]
    shared = set.intersection(*measured) if measured else set()
    return next((name for name in candidates if name in shared), "")


def direction(metric: str, by_method: Mapping[str, Sequence[Entry]]) -> Better | None:
    """Return which way a metric is better, as the runs of a workload say or as it is known."""
    return better(metric, [run.stored.result for runs in by_method.values() for run in runs if run.stored])


def curve(records: Sequence[EpochRecord], metric: str, currency: Currency) -> list[Evaluation]:
    """Return a metric after every epoch of a run over its cost, NaN where it was not measured."""
    return [
        Evaluation(index=record.epoch, cost=currency.of(record.cost), metric=record.metrics.get(metric, math.nan))
        for record in records
    ]


def matched(
    by_method: Mapping[str, Sequence[Entry]],
    curve_metric: str,
    costs: Mapping[str, Mapping[str, float]],
) -> dict[str, dict[str, float]]:
    """Return the mean of a curve's metric at the mean cost of the cheapest method, by method and currency.

    The last epoch within that cost counts. A method is left out where one of its runs has none.

    Args:
        by_method: Runs of each method.
        curve_metric: The metric, or empty where no curve is known.
        costs: Mean cost by method and currency.
    """
    found: dict[str, dict[str, float]] = {method: {} for method in by_method}
    if not curve_metric:
        return found
    for currency in CURRENCIES:
        budget = min((here[currency.name] for here in costs.values() if here), default=0.0)
        for method, runs in by_method.items():
            at_budget = [
                metric_within(
                    curve(run.stored.records, curve_metric, currency),
                    budget,
                    pick="last",
                    lower_is_better=False,  # which does not matter for the last one
                )
                for run in runs
                if run.finished and run.stored and run.stored.records
            ]
            reached = [point.metric for point in at_budget if point]
            if reached and len(reached) == len(runs):
                found[method][currency.name] = mean(reached)
    return found


def curve_scale(metric: str) -> float:
    """Return what values of a curve's metric are multiplied with: the scale of the same metric of the test data."""
    return describe(f"test/{metric.partition('/')[2]}").scale


def median_end(curve_metric: str, by_method: Mapping[str, Sequence[Entry]]) -> float | None:
    """Return the median over the methods of the mean that their curves end with: half of them end there or beyond it.

    Methods with a run that did not finish are left out; `None` where no method is left, or no curve is known.
    """
    ends = []
    for runs in by_method.values():
        last = [
            run.stored.records[-1].metrics.get(curve_metric, math.nan)
            for run in runs
            if run.finished and run.stored and run.stored.records
        ]
        if last and len(last) == len(runs) and all(map(math.isfinite, last)):
            ends.append(mean(last))
    return statistics.median(ends) if ends and curve_metric else None
