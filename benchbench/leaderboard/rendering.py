"""How the pages of the site are rendered: the templates' environment, and how numbers and texts are written in them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from benchbench.leaderboard.boards import Board
from benchbench.problems import printable
from benchbench.reporting.html import template_environment
from benchbench.reporting.metrics import describe, shown
from benchbench.reporting.table import NOTHING, amount_text

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


def environment() -> Environment:
    """Return the environment of the site's templates."""
    made = template_environment("benchbench.leaderboard")
    made.finalize = _shown
    made.filters.update(
        amount=amount,
        first_upper=lambda text: text[:1].upper() + text[1:],
        number=lambda value: f"{value:.6g}",
        in_words=lambda metric: describe(metric).full_title,
        metric_value=_metric_value,
        ranges=lambda board: dict(_ranges(board)),
        block=block,
    )
    return made


def _shown(value: Any) -> Any:
    """Return what a template prints: texts without control characters; `Markup` is a type of its own."""
    return printable(value) if type(value) is str else value


def block(text: str) -> Markup:
    """Return a text of several lines, escaped as a whole."""
    from markupsafe import escape

    return escape("\n".join(map(printable, text.splitlines())))


def amount(value: float) -> str:
    """Return a cost as text, a dash for one that was not measured."""
    return NOTHING if math.isnan(value) else amount_text(value)


def _metric_value(value: float, metric: str) -> str:
    """Return a value of a curve's metric in the unit in which the same metric of the test data is shown."""
    return shown(f"test/{metric.partition('/')[2]}", value)


def _ranges(board: Board) -> Iterator[tuple[str, tuple[float, float, float]]]:
    """Yield for each ranked method where its interval begins, its mean lies and its interval ends, from 0 to 100."""
    ranked = [(line.method, line.value, line.interval) for line in board.lines if line.value is not None]
    ends = {method: interval or (value, value) for method, value, interval in ranked}
    low = min((first for first, _ in ends.values()), default=0.0)
    width = max((last for _, last in ends.values()), default=0.0) - low or 1.0
    for method, value, _ in ranked:
        first, last = ends[method]
        from_, mean, to = (round(2 + 96 * (each - low) / width, 1) for each in (first, value, last))
        yield method, (from_, mean, to)
