"""Tables for Markdown as GitHub reads it."""

from __future__ import annotations

import re

from tabulate import tabulate

from benchbench.problems import printable
from benchbench.reporting.table import Figure, Table, all_notes, shown_headers

# Whatever starts markup within a line; other punctuation is left alone to keep the source readable.
_SPECIAL = re.compile(r"[\\`*_\[\]<>|~#&$]")
_EMPHASIS = {"best": "**", "second": "*", "tied": ""}


def to_markdown(table: Table) -> str:
    """Return the table as Markdown: a heading, the table, its notes as a list; without a line end."""

    def figure(shown: Figure) -> str:
        emphasis = "".join(_EMPHASIS[mark] for mark in shown.marks)
        return f"{emphasis}{_escape(shown.text)}{emphasis}{shown.sign}"

    lines = [
        [*map(_escape, names), *(cell.written(figure, _escape) for cell in row.cells)]
        for block in table.blocks
        for names, row in zip(shown_headers(block), block, strict=True)
    ]
    groups = [group for group, _ in table.column_groups]
    # Markdown tables have one header row only.
    labels = [
        f"{column.group}: {column.label}" if column.group and len(groups) > 1 else column.label
        for column in table.columns
    ]
    headers = list(map(_escape, (*table.headers, *labels)))
    parts = [
        f"### {_escape(table.title)}",
        f"#### {_escape(groups[0])}" if len(groups) == 1 and groups[0] else "",
        tabulate(lines, headers=headers, tablefmt="pipe", disable_numparse=True),
        "\n".join(f"- {_escape(note)}" for note in all_notes(table, best="Bold", second="italic")),
    ]
    return "\n\n".join(part for part in parts if part)


def _escape(text: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", printable(text))
