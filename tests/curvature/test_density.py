"""Stochastic Lanczos quadrature against exact moments and known spectra."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchbench.curvature.density import SpectralDensity, spectral_density
from benchbench.curvature.sampling import signs
from tests.accelerator import every_device, tolerance
from tests.curvature.surfaces import dense, every_model, quadratic, solution, symmetric

pytestmark = every_device


def moment(density: SpectralDensity, power: int) -> list[float]:
    return [float(np.dot(q.weights, np.array(q.nodes) ** power)) for q in density.probes]


@every_model
def test_moments_of_a_quadrature_are_those_of_its_probe(name: str, training: bool) -> None:
    """With m steps, sum of weight node^k is z' H^k z / z'z for every k up to 2m - 1."""
    found = solution(name, training=training)
    hessian, surface = dense(name, training=training).hessian, found.surface()
    density = spectral_density(surface, probes=2, steps=3)
    norm = torch.linalg.matrix_norm(hessian, 2).item()
    for power in range(6):
        exact = torch.linalg.matrix_power(hessian, power)
        for index, value in enumerate(moment(density, power)):
            z = signs(surface, 0, "density", index)
            assert value == pytest.approx(
                (z @ exact @ z / len(z)).item(), rel=tolerance(1e-10), abs=tolerance(1e-12) * norm**power
            )


def test_the_first_moments_are_those_of_the_spectrum() -> None:
    spectrum = np.linspace(-2, 6, 50)
    density = spectral_density(quadratic(symmetric(spectrum)), probes=200, steps=2, products_per_pass=200)
    for power in (1, 2, 3):
        samples = np.array(moment(density, power))
        error = samples.std(ddof=1) / np.sqrt(len(samples))
        assert abs(samples.mean() - (spectrum**power).mean()) <= 4 * error


def test_enough_steps_find_every_eigenvalue() -> None:
    spectrum = [-4.0, 0.5, 1.0, 30.0]
    density = spectral_density(quadratic(symmetric(spectrum)), probes=2, steps=80)
    for quadrature in density.probes:
        assert quadrature.nodes == pytest.approx(spectrum, rel=tolerance(1e-12))
    assert density.products == 8


def test_the_smoothed_density_has_integral_one_and_the_mass_where_the_spectrum_is() -> None:
    spectrum = np.concatenate([np.full(90, 0.0), np.full(10, 10.0)]) + np.linspace(-0.1, 0.1, 100)
    density = spectral_density(quadratic(symmetric(spectrum)), probes=50, steps=30, points=1000, products_per_pass=50)
    grid, values = np.array(density.grid), np.array(density.values)
    assert np.trapezoid(values, grid) == pytest.approx(1, rel=tolerance(1e-12))
    assert (values >= 0).all()
    right = grid > 5
    assert np.trapezoid(values[right], grid[right]) == pytest.approx(0.1, abs=0.02)
    assert density.width == pytest.approx(0.01 * 10.2, rel=0.01)
    assert grid[0] == pytest.approx(-0.1 - 4 * density.width, abs=0.01)


@pytest.mark.parametrize("eigenvalue", [0.0, -3.0])
def test_a_single_eigenvalue_has_a_density(eigenvalue: float) -> None:
    density = spectral_density(quadratic(symmetric([eigenvalue] * 5)), probes=1)
    assert density.probes[0].nodes == pytest.approx((eigenvalue,))
    assert density.probes[0].weights == pytest.approx((1.0,))
    assert density.grid[np.argmax(density.values)] == pytest.approx(eigenvalue, abs=density.width / 10)


def test_the_width_is_the_standard_deviation_of_the_gaussians() -> None:
    density = spectral_density(quadratic(symmetric([-3.0] * 5)), probes=1)
    grid, values = np.array(density.grid), np.array(density.values)
    variance = np.trapezoid(values * (grid + 3) ** 2, grid)
    assert np.sqrt(variance) == pytest.approx(density.width, rel=2e-3)  # the grid ends after four widths


def test_probes_share_passes() -> None:
    surface = solution("mlp").surface()
    alone = spectral_density(surface, probes=4, steps=5, products_per_pass=1)
    spent_alone = surface.ledger.gradients
    shared = spectral_density(surface, probes=4, steps=5, products_per_pass=3)
    assert (spent_alone, surface.ledger.gradients - spent_alone) == (3 * 20, 3 * 10)
    assert shared.products == alone.products == 20
    for one, other in zip(alone.probes, shared.probes, strict=True):
        assert other.nodes == pytest.approx(one.nodes, rel=tolerance(1e-9))
