"""The loss around the solutions, along random filter-normalised directions."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from itertools import chain

from benchbench.figures.figure_data import BAND, Curve, FigureData
from benchbench.figures.labels import number
from benchbench.figures.values import Axis, LineFigure, MapFigure, Panel, Tile
from benchbench.tracking.histories import History
from benchbench.values.sharpness.values import Landscape

_LOSS = "Loss"
_DIRECTION = "Filter-normalised direction"
_RISES = 3.0
"""The loss axis ends this many rises of the middle method above the lowest loss."""


def landscapes(data: FigureData) -> list[LineFigure | MapFigure]:
    """Return lines of the loss with all methods in one panel, and planes with a tile per method on one scale."""
    return [*_lines(data), *_planes(data)]


def _lines(data: FigureData) -> list[LineFigure]:
    def points(history: History) -> Curve:
        surface = history.landscape
        if surface is None or len(surface.y) > 1:
            return {}
        return dict(enumerate(zip(surface.x, surface.losses[0], strict=True)))

    series = tuple(each.model_copy(update={"traces": ()}) for each in data.series(points) if each.y)
    if not series:
        return []
    low, high = _limits([(each.y, each.high) for each in series])
    return [
        LineFigure(
            kind="landscape",
            name="line",
            workload=data.workload,
            title=data.title("Loss around the solution"),
            panels=(Panel(x=Axis(label=_DIRECTION), y=Axis(label=_LOSS, low=low, high=high), series=series),),
            notes=data.notes(
                BAND,
                _cut(high, [each.label for each in series if max(each.high) > high]),
                shown=[each.label for each in series],
            ),
        )
    ]


def _planes(data: FigureData) -> list[MapFigure]:
    found: dict[str, Landscape] = {}
    for _, method, runs in data.styles():
        surfaces = [history.landscape for history in data.left_by(runs).values() if history.landscape is not None]
        planes = [surface for surface in surfaces if len(surface.y) > 1]
        if planes:
            found[method.label] = planes[0]
    if not found:
        return []
    flat = {label: [loss for row in surface.losses for loss in row] for label, surface in found.items()}
    low, high = _limits([(losses, losses) for losses in flat.values()])
    white = "" if all(map(math.isfinite, chain(*flat.values()))) else "; white: not finite"
    tiles = tuple(
        Tile(
            title=label,
            x=surface.x,
            y=surface.y,
            values=tuple(tuple(loss if math.isfinite(loss) else None for loss in row) for row in surface.losses),
        )
        for label, surface in found.items()
    )
    return [
        MapFigure(
            kind="landscape",
            name="plane",
            workload=data.workload,
            title=data.title("Loss around the solution"),
            form="contours",
            x=Axis(label="First direction"),
            y=Axis(label="Second direction"),
            value=Axis(label=_LOSS, low=low, high=high),
            tiles=tiles,
            notes=data.notes(
                "One run of each method, that of its first seed.",
                f"Directions are random and filter-normalised; +: the solution{white}.",
                _cut(high, [label for label, losses in flat.items() if max(_finite(losses), default=high) > high]),
                shown=found,
            ),
        )
    ]


def _limits(methods: Sequence[tuple[Sequence[float], Sequence[float]]]) -> tuple[float, float]:
    """Return where the loss axis begins and ends: a few rises of the middle method above the lowest loss.

    Args:
        methods: Losses whose rise counts, and all losses, of each method.
    """
    rises = [max(finite) - min(finite) for losses, _ in methods if (finite := _finite(losses))]
    everything = [loss for _, losses in methods for loss in _finite(losses)]
    low, highest = min(everything), max(everything)
    high = min(highest, low + _RISES * statistics.median_low(rises))
    return low, high if high > low else low + 1.0


def _finite(losses: Iterable[float]) -> list[float]:
    return [loss for loss in losses if math.isfinite(loss)]


def _cut(high: float, labels: Sequence[str]) -> str:
    return f"Cut off at a loss of {number(high)}: {', '.join(labels)}." if labels else ""
