"""Drawing figures with matplotlib, as objects: without a display and without global state."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from benchbench.figures.drawing.lines import draw_lines
from benchbench.figures.drawing.maps import draw_maps
from benchbench.figures.drawing.ranks import draw_ranks
from benchbench.figures.drawing.styles import RC
from benchbench.figures.values import Figure, LineFigure, MapFigure, RankFigure
from benchbench.problems import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

FORMATS = ("png", "svg", "pdf")
_LONGEST_NAME = 60
_WITHOUT_DATES: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def draw(content: Figure) -> Drawing:
    """Return a figure drawn by matplotlib; what it is written with has to be in `settings` too."""
    with settings():
        if isinstance(content, LineFigure):
            drawing = draw_lines(content)
        else:
            drawing = draw_maps(content) if isinstance(content, MapFigure) else draw_ranks(content)
        drawing.draw_without_rendering()
    return drawing


def save(figures: Sequence[Figure], suite: str, out: Path) -> list[Path]:
    """Draw figures and write each of them as PNG, SVG and PDF; equal figures give equal files.

    Args:
        figures: The figures.
        suite: Name of their suite, which the names of the files begin with.
        out: The folder to write into; it is made if need be.

    Returns:
        The files.
    """
    out.mkdir(parents=True, exist_ok=True)
    files = []
    for content, stem in zip(figures, _stems(figures, suite), strict=True):
        drawing = draw(content)
        for form in FORMATS:
            path = out / f"{stem}.{form}"
            with settings():
                drawing.savefig(path, format=form, metadata={**_WITHOUT_DATES[form], **_words(content, form)})
            files.append(path)
    return files


def _words(content: Figure, form: str) -> dict[str, str]:
    """Return what a file says to those who cannot see the figure."""
    title, notes = printable(content.title), " ".join(map(printable, content.notes))
    if isinstance(content, RankFigure):
        ranks = ", ".join(f"{printable(each.label)} {each.rank:.2f}" for each in content.methods)
        notes = f"Average ranks: {ranks}. {notes}"
    return {"Title": title, **({} if form == "pdf" else {"Description": notes})}


@contextmanager
def settings() -> Iterator[None]:
    """Let matplotlib draw with the settings of these figures, and those only."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(cast(Any, RC))
        yield


def _stems(figures: Sequence[Figure], suite: str) -> list[str]:
    """Return a name for the files of each figure, different even where labels differ in unusual characters only."""
    stems: dict[str, None] = {}
    for content in figures:
        parts = (suite, content.kind, content.workload, content.name)
        # Nothing but characters that every file system takes.
        plain = (re.sub(r"[^A-Za-z0-9._-]+", "_", part).strip("._-")[:_LONGEST_NAME] for part in parts if part)
        stem = "-".join(part or "unnamed" for part in plain)
        candidates = (stem, *(f"{stem}-{i}" for i in range(2, len(figures) + 1)))
        free = next(each for each in candidates if each not in stems)
        stems[free] = None
    return list(stems)
