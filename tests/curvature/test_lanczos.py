"""Lanczos' iteration itself: bases of many vectors stay orthonormal, and its pairs are those of the matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchbench.curvature.lanczos import Lanczos
from tests.accelerator import current_device, every_device, tolerance
from tests.curvature.surfaces import symmetric

pytestmark = every_device


def iterate(hessian: torch.Tensor, steps: int) -> Lanczos:
    lanczos = Lanczos(torch.ones(len(hessian)).to(hessian))
    while not lanczos.ended and len(lanczos) < steps:
        lanczos.advance(hessian @ lanczos.vector)
    return lanczos


@pytest.mark.parametrize("steps", [1, 16, 17, 45, 60])
def test_residuals_are_known_without_a_product(steps: int) -> None:
    hessian = symmetric(np.concatenate([[1e4], np.linspace(-2, 2, 59)]))
    lanczos = iterate(hessian, steps)
    assert len(lanczos) == steps
    values, vectors = lanczos.ritz()
    for value, column in zip(values, vectors.T, strict=True):
        vector = lanczos.combine(column)
        residual = torch.linalg.vector_norm(hessian @ vector - value * vector).item()
        assert lanczos.residual(column) == pytest.approx(residual, rel=tolerance(1e-6), abs=tolerance(1e-9))
    if steps == 60:
        assert lanczos.ended


def test_an_outlier_is_found_once() -> None:
    """In floating point, the three-term recurrence alone finds it again and again."""
    spectrum = np.concatenate([[1e4], np.linspace(1, 2, 79)])
    values, _ = iterate(symmetric(spectrum), 80).ritz()
    np.testing.assert_allclose(values.cpu().numpy(), np.sort(spectrum), rtol=tolerance(1e-9))


def test_ends_with_an_invariant_space() -> None:
    lanczos = iterate(symmetric([3.0] * 10 + [-1.0] * 10), 20)
    assert len(lanczos) == 2
    assert lanczos.ritz()[0].tolist() == pytest.approx([-1, 3], rel=tolerance(1e-12))


def test_ends_with_a_product_that_is_not_finite() -> None:
    lanczos = Lanczos(torch.ones(3, device=current_device()))
    lanczos.advance(torch.tensor([1.0, torch.inf, 0.0], device=current_device()))
    assert lanczos.ended
    assert not lanczos.finite
