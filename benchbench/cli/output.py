"""Printing of tables, listings and notes."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import typer

from benchbench.cli.options import Format

if TYPE_CHECKING:
    from benchbench.api import Workspace
    from benchbench.reporting.table import Table
    from benchbench.values import Row, Suite

_NARROWEST = 12
"""Least width of a folded column; a narrower terminal wraps the lines itself."""


def print_results(suites: Sequence[Suite], rows: Sequence[Sequence[Row]], form: Format) -> None:
    """Print the tables of each suite, then the joint ones if there are several suites.

    Args:
        suites: The suites.
        rows: What is known of the runs of each of them.
        form: How to print.
    """
    from benchbench.reporting import joint_tables, tables

    of_each = [tables(suite, known) for suite, known in zip(suites, rows, strict=True)]
    of_all = joint_tables(suites, rows) if len(suites) > 1 else []
    if form != "json":
        print_tables(" + ".join(suite.title for suite in suites), [*chain.from_iterable(of_each), *of_all], form)
        return
    parts = [
        {"suite": suite.name, "tables": _plain(made), "runs": [row.model_dump(mode="json") for row in known]}
        for suite, made, known in zip(suites, of_each, rows, strict=True)
    ]
    content = parts[0] if len(parts) == 1 else {"suites": parts, "tables": _plain(of_all)}
    typer.echo(json.dumps(content, indent=2))


def print_tables(title: str, tables: Sequence[Table], form: Format) -> None:
    """Print tables below each other.

    Args:
        title: Title of a page that holds them.
        tables: The tables.
        form: How to print.
    """
    from benchbench import reporting

    if form == "csv":
        text = reporting.to_csv(tables)
    elif form == "html":
        text = reporting.html_page(title, tables)
    elif form == "json":
        text = json.dumps({"tables": _plain(tables)}, indent=2)
    elif form == "terminal":
        terminal = sys.stdout.isatty()
        color, width = terminal and "NO_COLOR" not in os.environ, shutil.get_terminal_size().columns
        shown = [reporting.to_terminal(table, color=color, width=width if terminal else None) for table in tables]
        text = "\n\n".join(shown)
    else:
        write = {
            "markdown": reporting.to_markdown,
            "latex": reporting.to_latex,
            "html-fragment": reporting.to_html,
        }[form]
        text = "\n\n".join(map(write, tables))
    typer.echo(text)


def _plain(tables: Sequence[Table]) -> list[dict[str, object]]:
    return [table.model_dump(mode="json") for table in tables]


def print_listing(rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows as a plain table: no column that is empty, control characters shown as escapes."""
    from tabulate import tabulate

    from benchbench.problems import printable

    columns = {
        name: texts for name in (rows[0] if rows else ()) if any(texts := [printable(str(row[name])) for row in rows])
    }
    limits = _limits(columns) if sys.stdout.isatty() else None
    typer.echo(tabulate(columns, headers="keys", tablefmt="simple", disable_numparse=True, maxcolwidths=limits))


def _limits(columns: Mapping[str, Sequence[str]]) -> list[int | None]:
    """Return the widths to which columns are folded so that a listing fits its window: only the widest is folded."""
    widths = {name: max(len(name) + 2, *map(len, texts)) for name, texts in columns.items()}
    widest = max(widths, key=lambda name: widths[name])
    lacking = sum(widths.values()) + 2 * (len(widths) - 1) - shutil.get_terminal_size().columns
    fits = lacking <= 0 or widths[widest] - lacking < _NARROWEST
    return [None if fits or name != widest else widths[widest] - lacking for name in columns]


def note_missing_store(workspace: Workspace) -> None:
    """Print a note if the tracking store does not exist: its path may be mistyped."""
    from benchbench.tracking import Store, without_passwords

    store = Store(workspace.tracking_uri)
    if store.is_new:
        typer.echo(f"there is no tracking store yet: {without_passwords(store.uri)}", err=True)


def note_damage(rows: Sequence[Row], workspace: Workspace) -> None:
    """Print a warning for every run that has no result because its files are damaged."""
    from benchbench.problems import printable

    without = [row for row in rows if row.result is not None and not row.result.conclusive]
    folders = [workspace.folder(row.spec.key) for row in without]
    for line in [line for folder in folders if folder.result() is None for line in folder.lost()]:
        typer.echo(f"warning: {printable(line)}; `benchbench run` repeats the run", err=True)
