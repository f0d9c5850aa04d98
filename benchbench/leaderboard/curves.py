"""Training curves of submitted runs: the metric shown, and its final values."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable

from benchbench.reporting.metrics import describe
from benchbench.reporting.runs import Runs
from benchbench.stats import mean


def curve_metric(metric: str, runs: Iterable[Runs]) -> str:
    """Return the metric of the curves that is nearest to that of the results; test data may be read once only.

    It is there where any run has measured it: what others lack is shown as lacking.
    """
    candidates = (metric, f"validation/{metric.partition('/')[2]}", "validation/loss", "train/loss")
    measured = {name for here in runs for records in here.records for name in (records[0].metrics if records else ())}
    return next((name for name in candidates if name in measured), "")


def curve_scale(metric: str) -> float:
    """Return what values of a curve's metric are multiplied with: the scale of the same metric of the test data."""
    return describe(f"test/{metric.partition('/')[2]}").scale


def median_end(metric: str, runs: Iterable[Runs]) -> float | None:
    """Return the median over the methods of the mean that their curves end with: half of them end there or beyond it.

    Methods of which a run is missing, did not finish or left no curve are left out; `None` where no method is left.

    Args:
        metric: The metric of the curves.
        runs: Runs of each method on one workload.
    """
    ends = []
    for here in runs:
        last = [
            records[-1].metrics.get(metric, math.nan)
            for run, records in zip(here.results, here.records, strict=True)
            if run.outcome == "finished" and records
        ]
        if last and len(last) == here.expected and all(map(math.isfinite, last)):
            ends.append(mean(last))
    return statistics.median(ends) if ends else None
