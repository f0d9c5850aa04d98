"""Tables as comma-separated values: one line per figure, unrounded, for spreadsheets and scripts."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence

from benchbench.problems import printable
from benchbench.reporting.table import Table, TableRow

COLUMNS = (
    "table", "category", "row", "group", "column", "figure", "value", "spread", "mean", "std", "n", "marks", "remark",
    "reason",
)  # fmt: skip
"""Columns of a line. `figure` counts the figures of a cell from 1; `value` and `spread` are as shown, `mean` and `std`
unrounded in the same unit."""


_FORMULA = re.compile(r"'*[=+\-@\t\r＝＋－＠]")
_NUMBER = re.compile(r"[+-]?(\d[\d_,.]*(e[+-]?\d+)?|inf|nan)( ?%)?", re.IGNORECASE)


def spreadsheet_safe(text: str) -> str:
    """Return a text that a spreadsheet does not take for a formula: with a quote before it, unless it is a number."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def as_written(cell: str) -> str:
    """Return the text that `spreadsheet_safe` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def to_csv(tables: Sequence[Table]) -> str:
    """Return all figures of the tables, a line each, and a line for each cell without one; without a line end."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for table in tables:
        for row in table.rows:
            writer.writerows([*map(spreadsheet_safe, line)] for line in _lines(table, row))
    return text.getvalue().rstrip("\n")


def _lines(table: Table, row: TableRow) -> Iterator[list[str]]:
    category = printable(" / ".join(row.headers[:-1]))
    for column, cell in zip(table.columns, row.cells, strict=True):
        start = [table.name, category, *map(printable, (row.headers[-1], column.group, column.label))]
        words = [printable(cell.remark), printable(cell.reason)]
        for position, figure in enumerate(cell.figures, start=1):
            numbers = ["" if number is None else repr(number) for number in (figure.mean, figure.std, figure.n)]
            shown = [printable(figure.value), figure.spread, *numbers, " ".join(figure.marks)]
            yield [*start, str(position), *shown, *words]
        if not cell.figures:
            yield [*start, *[""] * 7, *words]
