"""The linear stability of SASSHA's fixed points: Corollary 4.6 of the paper, found numerically on quadratics.

What is tested. The corollary says that a minimum of sharpness a = lambda_max(H) can only be linearly stable
if

    a (1 + rho a) <= 2 eps / lr.

It is about the linearised iteration x <- x - lr P^-1 H (x + rho H x) around the minimum 0. So the tests run
SASSHA on f(x) = x'Hx / 2 with a perturbation of rho times the gradient, not of length rho: they schedule
the radius as rho ||Hx||. (A perturbation of fixed length does not vanish at the minimum, which then is no
fixed point at all.) Momentum is off; with it the boundary is a factor of (1 + beta1) / (1 - beta1) further
out.

H is diagonal, so Hutchinson's estimate is exact, the corrected average of the curvature is a, and SASSHA's
denominator is P = sqrt(a) + eps. The exact boundary of the iteration therefore is

    a (1 + rho a) = 2 (sqrt(a) + eps) / lr.

The corollary has eps alone: it bounds P from below by eps and leaves the curvature out. Where eps dominates
the two agree, and there the corollary itself can be tested (the relative difference is sqrt(a) / eps).
Where it does not, the exact boundary holds, and the corollary forbids more than it must.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from sassha import SASSHA
from tests.accelerator import current_device, every_device, needs, tolerance

pytestmark = every_device


def stays(a: float, *, lr: float, rho: float, eps: float, power: float = 0.5) -> bool:
    """Return whether SASSHA, started beside the minimum, comes closer to it in the long run."""
    needs(torch.float64)
    spectrum = a * torch.tensor([1.0, 0.5, 0.1], dtype=torch.float64, device=current_device())
    x = nn.Parameter(torch.full_like(spectrum, 1e-3))
    optimizer = SASSHA([x], lr=lr, rho=0.0, eps=eps, betas=(0.0, 0.999), lazy_hessian=1, hessian_power=power)
    distances = []
    for _ in range(20):
        optimizer.param_groups[0]["rho"] = rho * (spectrum * x.detach()).norm().item()
        optimizer.step(lambda: (spectrum * x**2).sum() / 2)
        distances.append(x[0].abs().item())
    return distances[-1] < distances[9]


def critical_sharpness(*, lr: float, rho: float, eps: float) -> float:
    """Return the largest sharpness of a minimum that SASSHA stays in, by bisection."""
    low, high = 1e-3, 1e5
    for _ in range(36):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if stays(middle, lr=lr, rho=rho, eps=eps) else (low, middle)
    return float(low)


def allowed_by_corollary(*, lr: float, rho: float, eps: float) -> float:
    """Return the a > 0 with a (1 + rho a) = 2 eps / lr."""
    bound = 2 * eps / lr
    return bound if rho == 0 else (np.sqrt(1 + 4 * rho * bound) - 1) / (2 * rho)


@pytest.mark.parametrize("rho", [0.0, 0.05, 0.5])
def test_leaves_what_the_corollary_forbids_and_stays_in_what_it_allows(rho: float) -> None:
    lr, eps = 1e6, 1e6  # allowed: a (1 + rho a) <= 2, with sqrt(a) / eps about 1e-6
    boundary = allowed_by_corollary(lr=lr, rho=rho, eps=eps)
    assert stays(boundary * 0.999, lr=lr, rho=rho, eps=eps)
    assert not stays(boundary * 1.001, lr=lr, rho=rho, eps=eps)
    assert critical_sharpness(lr=lr, rho=rho, eps=eps) == pytest.approx(boundary, rel=tolerance(1e-5))


def test_a_larger_radius_forces_a_flatter_minimum() -> None:
    found = [critical_sharpness(lr=0.1, rho=rho, eps=1e-4) for rho in (0.0, 0.05, 0.2, 1.0)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 2 * found[1] > 4 * found[3]


@pytest.mark.parametrize(("lr", "rho", "eps"), [(0.15, 0.0, 1e-4), (0.15, 0.05, 1e-4), (0.6, 0.25, 1e-2)])
def test_with_the_curvature_in_the_denominator_the_boundary_is_further_out(lr: float, rho: float, eps: float) -> None:
    found = critical_sharpness(lr=lr, rho=rho, eps=eps)
    assert found * (1 + rho * found) == pytest.approx(2 * (np.sqrt(found) + eps) / lr, rel=tolerance(1e-8))
    assert found > allowed_by_corollary(lr=lr, rho=rho, eps=eps)


@pytest.mark.parametrize("a", [1e-2, 1.0, 1e6])
def test_a_preconditioner_like_the_inverse_hessian_does_not_constrain_sharpness(a: float) -> None:
    """The contrast the paper draws: P = H makes stability a matter of the learning rate alone."""
    assert stays(a, lr=1.9, rho=0.0, eps=0.0, power=1.0)
    assert not stays(a, lr=2.1, rho=0.0, eps=0.0, power=1.0)
