"""The page around the axes: headline, legend and notes, each given the room that its text takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchbench.problems import printable

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

MARGIN = 0.06
"""Inches around everything."""

_GAP = 0.08
_TITLE_SIZE = 8.5
_NOTE_SIZE = 6.5
_LEGEND_COLUMNS = 6
_LABEL_WIDTH = 2.5


@dataclass(frozen=True)
class Entry:
    """A line of the legend."""

    handle: Artist
    label: str


def page(width: float, body: float, title: str, notes: Sequence[str], entries: Sequence[Entry] = ()) -> Figure:
    """Return a figure with headline, legend and notes, and a layout that keeps axes between them.

    Args:
        width: Width in inches.
        body: Height of the room for axes, in inches.
        title: Headline.
        notes: Notes, each of which begins a line.
        entries: The legend.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(width, body), dpi=200)
    FigureCanvasAgg(figure)
    room = width - 2 * MARGIN
    headline = _text(figure, wrapped(figure, title, _TITLE_SIZE, room), _TITLE_SIZE)
    below = _text(figure, "\n".join(wrapped(figure, note, _NOTE_SIZE, room) for note in notes), _NOTE_SIZE)
    below.set_color("#444444")
    legend = _legend(figure, entries, room) if entries else None
    heights = [_height(figure, artist) for artist in (headline, legend, below)]
    top, middle, bottom = (height + _GAP if height else 0.0 for height in heights)
    total = body + top + middle + bottom + 2 * MARGIN
    figure.set_size_inches(width, total)
    headline.set_position((MARGIN / width, 1 - MARGIN / total))
    below.set_position((MARGIN / width, (MARGIN + heights[2]) / total))
    if legend is not None:
        legend.set_bbox_to_anchor((0.5, (MARGIN + bottom + heights[1]) / total), transform=figure.transFigure)
    rect = (0.0, (MARGIN + bottom + middle) / total, 1.0, body / total)
    figure.set_layout_engine(ConstrainedLayoutEngine(rect=rect, w_pad=MARGIN, h_pad=0.04))
    return figure


def wrapped(figure: Figure, text: str, size: float, room: float) -> str:
    """Return a user's text, broken where a line would be wider than `room` inches, in words where possible."""
    lines, line = [], ""
    for word in printable(text).split(" "):
        longer = f"{line} {word}" if line else word
        if line and text_width(figure, longer, size) > room:
            lines.append(line)
            longer = word
        while len(longer) > 1 and text_width(figure, longer, size) > room:
            fits = next((n for n in range(len(longer) - 1, 1, -1) if text_width(figure, longer[:n], size) <= room), 1)
            lines.append(longer[:fits])
            longer = longer[fits:]
        line = longer
    return "\n".join([*lines, line])


def _text(figure: Figure, text: str, size: float) -> Any:
    artist = figure.text(0, 1, text, fontsize=size, ha="left", va="top", linespacing=1.2)
    artist.set_in_layout(False)
    return artist


def _legend(figure: Figure, entries: Sequence[Entry], room: float) -> Any:
    """Return the legend with as many columns as there is room for."""
    from matplotlib import rcParams

    size = float(rcParams["legend.fontsize"])
    labels = [wrapped(figure, entry.label, size, min(0.8 * room, _LABEL_WIDTH)) for entry in entries]
    columns = min(len(entries), _LEGEND_COLUMNS)
    while True:
        legend = figure.legend(
            [entry.handle for entry in entries],
            [str(i) for i in range(len(entries))],  # labels that begin with an underscore would be left out
            loc="upper center",
            ncols=columns,
            frameon=False,
            handlelength=3.2,
            borderpad=0,
            borderaxespad=0,
            columnspacing=1.4,
        )
        for text, label in zip(legend.get_texts(), labels, strict=True):
            text.set_text(label)
        legend.set_in_layout(False)
        if columns == 1 or legend.get_window_extent(renderer(figure)).width <= room * figure.dpi:
            return legend
        legend.remove()
        columns -= 1


def renderer(figure: Figure) -> Any:
    """Return what measures texts as they will be drawn."""
    canvas: Any = figure.canvas
    return canvas.get_renderer()


def text_width(figure: Figure, text: str, size: float) -> float:
    """Return how wide a line of text is, in inches."""
    from matplotlib.font_manager import FontProperties

    width, _, _ = renderer(figure).get_text_width_height_descent(text, FontProperties(size=size), False)
    return float(width) / figure.dpi


def _height(figure: Figure, artist: Any) -> float:
    if artist is None or (hasattr(artist, "get_text") and not artist.get_text()):
        return 0.0
    return float(artist.get_window_extent(renderer(figure)).height) / figure.dpi
