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
    by, seed, per_pass = settings.eigenvalues, settings.seed, settings.products_per_pass
    find = lanczos_eigenvalues if by.method == "lanczos" else power_iteration
    eigenvalues = find(surface, tolerance=by.tolerance, max_iterations=by.max_iterations, seed=seed)
    estimate = hutchinson_trace if settings.trace.method == "hutchinson" else hutch_plus_plus_trace
    trace = estimate(surface, products=settings.trace.products, products_per_pass=per_pass, seed=seed)
    density, grid = None, None
    if settings.density is not None:
        density = spectral_density(surface, **dict(settings.density), products_per_pass=per_pass, seed=seed)
    if (wanted := settings.landscape) is not None:
        line = torch.linspace(-wanted.extent, wanted.extent, wanted.points, dtype=torch.float64).tolist()
        grid = landscape(surface, line, line if wanted.dimensions == 2 else (0.0,), seed=seed)
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
