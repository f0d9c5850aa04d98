"""Measured results beside published ones, cell by cell."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from benchbench.reporting.caveats import without_impossible
from benchbench.reporting.metrics import describe, figure
from benchbench.reporting.published import Publication, PublishedColumn, PublishedRow, PublishedTable, cell
from benchbench.reporting.results import absence_notes
from benchbench.reporting.runs import (
    MEAN_AND_STD,
    Epoch,
    count_seeds,
    gather,
    titled,
)
from benchbench.reporting.table import BLANK, Cell, Column, Figure, Table, TableRow, number_cell
from benchbench.values import Frozen, Row, Suite

AGREEMENT = 2.0
"""Standard errors of the difference within which two means are said to agree."""

_COLUMNS = ("measured", "published", "difference", "z", "verdict")


class _Pair(Frozen):
    """A published figure, and the workload and method of the suite that it belongs to, where there are any."""

    table: PublishedTable
    column: PublishedColumn
    metric: str
    row: PublishedRow
    published: Figure | None
    workload: str | None
    method: str | None


def comparison(suite: Suite, rows: Sequence[Row], publication: Publication, *, best_epoch: bool = False) -> Table:
    """Return measured and published figures, their difference, and a verdict in words.

    With means m and p, sample standard deviations s and t, and n and k runs, z = (m - p) / sqrt(s²/n + t²/k): the
    difference in standard errors. No p-value is given: with three runs, the errors themselves are not well known.

    Args:
        suite: The suite.
        rows: What is known of its runs.
        publication: What to compare with.
        best_epoch: Whether results after the best epoch count, instead of those after the final one.
    """
    rows, left_out = without_impossible(rows)
    runs = gather(suite, rows)
    after: Epoch = "best" if best_epoch else "final"
    lines: list[TableRow] = []
    reasons: dict[tuple[str, str], str] = {}
    pairs = list(_pairs(suite, publication))
    for pair in pairs:
        if pair.workload is None:
            continue
        here = runs[pair.workload][pair.method] if pair.method else None
        values = here.values(pair.metric, after) if here else []
        measured = figure(pair.metric, values, scale=pair.column.scale) if values else None
        if measured is None and here is not None:
            reasons[pair.row.method, _place(pair)] = here.absence(pair.metric)
        lines.append(_line(pair, measured, asked=here is not None))
    methods = list(dict.fromkeys(line.headers[2] for line in lines))
    tables = {pair.table.name: pair.table for pair in pairs if pair.workload is not None}
    return Table(
        name="comparison",
        title=titled(suite, f"Measured after the {after} epoch, and published in {publication.name}"),
        headers=("Table", "Workload", "Method"),
        columns=tuple(Column(label=label) for label in _COLUMNS),
        rows=tuple(lines),
        notes=(
            f"Published: {publication.source.rstrip('.')}. {publication.n_note}".strip(),
            f"{MEAN_AND_STD}; measured: {count_seeds(suite)}; published: n = {publication.n}.",
            "z: measured minus published over the standard error of the difference, sqrt(s²/n + t²/k) with standard "
            f"deviations s and t of n and k runs; within {AGREEMENT:g} counts as agreement.",
            f"Protocol of the measured runs: {suite.protocol}.",
            *left_out,
            *(f"{name}: {note}" for name, table in tables.items() for note in table.notes),
            *absence_notes(reasons, methods, dict.fromkeys((line.headers[1] for line in lines), "")),
            *_unmatched(suite, publication, pairs),
        ),
    )


def _pairs(suite: Suite, publication: Publication) -> Iterator[_Pair]:
    """Yield every published figure of a metric that results can hold."""
    for table in publication.tables:
        for position, column in enumerate(table.columns):
            places = ((workload, {workload, suite.heading(workload).full_label}) for workload in suite.workloads)
            workload = next((workload for workload, labels in places if labels & column.names), None)
            for number, metric in enumerate(column.metrics):
                if metric.startswith("cost/"):
                    continue  # times belong to a device, and counts are no matter of statistics
                for row in table.rows:
                    figures = cell(row.cells[position], publication.n).figures
                    yield _Pair(
                        table=table,
                        column=column,
                        metric=metric,
                        row=row,
                        published=figures[number] if figures else None,
                        workload=workload,
                        method=_method(suite, publication, row.method),
                    )


def _method(suite: Suite, publication: Publication, name: str) -> str | None:
    labels = {name, *publication.methods.get(name, ())}
    return next((method.label for method in suite.methods if method.label in labels), None)


def _line(pair: _Pair, measured: Figure | None, *, asked: bool) -> TableRow:
    published, difference, z = pair.published, None, None
    if measured and published and measured.mean is not None and published.mean is not None:
        difference = measured.mean - published.mean
        if measured.std is not None and published.std is not None and measured.n and published.n:
            error = math.sqrt(measured.std**2 / measured.n + published.std**2 / published.n)
            z = difference / error if error else None
    cells = (
        _cell(measured) if measured or not asked else Cell(reason="not run"),
        _cell(published),
        *(BLANK if value is None else number_cell(f"{value:+.2f}", value) for value in (difference, z)),
        Cell(remark=_verdict(measured, published, difference, z)),
    )
    return TableRow(headers=(pair.table.name, _place(pair), pair.row.method), cells=cells)


def _place(pair: _Pair) -> str:
    metric = f" {describe(pair.metric).label}" if len(pair.column.metrics) > 1 else ""
    return f"{pair.column.full_label}{metric}"


def _verdict(measured: Figure | None, published: Figure | None, difference: float | None, z: float | None) -> str:
    if published is None:
        return "not published"
    if measured is None:
        return "not run"
    if z is None or difference is None or not math.isfinite(z):
        return "no standard error to judge by"
    if abs(z) <= AGREEMENT:
        return f"agrees within {AGREEMENT:g} standard errors"
    return "above" if difference > 0 else "below"


def _cell(shown: Figure | None) -> Cell:
    return Cell(figures=(shown,)) if shown else BLANK


def _unmatched(suite: Suite, publication: Publication, pairs: Sequence[_Pair]) -> list[str]:
    """Return what one side has and the other has not."""
    rows = {row.method for table in publication.tables for row in table.rows}
    known_methods = {_method(suite, publication, name) for name in rows}
    matched = {pair.workload for pair in pairs}
    places = dict.fromkeys(_place(pair) for pair in pairs if pair.workload is None)
    lists = {
        "Workloads of the suite that are not published": [w for w in suite.workloads if w not in matched],
        "Methods of the suite that are not published": [m.label for m in suite.methods if m.label not in known_methods],
        "Published, not in the suite": list(places),
    }
    return [f"{what}: {', '.join(names)}." for what, names in lists.items() if names]
