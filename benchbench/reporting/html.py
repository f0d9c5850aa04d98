"""Tables for web pages: fragments to paste, or a page that stands alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from benchbench.problems import printable
from benchbench.reporting.table import FIGURE_GAP, Table, all_notes

if TYPE_CHECKING:
    from jinja2 import Environment


def to_html(table: Table) -> str:
    """Return the table as a `<figure>` without styles, without a line end."""
    notes = all_notes(table, best="Bold", second="underlined")
    template = templates("benchbench.reporting").get_template("table.html.j2")
    return template.render(table=table, notes=notes, gap=FIGURE_GAP).strip()


def html_page(title: str, tables: Sequence[Table]) -> str:
    """Return a page with the tables that needs no other file, without a line end."""
    template = templates("benchbench.reporting").get_template("page.html.j2")
    return template.render(title=title, tables=[to_html(table) for table in tables]).strip()


@cache
def templates(package: str) -> Environment:
    """Return the templates of a package: all texts are escaped and without control characters, none is undefined."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    def shown(value: Any) -> Any:
        return printable(value) if type(value) is str else value  # `Markup` is a type of its own

    return Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,  # or every page looks whether its template has changed
    )
