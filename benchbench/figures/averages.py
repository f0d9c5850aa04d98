"""From the runs of a method to one series: means over seeds, with the smallest and the largest value."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from benchbench.figures.values import Series, Trace
from benchbench.reporting.runs import Runs
from benchbench.stats import mean
from benchbench.values import Frozen, RunResult

BAND = "Line: mean over seeds; band: from the smallest to the largest seed."
BARS = "Point: mean over seeds; bars: from the smallest to the largest seed."
CROSSES = "×: where a run diverged, with its own line up to there."

Curve = Mapping[int, tuple[float, float]]
"""A run's points by a number (epoch or step) that the runs share."""


class Spread(Frozen):
    """What the finite values of several seeds come to."""

    mean: float
    low: float
    high: float
    n: int


def spread(values: Iterable[float]) -> Spread | None:
    """Return mean, smallest and largest of the finite values, `None` if there are none."""
    finite = [value for value in values if math.isfinite(value)]
    return Spread(mean=mean(finite), low=min(finite), high=max(finite), n=len(finite)) if finite else None


def average(curves: Sequence[Curve]) -> dict[str, tuple[float, ...]]:
    """Return the points of a series: at each number the mean over the runs that have a finite value there."""
    numbers = sorted({number for curve in curves for number in curve})
    missing = (math.nan, math.nan)
    points = np.array([[curve.get(number, missing) for number in numbers] for curve in curves], dtype=float)
    points = points.reshape(len(curves), len(numbers), 2)
    points[~np.isfinite(points).all(axis=2)] = math.nan
    counts = np.isfinite(points[..., 1]).sum(axis=0)
    points, counts = points[:, counts > 0], counts[counts > 0]
    x, y = np.nanmean(points, axis=0).T if counts.size else (np.empty(0), np.empty(0))
    return {
        "x": tuple(x.tolist()),
        "y": tuple(y.tolist()),
        "low": tuple(np.nanmin(points[..., 1], axis=0).tolist()) if counts.size else (),
        "high": tuple(np.nanmax(points[..., 1], axis=0).tolist()) if counts.size else (),
        "n": tuple(counts.tolist()),
    }


def trace(curve: Curve) -> Trace | None:
    """Return a run's points up to the first one that is not finite, `None` if there are none."""
    points: list[tuple[float, float]] = []
    for _, point in sorted(curve.items()):
        if not all(map(math.isfinite, point)):
            break
        points.append(point)
    return Trace(x=tuple(x for x, _ in points), y=tuple(y for _, y in points)) if points else None


def series(style: int, label: str, runs: Runs, curves: Mapping[str, Curve]) -> Series | None:
    """Return the series of a method's runs, `None` if none of them has a point.

    Args:
        style: Position of the method in its suite.
        label: Its label.
        runs: Its runs.
        curves: Points of each run by the run's key; those of a divergence may end in values that are not finite.
    """
    behind = [curves[run.key] for run in runs.finished if curves.get(run.key)]
    traces = [trace(curves[run.key]) for run in diverged(runs) if run.key in curves]
    points = average(behind)
    shown = tuple(each for each in traces if each is not None)
    if not points["x"] and not shown:
        return None
    remark = runs.remark(len(behind), "history")
    return Series.model_validate({"style": style, "label": label, "remark": remark, "traces": shown, **points})


def diverged(runs: Runs) -> list[RunResult]:
    """Return the results of the runs that diverged."""
    return [run for run in runs.results if run.outcome == "diverged"]
