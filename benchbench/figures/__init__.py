"""Figures: from the results and histories of runs to frozen values, and from these to files.

Modules named after a kind of figure make values and know nothing of how they are drawn; `drawing` draws them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from benchbench.figures.curves import curves
from benchbench.figures.figure_data import FigureData, figure_data
from benchbench.figures.histograms import histograms
from benchbench.figures.labels import CURRENCIES
from benchbench.figures.landscapes import landscapes
from benchbench.figures.pareto import pareto
from benchbench.figures.ranks import rank_diagram
from benchbench.figures.spectra import spectra
from benchbench.figures.sweeps import heatmaps, sweeps
from benchbench.figures.values import Figure, Kind
from benchbench.problems import BadInputError, Problem
from benchbench.reporting.currencies import Currency
from benchbench.tracking.histories import History
from benchbench.values import Row, Suite

__all__ = ["CURRENCIES", "KINDS", "Currency", "Figure", "History", "Kind", "figures", "without_history"]

Maker = Callable[[Sequence[FigureData]], Sequence[Figure]]


def _of_each(make: Callable[[FigureData], Sequence[Figure]]) -> Maker:
    return lambda of_workloads: [figure for each in of_workloads for figure in make(each)]


KINDS: Mapping[Kind, Maker] = {
    "curves": _of_each(curves),
    "histogram": _of_each(histograms),
    "heatmap": _of_each(heatmaps),
    "sweep": _of_each(sweeps),
    "spectrum": _of_each(spectra),
    "pareto": _of_each(pareto),
    "landscape": _of_each(landscapes),
    "ranks": rank_diagram,
}
"""Makers of each kind of figures from all workloads: none where there are no data for them."""

_NEEDS: Mapping[Kind, str] = {
    "curves": "runs that have left their metrics",
    "histogram": "finished runs with recorded histograms",
    "heatmap": "finished runs of a method that sweeps two hyperparameters",
    "sweep": "finished runs of a method with swept hyperparameters",
    "spectrum": "finished runs whose spectral density has been measured",
    "pareto": "finished runs",
    "landscape": "finished runs whose loss landscape has been measured",
    "ranks": "three methods with all their seeds on five workloads",
}


def figures(
    suite: Suite,
    rows: Sequence[Row],
    histories: Mapping[str, History],
    *,
    kinds: Sequence[Kind] = (),
    metrics: Sequence[str] = (),
    currency: Currency | None = None,
) -> list[Figure]:
    """Return the figures of a suite.

    Args:
        suite: The suite.
        rows: What is known of its runs.
        histories: What the runs left, by key.
        kinds: The kinds that are wanted; none: every kind for which there are data.
        metrics: The metrics that are wanted; none: those that are usual.
        currency: What training is counted in; `None`: what is usual for a kind.

    Raises:
        BadInputError: There are no data for a wanted kind, or for any, or a metric does not exist.
    """
    of_workloads = figure_data(suite, rows, histories, metrics, currency)
    made = {kind: KINDS[kind](of_workloads) for kind in kinds or KINDS}
    problems = [
        Problem(f"nothing to draw: this kind needs {_NEEDS[kind]}", file="--kind", value=kind)
        for kind in kinds
        if not made[kind]
    ]
    if not kinds and not any(made.values()):
        problems = [Problem(f"nothing to draw: no run of {suite.name} has finished or left its metrics")]
    if problems:
        raise BadInputError(problems)
    return [figure for found in made.values() for figure in found]


def without_history(suite: Suite, rows: Sequence[Row], histories: Mapping[str, History]) -> list[str]:
    """Return the runs that have a result but no history, or not all of it, by method, workload and seed."""
    none = History()
    return [
        f"{row.spec.method} on {row.spec.workload_label}, seed {row.spec.seed}"
        for row in rows
        if row.result is not None and row.result.conclusive and not histories.get(row.spec.key, none).epochs
    ]
