"""Results against swept hyperparameters: one at a time as lines, two at a time as maps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from pydantic import JsonValue

from benchbench.figures.figure_data import BARS, FigureData, spread
from benchbench.figures.labels import axis, ends, metric, number, scale, scaled
from benchbench.figures.values import Axis, LineFigure, MapFigure, Panel, Series, Tile
from benchbench.reporting.currencies import GC_PAPER, spent
from benchbench.reporting.runs import Runs
from benchbench.values import Method, RunResult, canonical_json

LOG_FROM = 0.9
"""Decades from which swept values stand on a logarithmic axis."""

_DIVERGED = "div."


class _Point(NamedTuple):
    """A row of the suite: one combination of what a method sweeps."""

    method: Method
    runs: Runs


def sweeps(data: FigureData) -> list[LineFigure]:
    """Return metric and cost against each swept number (or word, where nothing else is swept), a line per method.

    What else a method sweeps gives it several lines.
    """
    name = data.final_metric()
    swept = _points(data)
    names = list(dict.fromkeys(parameter for point in swept for parameter in point.method.swept))
    numeric = [each for each in names if is_numeric(_choices(swept, each))]
    if name is None or not any(point.runs.finished for point in swept):
        return []
    shown = numeric or names
    return [_sweep(data, name, parameter, swept, alone=len(shown) == 1) for parameter in shown]


def heatmaps(data: FigureData) -> list[MapFigure]:
    """Return a metric over two swept hyperparameters, a tile for each method and each choice of what else it sweeps."""
    name = data.final_metric()
    groups: dict[tuple[str, str], dict[str, list[_Point]]] = defaultdict(lambda: defaultdict(list))
    for point in _points(data):
        numeric = [each for each, value in point.method.swept.items() if is_numeric([value])]
        ordered = [*(each for each in point.method.swept if each not in numeric), *numeric]
        if len(ordered) >= 2:
            second, first = ordered[-2:]
            groups[first, second][_rest(point.method, (first, second))].append(point)
    if name is None:
        return []
    made = [_heatmap(data, name, pair, tiles, alone=len(groups) == 1) for pair, tiles in groups.items()]
    return [figure for figure in made if figure is not None]


def _points(data: FigureData) -> list[_Point]:
    """Return the combinations of all methods that sweep something."""
    return [_Point(method, runs) for _, method, runs in data.styles() if method.swept]


def _sweep(data: FigureData, name: str, parameter: str, swept: Sequence[_Point], *, alone: bool) -> LineFigure:
    here = [point for point in swept if parameter in point.method.swept]
    choices = _choices(here, parameter)
    numeric = is_numeric(choices)
    places = {canonical_json(value): float(str(value)) if numeric else float(i) for i, value in enumerate(choices)}
    lines: dict[str, dict[float, _Point]] = defaultdict(dict)
    for point in here:
        place = places[canonical_json(point.method.swept[parameter])]
        lines[_rest(point.method, (parameter,))][place] = point
    shown = scaled(name)
    unit, cost = (
        f"Cost per step, {GC_PAPER}",
        lambda run: spent(run.cost, "gc") / run.cost.steps if run.cost.steps else None,
    )
    if data.currency == "seconds":
        unit, cost = "Time per epoch (s)", lambda run: run.cost.steady_seconds / run.epochs if run.epochs else None
    elif data.currency == "gradients":
        unit, cost = "Gradients per step", lambda run: run.cost.gradients / run.cost.steps if run.cost.steps else None

    def series(of: Callable[[RunResult], float | None]) -> tuple[Series, ...]:
        # A line stands for several rows of the suite, so it has a look of its own.
        return tuple(_series(style, label, lines[label], of) for style, label in enumerate(lines))

    quality = series(lambda run: shown(run.final[name]) if name in run.final else None)
    costs = series(cost)
    x = Axis(
        label=parameter,
        scale=scale(places.values(), LOG_FROM) if numeric else "linear",
        ticks=tuple((places[canonical_json(value)], text(value)) for value in choices),
    )
    remarks = [
        f"{point.method.label} {remark}" if behind else f"{point.method.label}: {point.runs.absence(name)}"
        for point in here
        for behind in [len(point.runs.values(name))]
        if (remark := point.runs.remark(behind, name)) or not behind
    ]
    return LineFigure(
        kind="sweep",
        name="" if alone else parameter,
        workload=data.workload,
        title=data.title(f"Sweep of {parameter}"),
        panels=(
            Panel(x=x, y=axis(name, ends(quality)), series=quality, form="bars"),
            Panel(x=x, y=Axis(label=unit, scale=scale(ends(costs), 1)), series=costs, form="bars"),
        ),
        notes=data.notes(
            BARS,
            "×: no run finished." if any(each.lost for each in quality) else "",
            f"{'; '.join(remarks)}." if remarks else "",
        ),
    )


def _series(style: int, label: str, placed: Mapping[float, _Point], of: Callable[[RunResult], float | None]) -> Series:
    found = {
        place: spread(value for run in placed[place].runs.finished if (value := of(run)) is not None)
        for place in sorted(placed)
    }
    known = [(place, values) for place, values in found.items() if values is not None]
    return Series(
        style=style,
        label=label,
        x=tuple(place for place, _ in known),
        y=tuple(values.mean for _, values in known),
        low=tuple(values.low for _, values in known),
        high=tuple(values.high for _, values in known),
        n=tuple(values.n for _, values in known),
        lost=tuple(place for place, values in found.items() if values is None and placed[place].runs.results),
    )


def _heatmap(
    data: FigureData, name: str, pair: tuple[str, str], groups: Mapping[str, Sequence[_Point]], *, alone: bool
) -> MapFigure | None:
    together = [point for group in groups.values() for point in group]
    choices = [{canonical_json(each): text(each) for each in _choices(together, parameter)} for parameter in pair]
    columns, rows = choices
    tiles = []
    for title, group in groups.items():
        by_choice = {tuple(canonical_json(point.method.swept[each]) for each in pair): point for point in group}
        cells = [[_cell(by_choice.get((column, row)), name) for column in columns] for row in rows]
        tiles.append(
            Tile(
                title=title,
                x=tuple(map(float, range(len(columns)))),
                y=tuple(map(float, range(len(rows)))),
                values=tuple(tuple(value for value, _ in row) for row in cells),
                texts=tuple(tuple(shown for _, shown in row) for row in cells),
            )
        )
    known = [value for tile in tiles for row in tile.values for value in row if value is not None]
    if not known:
        return None
    x, y = (
        Axis(label=parameter, ticks=tuple((float(i), label) for i, label in enumerate(labels.values())))
        for parameter, labels in zip(pair, choices, strict=True)
    )
    texts = {each for tile in tiles for row in tile.texts for each in row}
    return MapFigure(
        kind="heatmap",
        name="" if alone else "-".join(pair),
        workload=data.workload,
        title=data.title(metric(name).title),
        form="cells",
        x=x,
        y=y,
        value=Axis(label=metric(name).full_title, low=min(known), high=max(known)),
        tiles=tuple(tiles),
        notes=data.notes(
            "Mean over seeds; n where it is not that of all.",
            f"Hatched, {_DIVERGED}: runs diverged and none finished." if _DIVERGED in texts else "",
            "Empty: no run." if "" in texts else "",
        ),
    )


def _cell(point: _Point | None, name: str) -> tuple[float | None, str]:
    """Return the mean of a combination and what is written in its cell, or why there is no mean."""
    if point is None or not point.runs.results:
        return None, ""
    how = metric(name)
    values = spread(how.scale * value for value in point.runs.values(name))
    if values is None:
        return None, _DIVERGED if any(run.outcome == "diverged" for run in point.runs.results) else "failed"
    shown = number(values.mean) if how.decimals is None else f"{values.mean:.{min(how.decimals, 1)}f}"
    return values.mean, shown if values.n == len(point.runs.results) else f"{shown}\n(n={values.n})"


def text(value: JsonValue) -> str:
    """Return a swept value as the labels of methods show it."""
    return value if isinstance(value, str) else canonical_json(value)


def _choices(points: Sequence[_Point], parameter: str) -> list[JsonValue]:
    """Return the values that a parameter takes, numbers by size, others in the order of the suite."""
    found = {
        canonical_json(point.method.swept[parameter]): point.method.swept[parameter]
        for point in points
        if parameter in point.method.swept
    }
    values = list(found.values())
    return sorted(values, key=lambda value: float(str(value))) if is_numeric(values) else values


def is_numeric(values: Sequence[JsonValue]) -> bool:
    """Return whether all values are numbers."""
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _rest(method: Method, without: Sequence[str]) -> str:
    """Return the method's label with what it sweeps in addition to some parameters."""
    rest = ", ".join(f"{name}={text(value)}" for name, value in method.swept.items() if name not in without)
    return f"{method.base} ({rest})" if rest else method.base
