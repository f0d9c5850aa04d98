"""Differences of the loss on quadratics against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchbench.curvature.differences import loss_differences
from tests.accelerator import every_device, tolerance
from tests.curvature.surfaces import dense, every_model, quadratic, solution, symmetric

pytestmark = every_device


def made() -> tuple[torch.Tensor, torch.Tensor]:
    """Return a Hessian and a point."""
    hessian = symmetric(np.linspace(-1, 6, 20))
    return hessian, torch.linspace(-1, 1, 20).to(hessian)


def test_along_the_gradient_a_quadratic_rises_by_its_two_derivatives() -> None:
    hessian, point = made()
    found = loss_differences(quadratic(hessian, at=point, parts=(4, 1)), radii=(0.05, 0.5, 3.0))
    gradient = hessian @ point
    norm = torch.linalg.vector_norm(gradient)
    curvature = (gradient @ hessian @ gradient / norm**2).item()
    assert found.loss == pytest.approx((point @ hessian @ point / 2).item(), rel=tolerance(1e-12))
    assert found.gradient_norm == pytest.approx(norm.item(), rel=tolerance(1e-12))
    for difference in found.at:
        rho = difference.radius
        assert difference.gradient == pytest.approx(rho * norm.item() + rho**2 * curvature / 2, rel=tolerance(1e-10))


def test_on_average_a_quadratic_rises_by_its_trace() -> None:
    """E[L(x + rho u) - L(x)] = rho^2 tr(H) / (2 n) over the unit sphere, whatever the gradient."""
    hessian, point = made()
    found = loss_differences(quadratic(hessian, at=point), radii=(0.1, 2.0), draws=400)
    for difference in found.at:
        average = difference.average
        assert average.samples == 400
        assert average.standard_error is not None
        expected = difference.radius**2 * hessian.trace().item() / (2 * 20)
        assert abs(average.mean - expected) <= 4 * average.standard_error
        gradient_part = difference.radius**2 * (hessian @ point).square().sum().item() / 20
        assert average.standard_error >= 0.8 * np.sqrt(gradient_part / 400)


def test_at_a_minimum_the_average_has_the_variance_of_the_sphere() -> None:
    """Var[u'Hu] = 2 (n tr(H^2) - tr(H)^2) / (n^2 (n + 2)) over the unit sphere."""
    hessian, _ = made()
    found = loss_differences(quadratic(hessian), radii=(2.0,), draws=400)
    n, squares = 20, hessian.square().sum().item()
    variance = 2 * (n * squares - hessian.trace().item() ** 2) / (n**2 * (n + 2))
    assert found.at[0].average.standard_error == pytest.approx(2 * np.sqrt(variance / 400), rel=0.12)


@every_model
def test_near_a_model_they_are_what_its_derivatives_predict(name: str, training: bool) -> None:
    found = solution(name, training=training)
    exact = dense(name, training=training)
    unit = exact.gradient / torch.linalg.vector_norm(exact.gradient)
    rho = 1e-4
    (difference,) = loss_differences(found.surface(), radii=(rho,), draws=1).at
    predicted = rho * (unit @ exact.gradient) + rho**2 / 2 * (unit @ exact.hessian @ unit)
    assert difference.gradient == pytest.approx(predicted.item(), rel=tolerance(1e-5))
    assert difference.average.standard_error is None


def test_costs_one_gradient_and_a_loss_per_point() -> None:
    surface = solution("mlp").surface()
    loss_differences(surface, radii=(0.1, 0.2), draws=3)
    assert (surface.ledger.forwards, surface.ledger.gradients, surface.ledger.hvps) == (3 * (2 + 2 * 4), 3, 0)


def test_without_a_gradient_there_is_no_direction() -> None:
    hessian, _ = made()
    (difference,) = loss_differences(quadratic(hessian), radii=(0.1,)).at
    assert np.isnan(difference.gradient)
    assert np.isfinite(difference.average.mean)


def test_the_seed_decides_the_numbers() -> None:
    surface = solution("conv_bn", training=True).surface()
    first, again, other = (loss_differences(surface, draws=2, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
