"""Histograms of a tensor's entries over the course of training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from benchbench.figures.figure_data import FigureData
from benchbench.figures.labels import number
from benchbench.figures.values import Axis, MapFigure, Tile
from benchbench.reporting.metrics import power_of_ten
from benchbench.reporting.runs import Runs

SMALLEST_SHARE = 1e-4
"""Lower end of the scale of colours."""

_Counts = npt.NDArray[np.float64]
_MOST_TICKS = 9


def histograms(data: FigureData) -> list[MapFigure]:
    """Return for each recorded tensor a figure with a tile per method: steps by bins, shares of entries as colours."""
    recorded = dict.fromkeys(
        name for history in data.all_histories() for record in history.diagnostics for name in record.histograms
    )
    wanted = [name for name in recorded if name in data.metrics] or list(recorded)
    return [_figure(data, name, alone=len(recorded) == 1) for name in wanted]


def _figure(data: FigureData, name: str, *, alone: bool) -> MapFigure:
    recorded = (record.histograms for history in data.all_histories() for record in history.diagnostics)
    # The edges that the records share are those of the first one.
    edges = next(each[name].edges for each in recorded if name in each)
    summed = {label: counts for label, runs in data.runs.items() if (counts := _summed(data, runs, name, edges))}
    shares: dict[str, _Counts] = {}
    for label, by_step in summed.items():
        stacked = np.stack(list(by_step.values()))
        shares[label] = stacked / np.maximum(stacked.sum(axis=1, keepdims=True), 1)
    first, last = _filled(list(shares.values()))
    tiles = []
    for label, each in shares.items():
        finished = data.runs[label].finished
        remark = data.runs[label].remark(len(finished)) if finished else "(diverged)"
        tiles.append(
            Tile(
                title=f"{label} {remark}".strip(),
                x=_between(list(summed[label])),
                y=tuple(float(i) for i in range(first, last + 2)),
                values=tuple(tuple(value or None for value in row) for row in each[:, first : last + 1].T.tolist()),
            )
        )
    largest = max(float(each.max()) for each in shares.values()) or 1.0
    return MapFigure(
        kind="histogram",
        name="" if alone else name,
        workload=data.workload,
        title=data.title(f"Entries of {name.removeprefix('state/')} over training"),
        form="density",
        x=Axis(label="Optimizer steps"),
        y=Axis(label="Value of an entry", low=first, high=last + 1, ticks=_ticks(edges, first, last)),
        value=Axis(label="Share of entries per bin", scale="log", low=SMALLEST_SHARE, high=largest),
        tiles=tuple(tiles),
        notes=data.notes(
            "",
            "Bins as recorded, evenly high whatever they span; entries of all seeds together. White: none.",
            shown=summed,
        ),
    )


def _summed(data: FigureData, runs: Runs, name: str, edges: Sequence[float]) -> dict[int, _Counts]:
    """Return the counts of each step, summed over the finished runs or, if there are none, the diverged ones."""
    behind = runs.finished or [run for run in runs.results if run.outcome == "diverged"]
    sums: dict[int, _Counts] = {}
    for history in (data.histories[run.key] for run in behind if run.key in data.histories):
        by_step = {each.step: each.histograms[name] for each in history.diagnostics if name in each.histograms}
        for step, histogram in by_step.items():
            if histogram.edges == tuple(edges):
                counts = np.array(histogram.counts, dtype=np.float64)
                sums[step] = sums[step] + counts if step in sums else counts
    return dict(sorted(sums.items()))


def _filled(shares: Sequence[_Counts]) -> tuple[int, int]:
    """Return the first and the last bin that a visible share of entries is in, at any time and for any method."""
    bins = np.flatnonzero((np.concatenate(shares) >= SMALLEST_SHARE).any(axis=0))
    return (int(bins[0]), int(bins[-1])) if bins.size else (0, shares[0].shape[1] - 1)


def _between(steps: Sequence[int]) -> tuple[float, ...]:
    """Return the edges between steps, halfway, and as far beyond the ends; a single step is one wide."""
    if len(steps) == 1:
        return (steps[0] - 0.5, steps[0] + 0.5)
    middles = [(before + after) / 2 for before, after in pairwise(steps)]
    return (2 * steps[0] - middles[0], *middles, 2 * steps[-1] - middles[-1])


def _ticks(edges: Sequence[float], first: int, last: int) -> tuple[tuple[float, str], ...]:
    """Return labels for bin edges: whole powers of ten and zero where the bins are logarithmic, else numbers."""
    places = range(first, last + 2)
    logarithms = {i: math.log10(abs(edges[i])) for i in places if edges[i] and math.isfinite(edges[i])}
    exponents = {i: round(exact) for i, exact in logarithms.items() if abs(exact - round(exact)) < 1e-6}
    if len(exponents) < 3:
        stride = math.ceil(len(places) / _MOST_TICKS)
        return tuple((float(i), number(edges[i])) for i in places[::stride])
    stride = next(n for n in range(1, len(exponents) + 1) if sum(e % n == 0 for e in exponents.values()) <= _MOST_TICKS)
    ticks = [(float(i), power_of_ten(e, negative=edges[i] < 0)) for i, e in exponents.items() if e % stride == 0]
    zero = next((i + 0.5 for i in range(first, last + 1) if edges[i] < 0 < edges[i + 1]), None)
    if zero is not None:
        room = (last + 2 - first) / (2 * _MOST_TICKS)  # no label next to that of zero
        ticks = [(place, label) for place, label in ticks if abs(place - zero) >= room] + [(zero, "0")]
    return tuple(sorted(ticks))
