"""Metrics and diagnostics over the course of training."""

from __future__ import annotations

from collections.abc import Callable

from benchbench.figures.averages import BAND, CROSSES, Curve
from benchbench.figures.labels import CURRENCIES, axis, scaled
from benchbench.figures.material import Material, lacking
from benchbench.figures.values import Axis, LineFigure, Panel
from benchbench.reporting.currencies import position
from benchbench.tracking.histories import History

_STEPS = "Optimizer steps"
_MOST_PANELS = 6


def curves(material: Material) -> list[LineFigure]:
    """Return metrics against what training is counted in and, where there are any, diagnostics against steps."""
    histories = material.all_histories()
    metrics = {name for history in histories for record in history.epochs for name in record.metrics}
    diagnostics = dict.fromkeys(
        name for history in histories for record in history.diagnostics for name in record.values
    )
    if material.metrics:
        wanted = [name for name in material.metrics if name in metrics]
        beside = [name for name in material.metrics if name in diagnostics and name not in metrics]
    else:
        wanted = [name for name in _usual(material) if name in metrics]
        beside = [name for name in diagnostics if "/" not in name][:_MOST_PANELS]
    panels = [_metric_panel(material, name) for name in wanted], [_diagnostic_panel(material, name) for name in beside]
    about = (("Training", "", panels[0]), ("Diagnostics", "diagnostics", panels[1]))
    return [_figure(material, what, name, tuple(made)) for what, name, made in about if made]


def _usual(material: Material) -> list[str]:
    """Return the training loss and what chose the best epoch."""
    chosen = [run.selection_metric for runs in material.runs.values() for run in runs.results if run.selection_metric]
    return list(dict.fromkeys(["train/loss", *chosen]))


def _figure(material: Material, what: str, name: str, panels: tuple[Panel, ...]) -> LineFigure:
    shown = {series.label for panel in panels for series in panel.series}
    crosses = any(series.traces for panel in panels for series in panel.series)
    several = len(material.suite.seeds) > 1
    return LineFigure(
        kind="curves",
        name=name,
        workload=material.workload,
        title=material.title(what),
        panels=panels,
        notes=(*([BAND] if several else []), *([CROSSES] if crosses else []), *lacking(material, shown)),
    )


def _metric_panel(material: Material, name: str) -> Panel:
    currency, shown = material.currency or "epochs", scaled(name)

    def points(history: History) -> Curve:
        return {
            record.epoch: (position(record, currency), shown(record.metrics[name]))
            for record in history.epochs
            if name in record.metrics
        }

    return _panel(material, points, Axis(label=CURRENCIES[currency]), name)


def _diagnostic_panel(material: Material, name: str) -> Panel:
    def points(history: History) -> Curve:
        return {
            record.step: (float(record.step), record.values[name])
            for record in history.diagnostics
            if name in record.values
        }

    return _panel(material, points, Axis(label=_STEPS), name)


def _panel(material: Material, points: Callable[[History], Curve], x: Axis, name: str) -> Panel:
    series = material.series(points)
    return Panel(x=x, y=axis(name, [value for each in series for value in (*each.low, *each.high)]), series=series)
