"""Critical-difference diagrams: an axis of average ranks, labels on both sides, bars under methods in one group."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from benchbench.figures.drawing.page import MARGIN, page, text_width, wrapped
from benchbench.figures.drawing.styles import style
from benchbench.figures.values import RankedMethod, RankFigure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDTH = 7.0
_LABELS = 1.9
"""Most room for the labels on each side; like all other lengths here in inches."""
_GAP = 0.1
_SIZE = 7.5
_LINE = 0.15
"""Height of a line of a label."""
_RULER = 0.22
_AXIS = 0.62
_BAR = 0.1
"""Distance of one bar from the next."""

_MOST_TICKS = 15
"""Ranks that all have a number; of more, each fifth has."""


def draw_ranks(content: RankFigure) -> Figure:
    """Draw a critical-difference diagram: the better half of the methods has its labels on the left."""
    half = (len(content.methods) + 1) // 2
    figure = page(_WIDTH, 1.0, "", ())
    sides = [
        [(each, wrapped(figure, f"{each.label}  {each.rank:.2f}", _SIZE, _LABELS)) for each in methods]
        for methods in (content.methods[:half], content.methods[:half - 1:-1])
    ]  # fmt: skip
    first_row = _AXIS + _BAR * (len(content.bars) + 1)
    heights = [sum((text.count("\n") + 1) * _LINE + 0.05 for _, text in side) for side in sides]
    body = first_row + max(heights) + 0.05
    figure = page(_WIDTH, body, content.title, content.notes)
    axes: Any = figure.add_subplot()
    axes.set(xlim=(0, _WIDTH - 2 * MARGIN), ylim=(body, 0), xticks=[], yticks=[])
    axes.axis("off")
    lines = [line for side in sides for _, text in side for line in text.splitlines()]
    room = max(text_width(figure, line, _SIZE) for line in lines) + 2 * _GAP
    left, right = room, _WIDTH - 2 * MARGIN - room
    scale = (right - left) / (len(content.methods) - 1)

    def place(rank: float) -> float:
        return left + scale * (rank - 1)

    _draw_axis(axes, content, place)
    for i, (low, high) in enumerate(content.bars):
        y = _AXIS + _BAR * (i + 1)
        axes.plot([place(low) - 0.04, place(high) + 0.04], [y, y], color="black", linewidth=3, solid_capstyle="butt")
    for side, edge, align in ((sides[0], left - _GAP, "right"), (sides[1], right + _GAP, "left")):
        y = first_row
        for method, text in side:
            height = (text.count("\n") + 1) * _LINE + 0.05
            _draw_method(axes, method, place(method.rank), edge, y + height / 2)
            offset = -_GAP / 2 if align == "right" else _GAP / 2
            axes.text(edge + offset, y + height / 2, text, ha=align, va="center", fontsize=_SIZE, linespacing=1.1)
            y += height
    return figure


def _draw_axis(axes: Any, content: RankFigure, place: Callable[[float], float]) -> None:
    """Draw the axis with its ticks, and above it how long the critical difference is."""
    last = len(content.methods)
    axes.plot([place(1), place(last)], [_AXIS, _AXIS], color="black", linewidth=0.8)
    for rank in range(1, last + 1):
        axes.plot([place(rank)] * 2, [_AXIS - 0.05, _AXIS], color="black", linewidth=0.8)
        if last <= _MOST_TICKS or rank in (1, last) or (rank % 5 == 0 and last - rank > 2):
            axes.text(place(rank), _AXIS - 0.07, str(rank), ha="center", va="bottom", fontsize=7)
    ends = place(1), place(1 + content.critical_difference)
    axes.plot(ends, [_RULER] * 2, color="black", linewidth=0.8)
    for end in ends:
        axes.plot([end, end], [_RULER - 0.03, _RULER + 0.03], color="black", linewidth=0.8)
    text = f"CD = {content.critical_difference:.2f}"
    axes.text(sum(ends) / 2, _RULER - 0.05, text, ha="center", va="bottom", fontsize=7)


def _draw_method(axes: Any, method: RankedMethod, x: float, edge: float, y: float) -> None:
    """Draw a method's marker on the axis, and the line from there to its label."""
    colour, marker, _ = style(method.style)
    axes.plot([x, x, edge], [_AXIS, y, y], color=colour, linewidth=0.9, solid_joinstyle="miter")
    axes.plot([x], [_AXIS], color=colour, marker=marker, markersize=4.5, linestyle="none", zorder=3)
