"""Scales, ticks and labels of axes."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from benchbench.figures.drawing.page import renderer, wrapped
from benchbench.figures.values import Axis
from benchbench.problems import printable
from benchbench.reporting.metrics import power_of_ten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis as Direction
    from matplotlib.figure import Figure

_LONGEST_TICK = 18
_LARGE = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def lay_out(axes: Axes, x: Axis, y: Axis, width: float, height: float) -> None:
    """Give axes their scales, limits, ticks and labels; to be called once everything is drawn in them.

    Args:
        axes: The axes.
        x: What goes from left to right.
        y: What goes upwards.
        width: Room for the label of `x`, in inches.
        height: Room for the label of `y`.
    """
    for direction, axis, room in ((axes.xaxis, x, width), (axes.yaxis, y, height)):
        _divide(direction, axis)
        size = float(direction.label.get_fontsize())
        figure: Any = axes.get_figure(root=True)
        direction.set_label_text(wrapped(figure, axis.label, size, room))
    axes.set_xlim(x.low, x.high)
    axes.set_ylim(y.low, y.high)


def scale(axes: Axes, x: Axis, y: Axis) -> None:
    """Give axes their scales, before anything is drawn in them."""
    for setter, axis in ((axes.set_xscale, x), (axes.set_yscale, y)):
        if axis.scale == "symlog":
            setter("symlog", linthresh=axis.threshold)
        else:
            setter(axis.scale)


def tick_text(value: float, _position: int | None = None) -> str:
    """Return the label of a tick: short, with SI letters for thousands and beyond."""
    if value and (abs(value) < 1e-3 or abs(value) >= 1e12):
        exponent = math.floor(math.log10(abs(value)) + 1e-9)
        factor = value / 10.0**exponent
        sign = "−" if value < 0 else ""
        rounded = f"{abs(factor):.3g}"
        return f"{sign}{'' if rounded == '1' else f'{rounded}·'}{power_of_ten(exponent)}"
    unit, letter = next(((unit, letter) for unit, letter in _LARGE if abs(value) >= 10 * unit), (1.0, ""))
    return f"{value / unit:.6g}{letter}".replace("-", "−")


def _power_text(value: float, _position: int | None = None) -> str:
    return power_of_ten(round(math.log10(abs(value))), negative=value < 0) if value else "0"


def spread_ticks(figure: Figure) -> None:
    """Turn labels of horizontal axes that would touch each other, and leave out those that still would."""
    figure.draw_without_rendering()
    measure = renderer(figure)
    for axes in figure.axes:
        labels = [label for label in axes.get_xticklabels() if label.get_text() and label.get_visible()]
        boxes = [label.get_window_extent(measure).padded(2) for label in labels]
        if any(box.overlaps(after) for box, after in pairwise(boxes)):
            kept = None
            for label in labels:
                label.set(rotation=90, ha="center", va="top")
            for label in labels:
                box = label.get_window_extent(measure).padded(1)
                if kept is not None and box.overlaps(kept):
                    label.set_text("")
                else:
                    kept = box


def _divide(direction: Direction, axis: Axis) -> None:
    from matplotlib import ticker

    if axis.ticks:
        texts = [printable(text) for _, text in axis.ticks]
        short = [text if len(text) <= _LONGEST_TICK else f"{text[: _LONGEST_TICK - 1]}…" for text in texts]
        direction.set_ticks([place for place, _ in axis.ticks], labels=short)
        direction.set_minor_locator(ticker.NullLocator())
        return
    if axis.scale == "linear":
        direction.set_major_locator(ticker.MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
        direction.set_major_formatter(ticker.FuncFormatter(tick_text))
    elif axis.scale == "log":
        low, high = sorted(direction.get_view_interval() if axis.low is None else (axis.low, axis.high or 1.0))
        narrow = math.log10(high / low) < 2
        powers = not narrow and (low < 1e-3 or high > 1e4)
        direction.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0) if narrow else (1.0,), numticks=7))
        direction.set_major_formatter(ticker.FuncFormatter(_power_text if powers else tick_text))
        direction.set_minor_formatter(ticker.NullFormatter())
    else:
        locator: Any = ticker.SymmetricalLogLocator(base=10, linthresh=axis.threshold)
        locator.set_params(numticks=6)
        direction.set_major_locator(locator)
        direction.set_major_formatter(ticker.FuncFormatter(_power_text))
