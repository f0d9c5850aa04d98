"""The ends of the Hessian's spectrum."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchbench.curvature.lanczos import Lanczos
from benchbench.curvature.sampling import gaussian
from benchbench.curvature.surface import LossSurface
from benchbench.values.sharpness.values import Eigenvalue, ExtremeEigenvalues

_UNKNOWN = Eigenvalue(value=math.nan, error_bound=math.nan, residual=math.nan, converged=False)


def lanczos_eigenvalues(
    surface: LossSurface, *, tolerance: float = 1e-3, max_iterations: int = 100, seed: int = 0
) -> ExtremeEigenvalues:
    """Find the largest eigenvalue by Lanczos' iteration, and the smallest as far as it has come by then.

    It stops when the largest one's residual is at most `tolerance`. One more pass measures the residuals of both with a
    product each; `converged` says of each whether that residual is at most `tolerance`.

    Args:
        surface: Whose Hessian.
        tolerance: Relative residual to reach.
        max_iterations: Limit of iterations, each one product over the whole data set.
        seed: Seed of the start vector, which is Gaussian.
    """
    lanczos = Lanczos(gaussian(surface, seed, "eigenvalues"))
    for _ in range(max_iterations):
        lanczos.advance(surface.hvp(lanczos.vector[None])[0])
        if lanczos.ended:
            break
        values, vectors = lanczos.ritz()
        if _relative(lanczos.residual(vectors[:, -1]), values[-1].item()) <= tolerance:
            break
    n = len(lanczos)
    if not lanczos.finite:
        return ExtremeEigenvalues(method="lanczos", largest=_UNKNOWN, smallest=_UNKNOWN, iterations=n, products=n)
    smallest, largest = _measured(surface, lanczos, tolerance)
    return ExtremeEigenvalues(method="lanczos", largest=largest, smallest=smallest, iterations=n, products=n + 2)


def power_iteration(
    surface: LossSurface, *, tolerance: float = 1e-3, max_iterations: int = 100, seed: int = 0
) -> ExtremeEigenvalues:
    """Find the eigenvalue that is largest in magnitude by power iteration.

    The rule to stop is that of PyHessian (Yao et al. 2020): v' H v changes from one iteration to the next by at most
    `tolerance` of itself. It is weaker than a residual of that size, and `converged` says no more than that it was met.

    Args:
        surface: Whose Hessian.
        tolerance: Relative change to reach.
        max_iterations: Limit of iterations, each one product over the whole data set.
        seed: Seed of the start vector, which is Gaussian.
    """
    vector = gaussian(surface, seed, "eigenvalues")
    value, error, iterations, converged = math.nan, math.nan, 0, False
    while iterations < max_iterations and not converged:
        vector = vector / torch.linalg.vector_norm(vector)
        (product,) = surface.hvp(vector[None])
        before, (value, error) = value, _rayleigh(vector, product)
        iterations += 1
        if not math.isfinite(error):
            break
        vector = product
        converged = error == 0 or abs(value - before) <= tolerance * abs(value)
    largest = _UNKNOWN
    if math.isfinite(error):
        residual = _relative(error, value)
        largest = Eigenvalue(value=value, error_bound=error, residual=residual, converged=converged)
    return ExtremeEigenvalues(
        method="power", largest=largest, smallest=None, iterations=iterations, products=iterations
    )


def _measured(surface: LossSurface, lanczos: Lanczos, tolerance: float) -> list[Eigenvalue]:
    values, vectors = lanczos.ritz()
    ends = torch.stack([lanczos.combine(vectors[:, end]) for end in (0, -1)])
    errors = torch.linalg.vector_norm(surface.hvp(ends) - values[[0, -1]].to(ends)[:, None] * ends, dim=1)
    found = []
    for value, error in zip(values[[0, -1]].tolist(), errors.tolist(), strict=True):
        residual = _relative(error, value)
        converged = residual <= tolerance
        found.append(Eigenvalue(value=value, error_bound=error, residual=residual, converged=converged))
    return found


def _rayleigh(vector: Tensor, product: Tensor) -> tuple[float, float]:
    """Return v' H v of a unit vector v, and || H v - (v' H v) v ||."""
    value = torch.dot(vector, product)
    error = torch.linalg.vector_norm(product - value * vector)
    return value.item(), error.item()


def _relative(error: float, value: float) -> float:
    if error == 0:
        return 0.0
    return error / abs(value) if value else math.inf
