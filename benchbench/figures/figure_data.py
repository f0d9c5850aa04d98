"""Data of figures: a suite, the results of its runs, their histories, and means over seeds."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchbench.figures.values import Series, Trace
from benchbench.problems import BadInputError, Problem, nearest_name
from benchbench.reporting.currencies import Currency
from benchbench.reporting.metrics import headline_metrics
from benchbench.reporting.runs import Runs, all_results, gather, titled
from benchbench.stats import mean
from benchbench.tracking.histories import History
from benchbench.values import Frozen, Method, Row, Suite

BAND = "Line: mean over seeds; band: from the smallest to the largest seed."
BARS = "Point: mean over seeds; bars: from the smallest to the largest seed."
CROSSES = "×: where a run diverged, with its own line up to there."

Curve = Mapping[int, tuple[float, float]]
"""A run's points by a number (epoch or step) that the runs share."""


@dataclass(frozen=True)
class FigureData:
    """Data of the figures of one workload.

    Attributes:
        suite: The suite.
        workload: Label of the workload.
        runs: The workload's runs by label of the method.
        histories: What the runs left, by key.
        metrics: What the user wants to see; empty: what there is to see.
        currency: What training is counted in; `None`: what is usual for a kind.
    """

    suite: Suite
    workload: str
    runs: Mapping[str, Runs]
    histories: Mapping[str, History]
    metrics: tuple[str, ...] = ()
    currency: Currency | None = None

    def title(self, what: str) -> str:
        """Return the headline of a figure, which says where data are made up."""
        return titled(self.suite, f"{what}, {self.suite.heading(self.workload).full_label}")

    def notes(self, of_seeds: str, *others: str, shown: Iterable[str] | None = None) -> tuple[str, ...]:
        """Return the notes of a figure.

        Args:
            of_seeds: What several seeds come to; left out where there is one.
            others: Other notes; empty ones are left out.
            shown: Labels of the methods that the figure shows, where it says why others are missing.
        """
        reasons: dict[str, list[str]] = defaultdict(list)
        seen = set(self.runs if shown is None else shown)
        for method in self.suite.methods:
            if method.label not in seen:
                reasons[self.runs[method.label].absence("such data")].append(method.label)
        missing = "; ".join(f"{', '.join(methods)}: {reason}" for reason, methods in reasons.items())
        several = of_seeds if len(self.suite.seeds) > 1 else ""
        return tuple(filter(None, (several, *others, f"Not shown: {missing}." if missing else "")))

    def styles(self) -> Iterable[tuple[int, Method, Runs]]:
        """Yield each method with its position in the suite and its runs."""
        for style, method in enumerate(self.suite.methods):
            yield style, method, self.runs[method.label]

    def left_by(self, runs: Runs) -> dict[str, History]:
        """Return what the finished and diverged runs of a method left, by key."""
        keys = [run.key for run in runs.results if run.conclusive]
        return {key: self.histories[key] for key in keys if key in self.histories}

    def all_histories(self) -> list[History]:
        """Return the histories of all methods, in the order of the suite."""
        return [history for runs in self.runs.values() for history in self.left_by(runs).values()]

    def series(self, curve: Callable[[History], Curve]) -> tuple[Series, ...]:
        """Return a series for each method that has points.

        Args:
            curve: The points of one run; those of a divergence may end in values that are not finite.
        """
        found = []
        for style, method, runs in self.styles():
            curves = {key: curve(history) for key, history in self.left_by(runs).items()}
            behind = [curves[run.key] for run in runs.finished if curves.get(run.key)]
            diverged = [run.key for run in runs.results if run.outcome == "diverged" and run.key in curves]
            traces = tuple(each for key in diverged if (each := trace(curves[key])) is not None)
            points = average(behind)
            if points["x"] or traces:
                remark = runs.remark(len(behind), "history")
                about = {"style": style, "label": method.label, "remark": remark, "traces": traces}
                found.append(Series.model_validate({**about, **points}))
        return tuple(found)

    def final_metric(self) -> str | None:
        """Return the metric of results that is shown: the user's, the workload's or a known one."""
        held = {name for runs in self.runs.values() for run in runs.finished for name in run.final}
        named = self.suite.heading(self.workload).metrics
        usual = headline_metrics(all_results(self.runs.values()))
        return next((name for name in (*self.metrics, *named, *usual) if name in held), None)


def figure_data(
    suite: Suite,
    rows: Sequence[Row],
    histories: Mapping[str, History],
    metrics: Sequence[str] = (),
    currency: Currency | None = None,
) -> list[FigureData]:
    """Return what the figures of each workload of a suite are made of.

    Args:
        suite: The suite.
        rows: What is known of its runs.
        histories: What the runs left, by key.
        metrics: What the user wants to see; empty: what there is to see.
        currency: What training is counted in.

    Raises:
        BadInputError: A metric is in no result and in no history.
    """
    made = [
        FigureData(suite, workload, runs, histories, tuple(dict.fromkeys(metrics)), currency)
        for workload, runs in gather(suite, rows).items()
    ]
    known = {name for data in made for run in all_results(data.runs.values()) for name in run.final}
    for history in (history for data in made for history in data.all_histories()):
        known |= {name for record in history.epochs for name in record.metrics}
        known |= {name for record in history.diagnostics for name in record.values}
    problems = [
        Problem(
            f"no run has this metric; there are {', '.join(sorted(known)) or 'none'}",
            file="--metric",
            value=name,
            nearest=nearest_name(name, known),
        )
        for name in metrics
        if name not in known
    ]
    if problems:
        raise BadInputError(problems)
    return made


class Spread(Frozen):
    """Average of the finite values of several seeds."""

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
