"""Quality against cost."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from benchbench.figures.figure_data import BARS, FigureData, spread
from benchbench.figures.labels import CURRENCIES, axis, ends, scale, scaled
from benchbench.figures.values import Axis, LineFigure, Panel, Series
from benchbench.reporting.currencies import spent
from benchbench.reporting.metrics import UNKNOWN_DIRECTION, Better, better
from benchbench.reporting.runs import Runs, all_results
from benchbench.reporting.tuning import not_ranked
from benchbench.stats import pareto_front


def pareto(data: FigureData) -> list[LineFigure]:
    """Return a metric after the final epoch against the cost of training, with the front of what nothing beats."""
    name = data.final_metric()
    if name is None:
        return []
    found = [_point(data, style, label.label, runs, name) for style, label, runs in data.styles()]
    series = tuple(each for each in found if each is not None)
    if not series:
        return []
    direction = better(name, all_results(data.runs.values()))
    compared = [each for each in series if each.label not in not_ranked(data.suite)]
    costs = [value for each in series for value in (*each.x_low, *each.x_high)]
    x, y = Axis(label=CURRENCIES[data.currency or "gc"], scale=scale(costs, 1)), axis(name, ends(series))
    if direction is None:
        note = f"No front: {name}: {UNKNOWN_DIRECTION}."
    else:
        note = f"Dashed: the front of what nothing beats in both; {direction} is better."
    return [
        LineFigure(
            kind="pareto",
            workload=data.workload,
            title=data.title(f"{y.label.partition(' (')[0]} against cost"),
            panels=(Panel(x=x, y=y, series=series, form="points", front=_front(compared, direction)),),
            notes=data.notes(BARS, note, shown=[each.label for each in series]),
        )
    ]


def _point(data: FigureData, style: int, label: str, runs: Runs, name: str) -> Series | None:
    currency, shown = data.currency or "gc", scaled(name)
    finished = [run for run in runs.finished if name in run.final]
    costs = spread(float(run.epochs) if currency == "epochs" else spent(run.cost, currency) for run in finished)
    quality = spread(shown(run.final[name]) for run in finished)
    if costs is None or quality is None:
        return None
    return Series(
        style=style,
        label=label,
        remark=runs.remark(quality.n, name),
        x=(costs.mean,),
        x_low=(costs.low,),
        x_high=(costs.high,),
        y=(quality.mean,),
        low=(quality.low,),
        high=(quality.high,),
        n=(quality.n,),
    )


def _front(series: Sequence[Series], better: Better | None) -> tuple[tuple[float, float], ...]:
    """Return the corners of the front: from each point to the next, first along the cost."""
    if better is None:
        return ()
    points = {each.label: (each.x[0], each.y[0]) for each in series}
    best = [points[label] for label in pareto_front(points, lower_is_better=better == "lower")]
    corners = [corner for (_, y), after in pairwise(best) for corner in ((after[0], y), after)]
    return (*best[:1], *corners)
