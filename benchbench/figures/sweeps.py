"""Results against swept hyperparameters, one at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from pydantic import JsonValue

from benchbench.figures.averages import BARS, spread
from benchbench.figures.figure_data import FigureData, values_of
from benchbench.figures.labels import axis, scaled, spans_decades
from benchbench.figures.values import Axis, LineFigure, Panel, Series
from benchbench.reporting.currencies import GC_PAPER, spent
from benchbench.reporting.runs import Runs
from benchbench.values import Method, RunResult, canonical_json

_LOG_FROM = 0.9
"""Decades from which swept values stand on a logarithmic axis."""


class Point(NamedTuple):
    """A row of the suite: one combination of what a method sweeps."""

    style: int
    method: Method
    runs: Runs


def sweeps(data: FigureData) -> list[LineFigure]:
    """Return metric and cost against each swept number (or word, where nothing else is swept), a line per method.

    What else a method sweeps gives it several lines.
    """
    name = data.final_metric()
    swept = points(data)
    names = list(dict.fromkeys(parameter for point in swept for parameter in point.method.swept))
    numeric = [each for each in names if is_numeric(choices_of(swept, each))]
    if name is None or not any(point.runs.finished for point in swept):
        return []
    shown = numeric or names
    return [_sweep(data, name, parameter, swept, alone=len(shown) == 1) for parameter in shown]


def points(data: FigureData) -> list[Point]:
    """Return the combinations of all methods that sweep something."""
    return [Point(*each) for each in data.styles() if each[1].swept]


def _sweep(data: FigureData, name: str, parameter: str, swept: Sequence[Point], *, alone: bool) -> LineFigure:
    here = [point for point in swept if parameter in point.method.swept]
    choices = choices_of(here, parameter)
    places = _places(choices)
    lines: dict[str, list[Point]] = defaultdict(list)
    for point in here:
        lines[rest(point.method, (parameter,))].append(point)
    shown = scaled(name)

    def series(of: Callable[[RunResult], float | None]) -> tuple[Series, ...]:
        placed = {
            label: {places[canonical_json(point.method.swept[parameter])]: point for point in group}
            for label, group in lines.items()
        }
        return tuple(_series(style, label, placed[label], of) for style, label in enumerate(placed))

    quality = series(lambda run: shown(run.final[name]) if name in run.final else None)
    cost, unit = _cost(data)
    costs = series(cost)
    x = _axis(parameter, choices, places)
    return LineFigure(
        kind="sweep",
        name="" if alone else parameter,
        workload=data.workload,
        title=data.title(f"Sweep of {parameter}"),
        panels=(
            Panel(x=x, y=axis(name, _ends(quality)), series=quality, form="bars"),
            Panel(
                x=x,
                y=Axis(label=unit, scale="log" if spans_decades(_ends(costs), 1) else "linear"),
                series=costs,
                form="bars",
            ),
        ),
        notes=_sweep_notes(data, here, quality, name),
    )


def _series(style: int, label: str, placed: Mapping[float, Point], of: Callable[[RunResult], float | None]) -> Series:
    found = [(place, spread(values_of(placed[place].runs, of))) for place in sorted(placed)]
    known = [(place, values) for place, values in found if values is not None]
    return Series(
        style=style,  # a line stands for several rows of the suite, so it has a look of its own
        label=label,
        x=tuple(place for place, _ in known),
        y=tuple(values.mean for _, values in known),
        low=tuple(values.low for _, values in known),
        high=tuple(values.high for _, values in known),
        n=tuple(values.n for _, values in known),
        lost=tuple(place for place, values in found if values is None and placed[place].runs.results),
    )


def _sweep_notes(data: FigureData, here: Sequence[Point], lines: Sequence[Series], name: str) -> tuple[str, ...]:
    notes = [BARS] if len(data.suite.seeds) > 1 else []
    if any(each.lost for each in lines):
        notes.append("×: no run finished.")
    remarks = [
        f"{point.method.label} {remark}" if behind else f"{point.method.label}: {point.runs.absence(name)}"
        for point in here
        for behind in [sum(name in run.final for run in point.runs.finished)]
        if (remark := point.runs.remark(behind, name)) or not behind
    ]
    return (*notes, *([f"{'; '.join(remarks)}."] if remarks else []))


def _cost(data: FigureData) -> tuple[Callable[[RunResult], float | None], str]:
    if data.currency == "seconds":
        return lambda run: run.cost.steady_seconds / run.epochs if run.epochs else None, "Time per epoch (s)"
    if data.currency == "gradients":
        return lambda run: run.cost.gradients / run.cost.steps if run.cost.steps else None, "Gradients per step"
    return lambda run: spent(run.cost, "gc") / run.cost.steps if run.cost.steps else None, f"Cost per step, {GC_PAPER}"


def text(value: JsonValue) -> str:
    """Return a swept value as the labels of methods show it."""
    return value if isinstance(value, str) else canonical_json(value)


def choices_of(points: Sequence[Point], parameter: str) -> list[JsonValue]:
    """Return the values that a parameter takes, numbers by size, others in the order of the suite."""
    found = {
        canonical_json(point.method.swept[parameter]): point.method.swept[parameter]
        for point in points
        if parameter in point.method.swept
    }
    return sorted(found.values(), key=_as_number) if is_numeric(list(found.values())) else list(found.values())


def is_numeric(values: Sequence[JsonValue]) -> bool:
    """Return whether all values are numbers."""
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _as_number(value: JsonValue) -> float:
    assert isinstance(value, int | float)
    return float(value)


def _places(choices: Sequence[JsonValue]) -> dict[str, float]:
    numeric = is_numeric(choices)
    return {canonical_json(value): _as_number(value) if numeric else float(i) for i, value in enumerate(choices)}


def _axis(parameter: str, choices: Sequence[JsonValue], places: Mapping[str, float]) -> Axis:
    """Return the axis of a swept parameter, with a tick for each of its values."""
    scale = "log" if is_numeric(choices) and spans_decades(places.values(), _LOG_FROM) else "linear"
    ticks = tuple((places[canonical_json(value)], text(value)) for value in choices)
    return Axis.model_validate({"label": parameter, "scale": scale, "ticks": ticks})


def rest(method: Method, without: Sequence[str]) -> str:
    """Return the method's label with what it sweeps beside some parameters."""
    rest = ", ".join(f"{name}={text(value)}" for name, value in method.swept.items() if name not in without)
    return f"{method.base} ({rest})" if rest else method.base


def _ends(series: Sequence[Series]) -> list[float]:
    return [value for each in series for value in (*each.low, *each.high)]
