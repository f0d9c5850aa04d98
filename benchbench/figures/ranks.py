"""Average ranks over all workloads of a suite, with the critical difference."""

from __future__ import annotations

from collections.abc import Sequence

from benchbench.figures.figure_data import FigureData
from benchbench.figures.values import RankedMethod, RankFigure
from benchbench.reporting.over_workloads import over_workloads
from benchbench.reporting.runs import titled


def rank_diagram(of_workloads: Sequence[FigureData]) -> list[RankFigure]:
    """Return the critical-difference diagram of a suite, or none where there are too few workloads or methods for one.

    It shows what the table `workloads` says, whatever metric is asked for in other figures.
    """
    suite = of_workloads[0].suite
    found = over_workloads(suite, {each.workload: each.runs for each in of_workloads})
    ranks = found.ranks
    if isinstance(ranks.critical_difference, str):
        return []
    styles = {method.label: style for style, method in enumerate(suite.methods)}
    rank = {each.name: each.rank for each in ranks.methods}
    metrics = ", ".join(dict.fromkeys(found.metrics.values()))
    left_out = [f"{suite.heading(each).full_label} ({why})" for each, why in found.left_out.items()]
    return [
        RankFigure(
            kind="ranks",
            title=titled(suite, "Average ranks over all workloads"),
            methods=tuple(
                RankedMethod(style=styles[each.name], label=each.name, rank=each.rank) for each in ranks.methods
            ),
            critical_difference=ranks.critical_difference,
            bars=tuple((rank[group[0]], rank[group[-1]]) for group in ranks.groups if len(group) > 1),
            notes=(
                f"{ranks.workloads} workloads, {metrics} after the final epoch; rank 1 is the best.",
                "A bar joins methods that Nemenyi's test does not tell apart: their average ranks differ by less than "
                f"the critical difference CD (alpha = {ranks.alpha:g}).",
                *([f"Workloads left out: {'; '.join(left_out)}."] if left_out else []),
                *(f"Not compared: {name}: {why}." for name, why in found.unranked.items()),
            ),
        )
    ]
