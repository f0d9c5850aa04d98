"""Figures of panels with a line or a point per method."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from benchbench.figures.drawing.axes import lay_out, scale, spread_ticks
from benchbench.figures.drawing.page import Entry, page
from benchbench.figures.drawing.styles import style
from benchbench.figures.values import LineFigure, Panel, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMN = 3.5
_ROW = 2.3
_FEW = 10
"""Methods whose legend fits below a single column."""

_MARKERS = 7
"""Markers along a line, more or less; on short lines every point has one."""


def draw_lines(content: LineFigure) -> Figure:
    """Draw a figure of panels; one with few methods is as wide as a column of a two-column paper, others twice that."""
    count = len(content.panels)
    columns = 1 if count == 1 else 3 if count > 4 else 2
    rows = math.ceil(count / columns)
    entries = _entries(content)
    width = _COLUMN if count == 1 and len(entries) <= _FEW else 2 * _COLUMN
    height = _ROW if columns < 3 else 0.8 * _ROW
    figure = page(width, rows * height, content.title, content.notes, entries)
    for i, panel in enumerate(content.panels):
        axes = figure.add_subplot(rows, columns, i + 1)
        _draw_panel(axes, panel, 0.75 * width / columns, 0.75 * height)
    spread_ticks(figure)
    return figure


def _entries(content: LineFigure) -> list[Entry]:
    """Return a line of the legend for each method of any panel, in the order of the suite."""
    from matplotlib.lines import Line2D

    found: dict[int, tuple[Series, Panel]] = {}
    for panel in content.panels:
        for series in panel.series:
            found.setdefault(series.style, (series, panel))
    entries = []
    for _, (series, panel) in sorted(found.items()):
        colour, marker, dashes = style(series.style)
        line: Any = "none" if panel.form == "points" else dashes
        label = f"{series.label} {series.remark}".strip()
        handle = Line2D([], [], color=colour, marker=marker, linestyle=line, fillstyle=_fill(panel))
        entries.append(Entry(handle, label))
    return entries


def _draw_panel(axes: Axes, panel: Panel, width: float, height: float) -> None:
    scale(axes, panel.x, panel.y)
    if panel.front:
        axes.plot(*zip(*panel.front, strict=True), color="#999999", linestyle="--", linewidth=0.8, zorder=1)
    for series in panel.series:
        _draw_series(axes, series, panel)
    if any(series.y for series in panel.series):
        _keep_limits(axes, panel)
    for series in panel.series:
        _draw_crosses(axes, series)
    lay_out(axes, panel.x, panel.y, width, height)


def _draw_series(axes: Axes, series: Series, panel: Panel) -> None:
    colour, marker, dashes = style(series.style)
    if panel.form == "band":
        if any(low < high for low, high in zip(series.low, series.high, strict=True)):
            axes.fill_between(series.x, series.low, series.high, color=colour, alpha=0.13, linewidth=0)
        axes.plot(series.x, series.y, color=colour, linestyle=dashes, marker=marker, markevery=_every(series))
        return
    axes.errorbar(
        series.x,
        series.y,
        yerr=_bars(series.y, series.low, series.high),
        xerr=_bars(series.x, series.x_low, series.x_high) if series.x_low else None,
        color=colour,
        linestyle="none" if panel.form == "points" else dashes,
        marker=marker,
        capsize=2,
        elinewidth=0.8,
        fillstyle=_fill(panel),
        markersize=6 if panel.form == "points" else 4,
    )


def _fill(panel: Panel) -> Literal["none", "full"]:
    """Return how markers are filled: points that lie on each other must all be seen."""
    return "none" if panel.form == "points" else "full"


def _bars(middle: Sequence[float], low: Sequence[float], high: Sequence[float]) -> list[list[float]]:
    """Return how far the bars reach down and up; rounding cannot make them negative."""
    return [
        [max(m - end, 0.0) for m, end in zip(middle, low, strict=True)],
        [max(end - m, 0.0) for m, end in zip(middle, high, strict=True)],
    ]


def _every(series: Series) -> Any:
    """Return which points have a marker: on long lines some, at places that differ between methods."""
    count = len(series.x)
    if count <= 2 * _MARKERS:
        return 1
    step = count // _MARKERS
    return (series.style * step // _MARKERS % step, step)


def _keep_limits(axes: Axes, panel: Panel) -> None:
    """Let the finished runs decide the limits, with some room above for what diverged, which may lie anywhere."""
    axes.autoscale_view()
    axes.autoscale(enable=False)
    low, high = axes.get_ylim()
    if panel.y.scale == "linear" and all(end >= 0 for series in panel.series for end in series.low):
        low = max(low, 0.0)
    diverged = [y for series in panel.series for trace in series.traces for y in trace.y]
    room = high * 10 if panel.y.scale == "log" else high + 0.5 * (high - low)
    axes.set_ylim(low, max(high, min(room, max(diverged, default=high))))


def _draw_crosses(axes: Axes, series: Series) -> None:
    """Draw the runs that diverged, and crosses at their ends; a cross that would lie outside stands at the edge."""
    colour = style(series.style).colour
    for trace in series.traces:
        axes.plot(trace.x, trace.y, color=colour, linewidth=0.7, alpha=0.6, linestyle=style(series.style).dashes)
    low, high = axes.get_ylim()
    ends = [(trace.x[-1], min(max(trace.y[-1], low), high)) for trace in series.traces]
    ends += [(place, low) for place in series.lost]
    if ends:
        x, y = zip(*ends, strict=True)
        axes.plot(x, y, color=colour, marker="x", markersize=6, markeredgewidth=1.5, linestyle="none", clip_on=False)
