"""What trials say about a method beside the winner, as tables: the best of k, and how many come near the best."""

from __future__ import annotations

from collections.abc import Sequence

from benchbench.reporting.metrics import describe
from benchbench.reporting.robustness import Tried, robustness_table
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


def search_robustness_table(title: str, statuses: Sequence[StudyStatus], within: float) -> Table:
    """Return the share of the trials of each search that come near its best one.

    Args:
        title: Title of the suite.
        statuses: The searches.
        within: What counts as near: percent of the best value.
    """
    tried = [
        Tried(
            workload=each.study.workload,
            method=each.study.method,
            metric=each.metric,
            lower_is_better=each.sign < 0,
            values=tuple(trial.value for trial in each.trials if trial.ended),
            asked=len(each.trials),
            reason=_LEARNS if each.study.tuning.sampler == "tpe" else "",
        )
        for each in statuses
    ]
    note = "Intervals of a search count as they are searched: evenly in the logarithm for log_uniform."
    return robustness_table(f"Robustness to what is searched – {title}", tried, within, [note])


_LEARNS = "the sampler tpe tries more where results are good, so its trials are no sample of the space"


def _cell(status: StudyStatus, points: Sequence[BestOf], k: int) -> Cell:
    if k > len(points):
        return Cell(remark="–")
    point, metric, direction = points[k - 1], describe(status.metric), status.sign
    factor = direction * metric.scale
    low, high = sorted((factor * point.low, factor * point.high))
    value = factor * point.expected
    figure = Figure(value=f"{value:.4g}", mean=value, n=len(points))
    return Cell(figures=(figure,), remark=f"[{low:.4g}, {high:.4g}]")
