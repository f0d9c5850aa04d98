"""Accuracy per method and workload, in the shape of the paper's Table 1."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from benchbench.reporting.runs import Runs, count_seeds, gather, methods_by_category, row_headers, row_names
from benchbench.reporting.table import Cell, Column, Figure, Table, TableRow
from benchbench.stats import summarize
from benchbench.values import Metrics, Row, RunResult, Suite

_METRIC = "test/accuracy"


def accuracy_table(suite: Suite, rows: Sequence[Row]) -> Table:
    """Return test accuracies after the final epoch."""
    title = f"Test accuracy (%) after the final epoch – {suite.title}"
    return _table(suite, rows, "accuracy", title, lambda result: result.final)


def best_epoch_table(suite: Suite, rows: Sequence[Row]) -> Table:
    """Return test accuracies after the epoch that did best on the validation split."""
    title = f"Test accuracy (%) after the best epoch – {suite.title}"
    table = _table(suite, rows, "best-epoch accuracy", title, lambda result: result.best)
    results = [result for runs in gather(suite, rows).values() for result in runs.results]
    metrics = sorted({result.selection_metric for result in results} - {""})
    chosen = f"The best epoch of a run is chosen by {' or '.join(metrics) or 'the validation split'}."
    return table.model_copy(update={"notes": (*table.notes, chosen)})


def _table(suite: Suite, rows: Sequence[Row], name: str, title: str, metrics: Callable[[RunResult], Metrics]) -> Table:
    methods = methods_by_category(suite)
    runs = gather(suite, rows)
    columns = [
        _mark_best([_cell(runs[workload, method.label], metrics, len(suite.seeds)) for method in methods])
        for workload in suite.workloads
    ]
    return Table(
        name=name,
        title=title,
        headers=row_headers(suite),
        columns=tuple(Column(label=workload) for workload in suite.workloads),
        rows=tuple(
            TableRow(headers=row_names(suite, method), cells=cells)
            for method, cells in zip(methods, zip(*columns, strict=True), strict=True)
        ),
        notes=_notes(suite, [method.label for method in methods], columns),
    )


def _cell(runs: Runs, metrics: Callable[[RunResult], Metrics], usual_n: int) -> Cell:
    values = [metrics(run)[_METRIC] for run in runs.finished if _METRIC in metrics(run)]
    if not values:
        return Cell(remark=runs.absence(_METRIC))
    return Cell(figure=_percent(values), remark=runs.remark(len(values), usual_n, _METRIC))


def _percent(fractions: Sequence[float]) -> Figure:
    """Return mean and sample standard deviation in percent, with two decimals as in the paper."""
    summary = summarize(100 * fraction for fraction in fractions)
    spread = "" if summary.std is None or not math.isfinite(summary.mean) else f"{summary.std:.2f}"
    return Figure(value=f"{summary.mean:.2f}", spread=spread, mean=summary.mean, std=summary.std, n=summary.n)


def _mark_best(cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells, those with the highest mean marked; what looks equal in the table counts as equal."""
    shown = [float(cell.figure.value) if cell.figure else math.nan for cell in cells]
    best = max(filter(math.isfinite, shown), default=None)
    return [
        cell.model_copy(update={"figure": cell.figure.model_copy(update={"marks": ("best",)})})
        if cell.figure and value == best
        else cell
        for cell, value in zip(cells, shown, strict=True)
    ]


def _notes(suite: Suite, methods: Sequence[str], columns: Sequence[Sequence[Cell]]) -> tuple[str, ...]:
    usual_n = len(suite.seeds)
    numbers = {cell.figure.n for cells in columns for cell in cells if cell.figure}
    if not numbers:
        return ()
    what = "Mean ± sample standard deviation (ddof = 1)" if usual_n > 1 else "One run each"
    seeds = count_seeds(suite) + ("" if numbers == {usual_n} else " unless a cell says otherwise")
    return (f"{what}; {seeds}.", *_thin_bests(suite, methods, columns))


def _thin_bests(suite: Suite, methods: Sequence[str], columns: Sequence[Sequence[Cell]]) -> list[str]:
    usual_n = len(suite.seeds)
    return [
        f"The best of {workload}, {method}, rests on {cell.figure.n} of {usual_n} seeds."
        for workload, cells in zip(suite.workloads, columns, strict=True)
        for method, cell in zip(methods, cells, strict=True)
        if cell.figure and cell.figure.marks and (cell.figure.n or 0) < usual_n
    ]
