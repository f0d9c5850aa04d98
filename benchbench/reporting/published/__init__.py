"""Published tables that ship as data: read, and rendered by the same layout as measured results."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, ValidationError

from benchbench.problems import BadInputError, Problem, nearest_name
from benchbench.reporting.results import ResultColumn, lay_out
from benchbench.reporting.table import ABSENT, FIGURE_GAP, Cell, Figure, Table
from benchbench.suite import yaml_source
from benchbench.values import ColumnLabel, Frozen, Method

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?(e[+-]?\d+)?")


class PublishedColumn(ColumnLabel):
    """A column of a published table.

    Attributes:
        metrics: What its cells show: one metric per figure.
        scale: What a measured value (after the metric's own scale) is multiplied with to be in the column's unit.
        aliases: Other names of its workload in suites.
    """

    metrics: tuple[str, ...]
    scale: float = 1.0
    aliases: tuple[str, ...] = ()

    @property
    def names(self) -> set[str]:
        """All names that a workload of a suite can have to be this one."""
        if not self.group:
            return {self.label, *self.aliases}
        return {self.full_label, f"{self.group} {self.label}", *self.aliases}


class PublishedRow(Frozen):
    """A method of a published table: its cells as printed."""

    method: str
    category: str = ""
    cells: tuple[str, ...]


class PublishedTable(Frozen):
    """A published table, cell by cell as printed."""

    name: str
    title: str
    columns: tuple[PublishedColumn, ...]
    rows: tuple[PublishedRow, ...]
    notes: tuple[str, ...] = ()


class Publication(Frozen):
    """Tables that were published together.

    Attributes:
        name: What it goes by on the command line.
        title: Its title.
        source: Where the numbers were read.
        n: Number of runs behind a figure.
        n_note: How that number is known.
        methods: Other labels of its methods in suites.
        tables: Its tables.
    """

    name: str
    title: str
    source: str
    n: int
    n_note: str = ""
    methods: Mapping[str, tuple[str, ...]] = Field(default={})
    tables: tuple[PublishedTable, ...]


def names() -> list[str]:
    """Return the names of the publications that ship with the package."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.yaml"))


def load(name: str) -> Publication:
    """Return a publication by its name, or from a file that ends in `.yaml`.

    Raises:
        BadInputError: There is none of that name, or the file is not one.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else Path(__file__).parent / f"{name}.yaml"
    if path.parent == Path(__file__).parent and name not in names():
        message = f"no such publication; allowed: a path to a .yaml file, or one of {', '.join(names())}"
        raise BadInputError([Problem(message, value=name, nearest=nearest_name(name, names()))])
    document = yaml_source.read(path)
    try:
        publication = Publication.model_validate(document.data)
    except ValidationError as error:
        raise BadInputError([document.problem(tuple(each["loc"]), each["msg"]) for each in error.errors()]) from error
    uneven = [
        Problem(
            f"{len(row.cells)} cells for {len(table.columns)} columns",
            file=str(path),
            field=f"{table.name}.{row.method}",
        )
        for table in publication.tables
        for row in table.rows
        if len(row.cells) != len(table.columns)
    ]
    if uneven:
        raise BadInputError(uneven)
    return publication


def tables(publication: Publication) -> list[Table]:
    """Return the tables of a publication, laid out as measured results are."""
    made = []
    for table in publication.tables:
        columns = [
            ResultColumn(
                label=column.label,
                group=column.group,
                metrics=column.metrics,
                cells={row.method: cell(row.cells[position], publication.n) for row in table.rows},
            )
            for position, column in enumerate(table.columns)
        ]
        methods = [Method(label=row.method, category=row.category) for row in table.rows]
        notes = (*table.notes, f"Published: {publication.source}.")
        made.append(lay_out(table.name, table.title, methods, columns, notes))
    return made


def cell(text: str, n: int) -> Cell:
    """Return a printed cell, such as `92.03 ± 0.32`, `84.56 ± 0.25 / 88.99 ± 0.11`, `0.1 HVP` or `*`."""
    if text == ABSENT:
        return Cell(reason="not in the publication")
    return Cell(figures=tuple(_figure(part, n) for part in text.split(FIGURE_GAP)))


def _figure(text: str, n: int) -> Figure:
    value, _, spread = text.partition(" ± ")
    number = _NUMBER.match(value)
    return Figure(
        value=value,
        spread=spread,
        mean=float(number[0]) if number else None,
        std=float(spread) if spread else None,
        n=n,
    )
