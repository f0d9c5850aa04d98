"""Robustness of methods to their hyperparameters: the share of what was tried that is nearly as good as the best."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchbench.reporting.accuracy import places
from benchbench.reporting.metrics import UNKNOWN_DIRECTION, describe, shown
from benchbench.reporting.results import absence_notes
from benchbench.reporting.runs import count_seeds, gather, titled
from benchbench.reporting.table import BLANK, Cell, Column, Table, TableRow, number_cell
from benchbench.stats.robustness import LEAST_TRIALS, robustness
from benchbench.stats.summary import mean
from benchbench.values import Frozen, Row, Suite


class Tried(Frozen):
    """Scores of the settings of a method that were tried on a workload.

    Attributes:
        workload: Name of the workload.
        method: Label of the method.
        metric: The metric that tells how good they are.
        lower_is_better: Whether better means lower.
        values: One per setting whose runs have ended, `None` where a run did not finish.
        asked: How many settings are to be tried; `None`: as many as have been.
        reason: Why they say nothing about the space, or empty.
    """

    workload: str
    method: str
    metric: str = ""
    lower_is_better: bool = False
    values: tuple[float | None, ...] = ()
    asked: int | None = None
    reason: str = ""


def robustness_table(title: str, tried: Sequence[Tried], within: float, notes: Sequence[str] = ()) -> Table:
    """Return the share of the settings of each method that come near its best one.

    Args:
        title: Its headline.
        tried: What was tried.
        within: What counts as near: percent of the best value.
        notes: What else a reader must know.
    """
    reasons = {(each.method, each.workload): each.reason for each in tried if each.reason}
    return Table(
        name="robustness",
        title=title,
        headers=("Workload", "Method"),
        columns=tuple(Column(label=label) for label in ("tried", "best", f"within {within:g} %", "95 % interval")),
        rows=tuple(TableRow(headers=(each.workload, each.method), cells=_cells(each, within)) for each in tried),
        notes=(
            f"within {within:g} %: share of the settings whose distance from the best one is at most {within:g} % of "
            "its value. A method is compared with its own best; one that is bad everywhere can be robust.",
            "Interval: bootstrap over the settings, which count as independent draws from the space; none below "
            f"{LEAST_TRIALS}. Settings of which a run did not finish are outside.",
            *notes,
            *absence_notes(
                reasons,
                list(dict.fromkeys(each.method for each in tried)),
                dict.fromkeys((each.workload for each in tried), ""),
            ),
        ),
    )


def sweep_table(suite: Suite, rows: Sequence[Row]) -> Table:
    """Return how robust methods are to what they sweep, by each workload's first metric after the final epoch."""
    runs = gather(suite, rows)
    tried = []
    for place in places(suite, runs):
        name, direction = place.metrics[0], place.directions[0]
        for base in dict.fromkeys(method.base or method.label for method in suite.methods):
            settings = [runs[place.workload][each.label] for each in suite.methods if each.base == base and each.swept]
            ended = [each for each in settings if sum(run.conclusive for run in each.results) == each.expected]
            reason = "sweeps nothing" if not settings else f"{name}: {UNKNOWN_DIRECTION}" if direction is None else ""
            tried.append(
                Tried(
                    workload=suite.heading(place.workload).full_label,
                    method=base,
                    metric=name,
                    lower_is_better=direction == "lower",
                    values=tuple(mean(each.values(name)) if each.is_whole(name) else None for each in ended),
                    asked=len(settings),
                    reason=reason,
                )
            )
    metrics = ", ".join(dict.fromkeys(each.metric for each in tried))
    notes = [f"Values: mean over the seeds of {metrics} after the final epoch; {count_seeds(suite)}."]
    return robustness_table(titled(suite, "Robustness to what is swept"), tried, suite.robust_within, notes)


def _cells(tried: Tried, within: float) -> tuple[Cell, ...]:
    if tried.reason:
        return (Cell(reason=tried.reason), BLANK, BLANK, BLANK)
    n, sign = len(tried.values), -1 if tried.lower_is_better else 1
    count = number_cell(f"{n}" if tried.asked in (None, n) else f"{n} of {tried.asked}", n)
    scores = [None if each is None else sign * each for each in tried.values]
    found = robustness(scores, within)
    best = sign * max((each for each in scores if each is not None), default=math.nan)
    best_cell = (
        BLANK if math.isnan(best) else number_cell(shown(tried.metric, best), describe(tried.metric).scale * best)
    )
    if isinstance(found, str):
        return (count, best_cell, Cell(remark=found), BLANK)
    return (
        count,
        best_cell,
        number_cell(f"{100 * found.share:.0f} %", 100 * found.share),
        Cell(
            remark=ends
            if isinstance(ends := found.interval, str)
            else f"{100 * ends.low:.0f} to {100 * ends.high:.0f} %"
        ),
    )
