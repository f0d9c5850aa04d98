"""Results over two swept hyperparameters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from benchbench.figures.averages import spread
from benchbench.figures.figure_data import FigureData
from benchbench.figures.labels import metric, number
from benchbench.figures.sweeps import Point, choices_of, is_numeric, points, rest, text
from benchbench.figures.values import Axis, MapFigure, Tile
from benchbench.values import Method, canonical_json

DIVERGED = "div."
_FAILED = "failed"


def heatmaps(data: FigureData) -> list[MapFigure]:
    """Return a metric over two swept hyperparameters, a tile for each method and each choice of what else it sweeps."""
    name = data.final_metric()
    groups: dict[tuple[str, str], dict[str, list[Point]]] = defaultdict(lambda: defaultdict(list))
    for point in points(data):
        if len(point.method.swept) >= 2:
            second, first = sorted(point.method.swept, key=_numbers_last(point.method))[-2:]
            groups[first, second][rest(point.method, (first, second))].append(point)
    if name is None:
        return []
    made = [_figure(data, name, pair, tiles, alone=len(groups) == 1) for pair, tiles in groups.items()]
    return [figure for figure in made if figure is not None]


def _figure(
    data: FigureData, name: str, pair: tuple[str, str], groups: Mapping[str, Sequence[Point]], *, alone: bool
) -> MapFigure | None:
    together = [point for group in groups.values() for point in group]
    choices = [{canonical_json(each): text(each) for each in choices_of(together, parameter)} for parameter in pair]
    tiles = tuple(_tile(title, group, name, pair, *choices) for title, group in groups.items())
    known = [value for tile in tiles for row in tile.values for value in row if value is not None]
    if not known:
        return None
    x, y = (
        Axis(label=parameter, ticks=tuple((float(i), label) for i, label in enumerate(labels.values())))
        for parameter, labels in zip(pair, choices, strict=True)
    )
    return MapFigure(
        kind="heatmap",
        name="" if alone else "-".join(pair),
        workload=data.workload,
        title=data.title(metric(name).title),
        form="cells",
        x=x,
        y=y,
        value=Axis(label=metric(name).full_title, low=min(known), high=max(known)),
        tiles=tiles,
        notes=_notes(data, tiles),
    )


def _tile(
    title: str,
    group: Sequence[Point],
    name: str,
    pair: tuple[str, str],
    columns: Mapping[str, str],
    rows: Mapping[str, str],
) -> Tile:
    by_choice = {tuple(canonical_json(point.method.swept[each]) for each in pair): point for point in group}
    cells = [[_cell(by_choice.get((column, row)), name) for column in columns] for row in rows]
    return Tile(
        title=title,
        x=tuple(map(float, range(len(columns)))),
        y=tuple(map(float, range(len(rows)))),
        values=tuple(tuple(value for value, _ in row) for row in cells),
        texts=tuple(tuple(shown for _, shown in row) for row in cells),
    )


def _cell(point: Point | None, name: str) -> tuple[float | None, str]:
    """Return the mean of a combination and what is written in its cell, or why there is no mean."""
    if point is None or not point.runs.results:
        return None, ""
    how = metric(name)
    values = spread(how.scale * run.final[name] for run in point.runs.finished if name in run.final)
    if values is None:
        return None, DIVERGED if any(run.outcome == "diverged" for run in point.runs.results) else _FAILED
    shown = number(values.mean) if how.decimals is None else f"{values.mean:.{min(how.decimals, 1)}f}"
    return values.mean, shown if values.n == len(point.runs.results) else f"{shown}\n(n={values.n})"


def _notes(data: FigureData, tiles: Sequence[Tile]) -> tuple[str, ...]:
    texts = {each for tile in tiles for row in tile.texts for each in row}
    notes = ["Mean over seeds; n where it is not that of all."] if len(data.suite.seeds) > 1 else []
    notes += [f"Hatched, {DIVERGED}: runs diverged and none finished."] if DIVERGED in texts else []
    return (*notes, *(["Empty: no run."] if "" in texts else []))


def _numbers_last(method: Method) -> Callable[[str], bool]:
    return lambda name: is_numeric([method.swept[name]])
