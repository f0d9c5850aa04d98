"""Figures of maps: cells with numbers, densities over time, contours; all on one scale of colours."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from benchbench.figures.drawing.axes import lay_out, spread_ticks, tick_text
from benchbench.figures.drawing.page import page, wrapped
from benchbench.figures.drawing.styles import COLOURS
from benchbench.figures.values import Axis, MapFigure, Tile

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH = 7.0
_TILE = {"density": 3.2, "contours": 2.1}
_HEIGHT = {"density": 1.7, "contours": 1.9}
_CELL = (0.42, 0.27)
"""Width and height of a cell with a number, in inches."""
_AROUND = (0.7, 0.65)
"""Inches that ticks and labels take next to cells."""
_BESIDE = 0.55
"""Inches that the ticks of a tile take next to it."""

_LEVELS = 15


def draw_maps(content: MapFigure) -> Figure:
    """Draw a figure of maps: tiles in a grid, one colour bar."""
    if content.form == "cells":
        cells, lines = max(len(tile.x) for tile in content.tiles), max(len(tile.y) for tile in content.tiles)
        tile_width, tile_height = max(1.6, cells * _CELL[0] + _AROUND[0]), lines * _CELL[1] + _AROUND[1]
    else:
        tile_width, tile_height = _TILE[content.form], _HEIGHT[content.form]
    columns = max(1, min(len(content.tiles), int(_WIDTH / tile_width)))
    rows = math.ceil(len(content.tiles) / columns)
    width = min(_WIDTH, columns * tile_width + 0.9) if content.form != "cells" else columns * tile_width + 0.9
    inner = (width - 0.9) / columns - 0.1
    figure = page(width, rows * tile_height + 0.3, content.title, content.notes)
    norm = _norm(content.value)
    for i, tile in enumerate(content.tiles):
        axes = figure.add_subplot(rows, columns, i + 1)
        axes.grid(visible=False)
        _FORMS[content.form](axes, tile, norm)
        if len(content.tiles) > 1 or tile.title:
            axes.set_title(wrapped(figure, tile.title, 7.5, inner - _BESIDE), fontsize=7.5)
        outer = Axis(label="", ticks=content.x.ticks, low=content.x.low, high=content.x.high)
        is_lowest = i + columns >= len(content.tiles)
        left = content.y if i % columns == 0 else content.y.model_copy(update={"label": ""})
        lay_out(axes, content.x if is_lowest else outer, left, inner, tile_height)
    _colour_bar(figure, norm, content, rows * tile_height)
    spread_ticks(figure)
    return figure


def _norm(value: Axis) -> Any:
    from matplotlib.colors import LogNorm, Normalize

    if value.scale == "log":
        return LogNorm(value.low, value.high)
    low, high = value.low or 0.0, value.high or 0.0
    return Normalize(low, high if high > low else low + 1)


def _grid(tile: Tile) -> Any:
    import numpy as np

    return np.ma.masked_invalid(np.array([[math.nan if v is None else v for v in row] for row in tile.values]))


def _density(axes: Axes, tile: Tile, norm: Any) -> None:
    axes.pcolormesh(tile.x, tile.y, _grid(tile), cmap=COLOURS, norm=norm, rasterized=True)


def _contours(axes: Axes, tile: Tile, norm: Any) -> None:
    import numpy as np

    levels = np.linspace(norm.vmin, norm.vmax, _LEVELS)
    grid = _grid(tile)
    axes.contourf(tile.x, tile.y, grid, levels=levels, cmap=COLOURS, norm=norm, extend="both")
    axes.contour(tile.x, tile.y, grid, levels=levels[1:-1:2], colors="white", linewidths=0.4)
    axes.plot([0], [0], marker="+", color="white", markersize=7, markeredgewidth=1.2)
    axes.set_box_aspect(1)


def _cells(axes: Axes, tile: Tile, norm: Any) -> None:
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    axes.pcolormesh(tile.x, tile.y, _grid(tile), cmap=COLOURS, norm=norm, edgecolors="white", linewidth=0.8)
    for y, values, texts in zip(tile.y, tile.values, tile.texts, strict=True):
        for x, value, text in zip(tile.x, values, texts, strict=True):
            if value is None and text:
                box = Rectangle((x - 0.46, y - 0.46), 0.92, 0.92, facecolor="#EEEEEE", edgecolor="#BBBBBB", hatch="///")
                axes.add_patch(box)
            red, green, blue, _ = colormaps[COLOURS](norm(value)) if value is not None else (1.0, 1.0, 1.0, 1.0)
            dark = 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.55
            background = {"facecolor": "#EEEEEE", "edgecolor": "none", "pad": 0.6} if text[:1].isalpha() else None
            colour = "white" if dark else "black"
            axes.text(x, y, text, ha="center", va="center", fontsize=6, color=colour, bbox=background, linespacing=1.0)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(length=0)


_FORMS = {"density": _density, "contours": _contours, "cells": _cells}


def _colour_bar(figure: Figure, norm: Any, content: MapFigure, height: float) -> None:
    """Draw the bar of colours; it has a point where values lie beyond its end."""
    from matplotlib import ticker
    from matplotlib.cm import ScalarMappable

    highest = max((v for tile in content.tiles for row in tile.values for v in row if v is not None), default=norm.vmax)
    extend = "max" if highest > norm.vmax else "neither"
    tiles = list(figure.axes)
    bar: Any = figure.colorbar(
        ScalarMappable(norm, COLOURS), ax=tiles, aspect=max(12, 8 * height), pad=0.01, fraction=0.05, extend=extend
    )
    bar.outline.set_linewidth(0.4)
    if content.value.scale == "linear":
        bar.ax.yaxis.set_major_locator(ticker.MaxNLocator(nbins=6))
    bar.ax.yaxis.set_major_formatter(ticker.FuncFormatter(tick_text))
    bar.ax.yaxis.set_minor_formatter(ticker.NullFormatter())
    bar.set_label(wrapped(figure, content.value.label, 8, 0.9 * height))
