"""The table as a value: what a report says, before any format has its way with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Literal

from benchbench.values import ColumnLabel, Frozen

Mark = Literal["best", "second", "tied"]
"""Marks of a figure; how they look is up to the format. `tied`: not separated from the best."""

TIED = "†"
"""Stands behind a figure that a test does not separate from the best of its column."""

FIGURE_GAP = " / "
"""Stands between the figures of a cell."""

NOTHING = "–"
"""Stands where there is nothing to show."""

ABSENT = "*"
"""Stands where there should be a figure and is none: the method did not run there, or came to no result."""


class Figure(Frozen):
    """A number as it is shown, and the numbers behind it.

    Attributes:
        value: The number as text.
        spread: Its standard deviation as text, or empty.
        mean: The unrounded number, in the unit that is shown.
        std: Its unrounded sample standard deviation, in the same unit.
        n: Number of runs it rests on.
        marks: What it is singled out for.
    """

    value: str
    spread: str = ""
    mean: float | None = None
    std: float | None = None
    n: int | None = None
    marks: tuple[Mark, ...] = ()

    @property
    def text(self) -> str:
        """The number with its spread."""
        return f"{self.value} ± {self.spread}" if self.spread else self.value

    @property
    def sign(self) -> str:
        """Letters and signs behind the number, in every format."""
        return TIED if "tied" in self.marks else ""


class Cell(Frozen):
    """A cell of a table: figures, words, or figures and words.

    Attributes:
        figures: The numbers: one per metric of the column.
        remark: What has to be said about them, or instead of them.
        reason: Why there is no figure; formats show `ABSENT` for it, and a note of the table tells it.
    """

    figures: tuple[Figure, ...] = ()
    remark: str = ""
    reason: str = ""

    @property
    def words(self) -> str:
        """Words in the cell next to its figures."""
        return ABSENT if self.reason else self.remark

    @property
    def text(self) -> str:
        """All of the cell, without marks."""
        return self.written(lambda figure: figure.text, str)

    def written(self, figure: Callable[[Figure], str], words: Callable[[str], str]) -> str:
        """Return the cell in a format.

        Args:
            figure: Returns a figure in it.
            words: Returns words in it.
        """
        return f"{FIGURE_GAP.join(map(figure, self.figures))} {words(self.words)}".strip()

    def marked(self, marks: Iterable[tuple[Mark, ...]]) -> Cell:
        """Return the cell with the marks of each of its figures."""
        shown = zip(self.figures, marks, strict=False)
        figures = tuple(figure.model_copy(update={"marks": of_figure}) for figure, of_figure in shown)
        return self.model_copy(update={"figures": figures})


BLANK = Cell(remark=NOTHING)
"""A cell that has nothing to show."""


def number_cell(text: str, value: float, *, std: float | None = None, n: int | None = None, remark: str = "") -> Cell:
    """Return a cell with one number.

    Args:
        text: The number as it is shown.
        value: The number itself, in the unit that is shown.
        std: Its sample standard deviation, which is not shown.
        n: Number of runs it rests on.
        remark: What has to be said about it.
    """
    return Cell(figures=(Figure(value=text, mean=value, std=std, n=n),), remark=remark)


def amount_text(amount: float) -> str:
    """Return an amount, such as a cost, as text: whole from a hundred on, else in three significant digits."""
    return f"{amount:,.0f}" if amount >= 100 else f"{amount:.3g}"


class Column(ColumnLabel):
    """A column of cells."""


class TableRow(Frozen):
    """A row of cells and what it is called.

    Attributes:
        headers: Its names, one per header column; renderers show what all but the last one repeat only once.
        cells: One cell per column.
    """

    headers: tuple[str, ...]
    cells: tuple[Cell, ...]


class Table(Frozen):
    """A table that any format can be rendered from. All its texts are raw: escaping belongs to the format.

    Attributes:
        name: What kind of table it is.
        title: Its headline.
        headers: Names of the columns that name the rows.
        columns: The other columns.
        rows: The rows, those that belong together next to each other.
        notes: What a reader must know, one sentence or two each.
    """

    name: str
    title: str
    headers: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]
    notes: tuple[str, ...] = ()

    @property
    def blocks(self) -> list[list[TableRow]]:
        """The rows in blocks: a block ends where a header other than the last one changes."""
        return [list(rows) for _, rows in groupby(self.rows, key=lambda row: row.headers[:-1])]

    @property
    def column_groups(self) -> list[tuple[str, int]]:
        """Each header above the columns (or an empty text) and how many columns it spans."""
        groups = groupby(self.columns, key=lambda column: column.group)
        return [(group, len(list(columns))) for group, columns in groups]

    def select(self, positions: Sequence[int]) -> Table:
        """Return this table with only the columns at `positions`."""
        columns = tuple(self.columns[i] for i in positions)
        rows = tuple(row.model_copy(update={"cells": tuple(row.cells[i] for i in positions)}) for row in self.rows)
        return self.model_copy(update={"columns": columns, "rows": rows})


def all_notes(table: Table, **looks: str) -> list[str]:
    """Return the notes of a table, before them what its marks mean, where there are any.

    Args:
        table: The table.
        **looks: What each mark looks like in the format, such as `best="Bold"`.
    """
    meanings = {
        "best": "best of its column",
        "second": "second best",
        "tied": "no significant difference from the best",
    }
    looks = {**looks, "tied": TIED}
    found = {mark for row in table.rows for cell in row.cells for figure in cell.figures for mark in figure.marks}
    legend = [f"{looks[mark]}: {meaning}" for mark, meaning in meanings.items() if mark in found]
    return [*([f"{'; '.join(legend)}."] if legend else []), *table.notes]


def shown_headers(block: Sequence[TableRow]) -> list[tuple[str, ...]]:
    """Return the row headers of a block with the shared ones left blank after its first row."""
    return [row.headers if row is block[0] else (*[""] * (len(row.headers) - 1), row.headers[-1]) for row in block]
