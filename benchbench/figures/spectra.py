"""The density of the Hessian's eigenvalues at the solutions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from benchbench.figures.figure_data import FigureData
from benchbench.figures.values import Axis, LineFigure, Panel, Series
from benchbench.values.sharpness.values import SpectralDensity

_POINTS = 512
_LOWEST = 1e-6
"""Densities below this share of the largest one are the tails of the smoothing kernel."""
_WIDE = 20.0
"""From this ratio of the widest spectrum to the narrowest one, a linear axis would hide the narrow ones."""


def spectra(data: FigureData) -> list[LineFigure]:
    """Return the densities of all methods in one panel: of several seeds the mean, on the method's own range."""
    found = []
    for style, method, runs in data.styles():
        behind = [history.spectrum for history in data.left_by(runs).values() if history.spectrum is not None]
        finite = [spectrum for spectrum in behind if all(map(math.isfinite, spectrum.values))]
        if finite:
            remark = runs.remark(len(finite), "finite density")
            found.append(_series(style, method.label, remark, finite))
    if not found:
        return []
    highest = max(max(each.y) for each in found)
    x = Axis(label="Eigenvalue")
    widths = [max(abs(each.x[0]), abs(each.x[-1])) for each in found]
    if max(widths) > _WIDE * min(widths):
        threshold = 10.0 ** math.floor(math.log10(min(widths) / 10))
        x = Axis(label="Eigenvalue", scale="symlog", threshold=threshold)
    y = Axis(label="Density", scale="log", low=_LOWEST * highest, high=2 * highest)
    return [
        LineFigure(
            kind="spectrum",
            workload=data.workload,
            title=data.title("Spectrum of the Hessian"),
            panels=(Panel(x=x, y=y, series=tuple(found)),),
            notes=data.notes(
                "Mean over seeds.",
                "Stochastic Lanczos quadrature; each line covers the method's own spectrum.",
                shown=[each.label for each in found],
            ),
        )
    ]


def _series(style: int, label: str, remark: str, behind: Sequence[SpectralDensity]) -> Series:
    """Return the mean of the densities, each of them zero outside of its grid."""
    low, high = min(each.grid[0] for each in behind), max(each.grid[-1] for each in behind)
    grid = np.linspace(low, high, _POINTS)
    densities = np.stack([np.interp(grid, each.grid, each.values, left=0.0, right=0.0) for each in behind])
    mean = tuple(densities.mean(axis=0).tolist())
    return Series(
        style=style, label=label, remark=remark, x=tuple(grid.tolist()), y=mean, low=mean, high=mean,
        n=(len(behind),) * _POINTS,
    )  # fmt: skip
