"""Measured results next to published ones, cell by cell."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from benchbench.reporting.caveats import without_impossible
from benchbench.reporting.metrics import describe, figure
from benchbench.reporting.published import Publication, PublishedTable, cell
from benchbench.reporting.results import absence_notes
from benchbench.reporting.runs import (
    MEAN_AND_STD,
    Epoch,
    count_seeds,
    gather,
    titled,
)
from benchbench.reporting.table import BLANK, Cell, Column, Figure, Table, TableRow, number_cell
from benchbench.values import Row, Suite

AGREEMENT = 2.0
"""Standard errors of the difference within which two means are said to agree."""

_COLUMNS = ("measured", "published", "difference", "z", "verdict")


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
    tables: dict[str, PublishedTable] = {}
    matched: set[str] = set()
    unmatched: dict[str, None] = {}
    labels = {
        row.method: {row.method, *publication.methods.get(row.method, ())}
        for table in publication.tables
        for row in table.rows
    }
    methods = {
        name: next((method.label for method in suite.methods if method.label in known), None)
        for name, known in labels.items()
    }
    for table, position, number in _figures(publication):
        column = table.columns[position]
        metric = column.metrics[number]
        place = f"{column.full_label} {describe(metric).label}" if len(column.metrics) > 1 else column.full_label
        workload = next((w for w in suite.workloads if {w, suite.heading(w).full_label} & column.names), None)
        if workload is None:
            unmatched[place] = None
            continue
        tables[table.name] = table
        matched.add(workload)
        for row in table.rows:
            method = methods[row.method]
            here = runs[workload][method] if method else None
            values = here.values(metric, after) if here else []
            measured = figure(metric, values, scale=column.scale) if values else None
            if measured is None and here is not None:
                reasons[row.method, place] = here.absence(metric)
            figures = cell(row.cells[position], publication.n).figures
            cells = _cells(measured, figures[number] if figures else None, asked=here is not None)
            lines.append(TableRow(headers=(table.name, place, row.method), cells=cells))
    shown = list(dict.fromkeys(line.headers[2] for line in lines))
    lists = {
        "Workloads of the suite that are not published": [w for w in suite.workloads if w not in matched],
        "Methods of the suite that are not published": [
            method.label for method in suite.methods if method.label not in methods.values()
        ],
        "Published, not in the suite": list(unmatched),
    }
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
            *absence_notes(reasons, shown, dict.fromkeys((line.headers[1] for line in lines), "")),
            *(f"{what}: {', '.join(names)}." for what, names in lists.items() if names),
        ),
    )


def _figures(publication: Publication) -> Iterator[tuple[PublishedTable, int, int]]:
    """Yield each table, column and metric that results can hold; columns and metrics by their position."""
    for table in publication.tables:
        for position, column in enumerate(table.columns if table.rows else ()):
            for number, metric in enumerate(column.metrics):
                if not metric.startswith("cost/"):  # times belong to a device, and counts are no matter of statistics
                    yield table, position, number


def _cells(measured: Figure | None, published: Figure | None, *, asked: bool) -> tuple[Cell, ...]:
    difference = z = None
    if measured and published and measured.mean is not None and published.mean is not None:
        difference = measured.mean - published.mean
        if measured.std is not None and published.std is not None and measured.n and published.n:
            error = math.sqrt(measured.std**2 / measured.n + published.std**2 / published.n)
            z = difference / error if error else None
    return (
        Cell(figures=(measured,)) if measured else BLANK if not asked else Cell(reason="not run"),
        Cell(figures=(published,)) if published else BLANK,
        *(BLANK if value is None else number_cell(f"{value:+.2f}", value) for value in (difference, z)),
        Cell(remark=_verdict(measured, published, difference, z)),
    )


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
