"""All measures of sharpness of one solution, with what decides their values and what they cost."""

from __future__ import annotations

import torch

from benchbench.curvature.density import spectral_density
from benchbench.curvature.differences import loss_differences
from benchbench.curvature.eigenvalues import lanczos_eigenvalues, power_iteration
from benchbench.curvature.landscape import landscape
from benchbench.curvature.surface import LossSurface
from benchbench.curvature.trace import hutch_plus_plus_trace, hutchinson_trace
from benchbench.optim.ledger import Ledger
from benchbench.values.sharpness import Settings, Sharpness
from benchbench.values.sharpness.values import (
    Evaluations,
    ExtremeEigenvalues,
    Landscape,
    SpectralDensity,
    TraceEstimate,
)


def measure(surface: LossSurface, settings: Settings) -> Sharpness:
    """Measure the sharpness of a solution; the same surface and settings give the same numbers.

    Where the loss or its derivatives are not finite, so are the numbers, and eigenvalues have `converged: false`.

    Args:
        surface: The loss around the solution.
        settings: What to measure, and how.
    """
    before = _counts(surface.ledger)
    differences = loss_differences(surface, radii=settings.radii, draws=settings.draws, seed=settings.seed)
    eigenvalues = _eigenvalues(surface, settings)
    trace = _trace(surface, settings)
    density = _density(surface, settings)
    grid = _landscape(surface, settings)
    forwards, gradients, hvps = (now - then for now, then in zip(_counts(surface.ledger), before, strict=True))
    return Sharpness(
        settings=settings,
        surface=surface.facts(),
        differences=differences,
        eigenvalues=eigenvalues,
        trace=trace,
        density=density,
        landscape=grid,
        cost=Evaluations(forwards=forwards, gradients=gradients, hvps=hvps),
    )


def _counts(ledger: Ledger) -> tuple[int, int, int]:
    return ledger.forwards, ledger.gradients, ledger.hvps


def _eigenvalues(surface: LossSurface, settings: Settings) -> ExtremeEigenvalues:
    wanted = settings.eigenvalues
    find = lanczos_eigenvalues if wanted.method == "lanczos" else power_iteration
    return find(surface, tolerance=wanted.tolerance, max_iterations=wanted.max_iterations, seed=settings.seed)


def _trace(surface: LossSurface, settings: Settings) -> TraceEstimate:
    wanted = settings.trace
    find = hutchinson_trace if wanted.method == "hutchinson" else hutch_plus_plus_trace
    return find(surface, products=wanted.products, products_per_pass=settings.products_per_pass, seed=settings.seed)


def _density(surface: LossSurface, settings: Settings) -> SpectralDensity | None:
    if settings.density is None:
        return None
    return spectral_density(
        surface, **dict(settings.density), products_per_pass=settings.products_per_pass, seed=settings.seed
    )


def _landscape(surface: LossSurface, settings: Settings) -> Landscape | None:
    wanted = settings.landscape
    if wanted is None:
        return None
    line = torch.linspace(-wanted.extent, wanted.extent, wanted.points, dtype=torch.float64).tolist()
    return landscape(surface, line, line if wanted.dimensions == 2 else (0.0,), seed=settings.seed)
