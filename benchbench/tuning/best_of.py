"""The best of k trials as a table."""

from __future__ import annotations

from collections.abc import Sequence

from benchbench.reporting.metrics import describe
from benchbench.reporting.table import Cell, Column, Figure, Table, TableRow
from benchbench.stats.best_of import BestOf, expected_best
from benchbench.tuning.study import StudyStatus


def best_of_table(title: str, statuses: Sequence[StudyStatus]) -> Table:
    """Return the expected best of 1, 2, 4 and so on trials of each search, with 95 % intervals.

    Args:
        title: Title of the suite.
        statuses: The searches.
    """
    found = {id(each): expected_best(each.scores) if each.metric else [] for each in statuses}
    most = max((len(points) for points in found.values()), default=0)
    ks = [1 << i for i in range(most.bit_length())]
    return Table(
        name="best-of",
        title=f"Expected best of k trials – {title}",
        headers=("Workload", "Method"),
        columns=tuple(Column(label=f"k = {k}") for k in ks),
        rows=tuple(
            TableRow(
                headers=(each.study.workload, each.study.method),
                cells=tuple(_cell(each, found[id(each)], k) for k in ks),
            )
            for each in statuses
        ),
        notes=(
            "Metric after the final epoch on the held-out part of the training data: "
            f"{', '.join(dict.fromkeys(each.metric for each in statuses if each.metric)) or 'none yet'}.",
            "In brackets: 95 % interval of the expectation, bootstrap over trials; too narrow where trials are few.",
            "A trial that diverged or broke counts as the worst of its method; –: fewer trials, or none with a value.",
        ),
    )


def _cell(status: StudyStatus, points: Sequence[BestOf], k: int) -> Cell:
    if k > len(points):
        return Cell(remark="–")
    point, metric, direction = points[k - 1], describe(status.metric), status.sign
    factor = direction * metric.scale
    low, high = sorted((factor * point.low, factor * point.high))
    value = factor * point.expected
    figure = Figure(value=f"{value:.4g}", mean=value, n=len(points))
    return Cell(figures=(figure,), remark=f"[{low:.4g}, {high:.4g}]")
