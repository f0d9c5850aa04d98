"""Tables for web pages: fragments to paste, or a page that stands alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from benchbench.problems import printable
from benchbench.reporting.table import FIGURE_GAP, Table, marks_note

if TYPE_CHECKING:
    from jinja2 import Environment


def to_html(table: Table) -> str:
    """Return the table as a `<figure>` without styles, without a line end."""
    notes = (*marks_note(table, best="Bold", second="underlined"), *table.notes)
    template = _environment().get_template("table.html.j2")
    return template.render(table=table, notes=notes, gap=FIGURE_GAP).strip()


def html_page(title: str, tables: Sequence[Table]) -> str:
    """Return a page with the tables that needs no other file, without a line end."""
    template = _environment().get_template("page.html.j2")
    return template.render(title=title, tables=[to_html(table) for table in tables]).strip()


@cache
def _environment() -> Environment:
    made = template_environment("benchbench.reporting")
    made.filters["printable"] = printable
    return made


def template_environment(package: str) -> Environment:
    """Return the environment of a package's templates: everything is escaped, and nothing may be undefined."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,  # or every page looks whether its template has changed
    )
