"""Tables for Markdown as GitHub reads it."""

from __future__ import annotations

import re

from tabulate import tabulate

from benchbench.problems import printable
from benchbench.reporting.table import Cell, Column, Table, shown_headers

# Whatever starts markup within a line; other punctuation is left alone to keep the source readable.
_SPECIAL = re.compile(r"[\\`*_\[\]<>|~#&$]")


def to_markdown(table: Table) -> str:
    """Return the table as Markdown: a heading, the table, its notes as a list; without a line end."""
    lines = [
        [*map(_escape, names), *map(_cell, row.cells)]
        for block in table.blocks
        for names, row in zip(shown_headers(block), block, strict=True)
    ]
    groups = [group for group, _ in table.column_groups]
    labels = [column.label if len(groups) == 1 else _full_label(column) for column in table.columns]
    headers = list(map(_escape, (*table.headers, *labels)))
    parts = [
        f"### {_escape(table.title)}",
        f"#### {_escape(groups[0])}" if len(groups) == 1 and groups[0] else "",
        tabulate(lines, headers=headers, tablefmt="pipe", disable_numparse=True),
        "\n".join(f"- {_escape(note)}" for note in table.notes),
    ]
    return "\n\n".join(part for part in parts if part)


def _escape(text: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", printable(text))


def _full_label(column: Column) -> str:
    """Return the label with its group in front: Markdown tables have one header row only."""
    return f"{column.group}: {column.label}" if column.group else column.label


def _cell(cell: Cell) -> str:
    text = _escape(cell.figure.text) if cell.figure else ""
    if cell.figure and "best" in cell.figure.marks:
        text = f"**{text}**"
    return f"{text} {_escape(cell.remark)}".strip()
