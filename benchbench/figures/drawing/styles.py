"""Styles of methods: the same in every figure of a suite, and told apart without colours too."""

from __future__ import annotations

from typing import Any, NamedTuple

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9", "#7F7F7F")
"""Okabe and Ito's colours for readers of all kinds of colour vision, grey for a yellow that is lost on white."""

MARKERS = ("o", "s", "^", "D", "v", "P", "*", "<", "X", ">", "p")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
COLOURS = "viridis"
"""Colours of maps: they grow lighter all the way, so they survive a grey printer, and suit all colour vision."""

RC: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "hatch.linewidth": 0.5,
    "lines.linewidth": 1.3,
    "lines.markersize": 4,
    "text.parse_math": False,  # a dollar in a user's label is a dollar
    "text.usetex": False,
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "benchbench",  # equal figures give equal files
    "savefig.dpi": 200,
}


class Style(NamedTuple):
    """Look of a method: marker and dashes alone are different for the first 55 methods."""

    colour: str
    marker: str
    dashes: Any


def style(index: int) -> Style:
    """Return the look of the method at a position of its suite."""
    return Style(PALETTE[index % len(PALETTE)], MARKERS[index % len(MARKERS)], DASHES[index % len(DASHES)])
