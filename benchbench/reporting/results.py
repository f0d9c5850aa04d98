"""Results per method and workload: the layout that all tables of results share."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from pydantic import Field

from benchbench.reporting.metrics import Better, describe
from benchbench.reporting.table import ABSENT, Cell, Column, Figure, Mark, Table, TableRow
from benchbench.values import ColumnLabel, Method


class ResultColumn(ColumnLabel):
    """A column of results.

    Attributes:
        metrics: The metrics whose figures its cells show, in their order.
        better: Which way each of them is better on the workload, `None` where that is not known; empty: what is known
            of them in general.
        workload: Label of the workload in the suite, where it is one of its workloads.
        cells: Cell of each method by its label, with one figure per metric.
    """

    metrics: tuple[str, ...]
    better: tuple[Better | None, ...] = ()
    workload: str = ""
    cells: Mapping[str, Cell] = Field(default={})

    @property
    def directions(self) -> tuple[Better | None, ...]:
        """Direction in which each metric is better."""
        return self.better or tuple(describe(name).better for name in self.metrics)


def by_category(methods: Sequence[Method]) -> list[Method]:
    """Return the methods with each category's next to each other, otherwise in their order."""
    categories = list(dict.fromkeys(method.category for method in methods))
    return sorted(methods, key=lambda method: categories.index(method.category))


def method_table(
    name: str,
    title: str,
    methods: Sequence[Method],
    columns: Sequence[Column],
    cells: Mapping[str, Sequence[Cell]],
    notes: Sequence[str],
) -> Table:
    """Return a table with a row per method; methods without categories need no header column for them.

    Args:
        name: What kind of table it is.
        title: Its headline.
        methods: Its rows, those of a category next to each other.
        columns: Its columns.
        cells: The cells of each method, by its label.
        notes: What a reader must know.
    """
    headers = ("Category", "Method") if any(method.category for method in methods) else ("Method",)
    rows = tuple(
        TableRow(headers=(method.category, method.label)[-len(headers) :], cells=tuple(cells[method.label]))
        for method in methods
    )
    return Table(name=name, title=title, headers=headers, columns=tuple(columns), rows=rows, notes=tuple(notes))


def lay_out(
    name: str,
    title: str,
    methods: Sequence[Method],
    places: Sequence[ResultColumn],
    notes: Sequence[str] = (),
    unranked: frozenset[str] = frozenset(),
) -> Table:
    """Return the table of results: methods by category, workloads by group, the best of each column marked.

    Args:
        name: What kind of table it is.
        title: Its headline.
        methods: Its rows.
        places: Its columns.
        notes: What a reader must know; which best figures rest on fewer seeds than others, and why figures are missing,
            is added.
        unranked: Methods that are compared with no other one.
    """
    methods, groups = by_category(methods), list(dict.fromkeys(place.group for place in places))
    places = sorted(places, key=lambda place: groups.index(place.group))
    columns = [Column(label=place.label, group=place.group) for place in places]
    compared = [method.label for method in methods if method.label not in unranked]
    rows: dict[str, list[Cell]] = {method.label: [] for method in methods}
    for place in places:
        marked = _marked([place.cells[label] for label in compared], place.directions)
        column = {**place.cells, **dict(zip(compared, marked, strict=True))}
        for label, of_method in rows.items():
            of_method.append(column[label])
    reasons = {
        (method, place.full_label): cell.reason
        for method, of_method in rows.items()
        for place, cell in zip(places, of_method, strict=True)
        if cell.reason
    }
    of_places = {place.full_label: place.group for place in places}
    below = (*notes, *_thin_bests(columns, rows), *absence_notes(reasons, list(rows), of_places))
    return method_table(name, title, methods, columns, rows, below)


def absence_notes(
    reasons: Mapping[tuple[str, str], str], methods: Sequence[str], workloads: Mapping[str, str]
) -> list[str]:
    """Return why figures are missing, what is missing for the same reason together.

    Args:
        reasons: Reason by method and workload.
        methods: All methods of the table.
        workloads: All workloads (or columns) of the table, with the group of each, which stands for all in it.
    """
    lacking: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for (method, workload), reason in reasons.items():
        lacking[reason][method].append(workload)
    notes = []
    for reason, found in lacking.items():
        where = [
            method if len(places) == len(workloads) else f"{method} on {', '.join(_by_group(places, workloads))}"
            for method, places in found.items()
        ]
        everywhere = where == list(methods)
        notes.append(f"{ABSENT}: {reason}: {'all methods' if everywhere and len(methods) > 1 else '; '.join(where)}.")
    return notes


def _by_group(found: Sequence[str], groups: Mapping[str, str]) -> list[str]:
    """Return the labels with those of each group that are all there replaced by the group's."""
    whole = {
        group
        for group, size in Counter(groups.values()).items()
        if group and 1 < size == sum(groups[label] == group for label in found)
    }
    return list(dict.fromkeys(groups[label] if groups[label] in whole else label for label in found))


def _thin_bests(columns: Sequence[Column], rows: Mapping[str, Sequence[Cell]]) -> Iterator[str]:
    """Yield which best figures rest on fewer seeds than others of their column."""
    for i, column in enumerate(columns):
        most = max((figure.n or 0 for cells in rows.values() for figure in cells[i].figures), default=0)
        for method, cells in rows.items():
            best = [figure.n for figure in cells[i].figures if "best" in figure.marks and figure.n]
            if best and min(best) < most:
                seeds = "1 seed" if min(best) == 1 else f"{min(best)} seeds"
                yield f"The best of {column.full_label}, {method}, rests on {seeds}, others on up to {most}."


def _marked(cells: Sequence[Cell], directions: Sequence[Better | None]) -> list[Cell]:
    """Return the cells of a column, the best and second-best figures of each of its metrics marked."""
    marks = [
        _marks([cell.figures[i] if i < len(cell.figures) else None for cell in cells], better)
        for i, better in enumerate(directions)
    ]
    return [
        cell.marked(
            # What shows the same number as the best is not tied with it but equal.
            of_metric[row] if "best" in of_metric[row] else of_metric[row] + figure.marks
            for figure, of_metric in zip(cell.figures, marks, strict=False)
        )
        for row, cell in enumerate(cells)
    ]


def _marks(figures: Sequence[Figure | None], better: Better | None) -> list[tuple[Mark, ...]]:
    """Return the marks of each figure; what shows the same number counts as equal."""
    if better is None:
        return [()] * len(figures)
    shown = [
        math.nan if figure is None or figure.mean is None else float(figure.value.replace(",", ""))
        for figure in figures
    ]
    ranked = sorted({value for value in shown if math.isfinite(value)}, reverse=better == "higher")
    marks: dict[float, tuple[Mark, ...]] = dict(zip(ranked, (("best",), ("second",)), strict=False))
    return [marks.get(value, ()) for value in shown]
