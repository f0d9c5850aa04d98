"""All measures of sharpness of one solution, with what decides their values and what they cost."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from benchbench.curvature.density import SpectralDensity, spectral_density
from benchbench.curvature.differences import LossDifferences, loss_differences
from benchbench.curvature.eigenvalues import ExtremeEigenvalues, lanczos_eigenvalues, power_iteration
from benchbench.curvature.surface import LossSurface, SurfaceFacts
from benchbench.curvature.trace import TraceEstimate, hutch_plus_plus_trace, hutchinson_trace
from benchbench.ledger import Ledger
from benchbench.values import Frozen

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=1)]


class EigenvalueSettings(Frozen):
    """How the ends of the spectrum are found.

    Attributes:
        method: By Lanczos' iteration, or by power iteration as PyHessian does.
        tolerance: Relative residual (Lanczos) or relative change (power iteration) at which it stops.
        max_iterations: Limit of iterations.
    """

    method: Literal["lanczos", "power"] = "lanczos"
    tolerance: _Positive = 1e-3
    max_iterations: _Count = 100


class TraceSettings(Frozen):
    """How the trace is estimated.

    Attributes:
        method: By Hutchinson's estimator or by Hutch++.
        products: Hessian-vector products spent on it.
    """

    method: Literal["hutchinson", "hutch++"] = "hutchinson"
    products: Annotated[int, Field(ge=3)] = 100


class DifferenceSettings(Frozen):
    """Where differences of the loss are measured.

    Attributes:
        radii: Distances from the solution.
        draws: Random directions.
    """

    radii: Annotated[tuple[_Positive, ...], Field(min_length=1)] = (0.05, 0.1, 0.5)
    draws: _Count = 10


class DensitySettings(Frozen):
    """How the density of the spectrum is estimated.

    Attributes:
        probes: Random probes.
        steps: Iterations of Lanczos from each.
        bandwidth: Width of the smoothing Gaussian, as a fraction of the spectrum's range.
        points: Points of the grid.
    """

    probes: _Count = 3
    steps: _Count = 80
    bandwidth: _Positive = 0.01
    points: Annotated[int, Field(ge=2)] = 512


class Settings(Frozen):
    """What decides the numbers, apart from the surface.

    Attributes:
        data: Which examples the surface averages over, in the caller's words; recorded, not interpreted.
        seed: Root of all random vectors.
        products_per_pass: How many Hessian-vector products share a pass over the data: cost and memory.
        eigenvalues: How the ends of the spectrum are found.
        trace: How the trace is estimated.
        differences: Where differences of the loss are measured.
        density: How the density of the spectrum is estimated; `None` to leave it out.
    """

    data: str = ""
    seed: int = 0
    products_per_pass: _Count = 5
    eigenvalues: EigenvalueSettings = EigenvalueSettings()
    trace: TraceSettings = TraceSettings()
    differences: DifferenceSettings = DifferenceSettings()
    density: DensitySettings | None = None


class Evaluations(Frozen):
    """What a measurement cost, on one rank: each count is over batches, not over the data set.

    Attributes:
        forwards: Evaluations of the loss, those of gradients and products included.
        gradients: Gradients.
        hvps: Hessian-vector products.
    """

    forwards: int
    gradients: int
    hvps: int


class Sharpness(Frozen):
    """The sharpness of a solution.

    Attributes:
        settings: What decided the numbers.
        surface: What they were measured on.
        differences: The loss, its gradient's norm, and how much the loss rises nearby.
        eigenvalues: The ends of the spectrum.
        trace: The trace of the Hessian.
        density: The density of its spectrum, if it was asked for.
        cost: What all of this cost.
    """

    settings: Settings
    surface: SurfaceFacts
    differences: LossDifferences
    eigenvalues: ExtremeEigenvalues
    trace: TraceEstimate
    density: SpectralDensity | None
    cost: Evaluations


def measure(surface: LossSurface, settings: Settings) -> Sharpness:
    """Measure the sharpness of a solution; the same surface and settings give the same numbers.

    Where the loss or its derivatives are not finite, so are the numbers, and eigenvalues have `converged: false`.

    Args:
        surface: The loss around the solution.
        settings: What to measure, and how.
    """
    before = _counts(surface.ledger)
    differences = loss_differences(surface, **dict(settings.differences), seed=settings.seed)
    eigenvalues = _eigenvalues(surface, settings)
    trace = _trace(surface, settings)
    density = _density(surface, settings)
    forwards, gradients, hvps = (now - then for now, then in zip(_counts(surface.ledger), before, strict=True))
    return Sharpness(
        settings=settings,
        surface=surface.facts(),
        differences=differences,
        eigenvalues=eigenvalues,
        trace=trace,
        density=density,
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
