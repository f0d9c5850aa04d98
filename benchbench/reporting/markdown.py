"""Tables for Markdown as GitHub reads it."""

from __future__ import annotations

import re

from tabulate import tabulate

from benchbench.problems import printable
from benchbench.reporting.table import FIGURE_GAP, Cell, Column, Figure, Table, marks_note, shown_headers

# Whatever starts markup within a line; other punctuation is left alone to keep the source readable.
_SPECIAL = re.compile(r"[\\`*_\[\]<>|~#&$]")
_EMPHASIS = {"best": "**", "second": "*", "tied": ""}


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
        "\n".join(f"- {_escape(note)}" for note in (*marks_note(table, best="Bold", second="italic"), *table.notes)),
    ]
    return "\n\n".join(part for part in parts if part)


def _escape(text: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", printable(text))


def _full_label(column: Column) -> str:
    """Return the label with its group in front: Markdown tables have one header row only."""
    return f"{column.group}: {column.label}" if column.group else column.label


def _cell(cell: Cell) -> str:
    figures = FIGURE_GAP.join(map(_figure, cell.figures))
    return f"{figures} {_escape(cell.words)}".strip()


def _figure(figure: Figure) -> str:
    emphasis = "".join(_EMPHASIS[mark] for mark in figure.marks)
    return f"{emphasis}{_escape(figure.text)}{emphasis}{figure.sign}"
