"""Metrics and diagnostics over the course of training."""

from __future__ import annotations

from collections.abc import Callable

from benchbench.figures.figure_data import BAND, CROSSES, Curve, FigureData
from benchbench.figures.labels import CURRENCIES, axis, ends, scaled
from benchbench.figures.values import Axis, LineFigure, Panel
from benchbench.reporting.currencies import position
from benchbench.tracking.histories import History

_MOST_PANELS = 6


def curves(data: FigureData) -> list[LineFigure]:
    """Return metrics against what training is counted in and, where there are any, diagnostics against steps."""
    histories = data.all_histories()
    metrics = {name for history in histories for record in history.epochs for name in record.metrics}
    diagnostics = dict.fromkeys(
        name for history in histories for record in history.diagnostics for name in record.values
    )
    if data.metrics:
        wanted = [name for name in data.metrics if name in metrics]
        beside = [name for name in data.metrics if name in diagnostics and name not in metrics]
    else:
        # The training loss and what chose the best epoch.
        chosen = (run.selection_metric for runs in data.runs.values() for run in runs.results)
        wanted = [name for name in dict.fromkeys(["train/loss", *chosen]) if name in metrics]
        beside = [name for name in diagnostics if "/" not in name][:_MOST_PANELS]
    currency = data.currency or "epochs"
    x, steps = Axis(label=CURRENCIES[currency]), Axis(label="Optimizer steps")

    def metric_points(history: History, name: str) -> Curve:
        shown, found = scaled(name), (record for record in history.epochs if name in record.metrics)
        return {record.epoch: (position(record, currency), shown(record.metrics[name])) for record in found}

    def diagnostic_points(history: History, name: str) -> Curve:
        found = (record for record in history.diagnostics if name in record.values)
        return {record.step: (float(record.step), record.values[name]) for record in found}

    training = tuple(_panel(data, metric_points, x, name) for name in wanted)
    diagnosed = tuple(_panel(data, diagnostic_points, steps, name) for name in beside)
    about = (("Training", "", training), ("Diagnostics", "diagnostics", diagnosed))
    return [_figure(data, what, name, panels) for what, name, panels in about if panels]


def _figure(data: FigureData, what: str, name: str, panels: tuple[Panel, ...]) -> LineFigure:
    shown = {series.label for panel in panels for series in panel.series}
    crosses = any(series.traces for panel in panels for series in panel.series)
    return LineFigure(
        kind="curves",
        name=name,
        workload=data.workload,
        title=data.title(what),
        panels=panels,
        notes=data.notes(BAND, CROSSES if crosses else "", shown=shown),
    )


def _panel(data: FigureData, points: Callable[[History, str], Curve], x: Axis, name: str) -> Panel:
    series = data.series(lambda history: points(history, name))
    return Panel(x=x, y=axis(name, ends(series)), series=series)
