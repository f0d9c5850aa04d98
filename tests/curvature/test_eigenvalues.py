"""The ends of the spectrum against dense ones, and the residuals against what they promise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from curvlinops import HessianLinearOperator
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import eigsh
from torch import nn

from benchbench.curvature.eigenvalues import ExtremeEigenvalues, lanczos_eigenvalues, power_iteration
from tests.accelerator import every_device, tolerance
from tests.curvature.surfaces import dense, every_model, quadratic, solution, symmetric

pytestmark = every_device


def assert_within_bound(found: ExtremeEigenvalues, spectrum: torch.Tensor) -> None:
    """Weyl: an eigenvalue lies within ||Hv - value v|| of the value."""
    for eigenvalue in (found.largest, found.smallest):
        if eigenvalue is not None:
            error = (spectrum - eigenvalue.value).abs().min().item()
            assert error <= eigenvalue.error_bound + 1e-12 * spectrum.abs().max().item()


@every_model
def test_lanczos_finds_the_ends_of_the_dense_spectrum(name: str, training: bool) -> None:
    found = solution(name, training=training)
    spectrum = dense(name, training=training).eigenvalues
    ends = lanczos_eigenvalues(found.surface(), tolerance=1e-8, max_iterations=len(spectrum))
    assert ends.largest.converged
    assert ends.largest.residual <= 1e-8
    assert ends.largest.value == pytest.approx(spectrum[-1].item(), rel=tolerance(1e-8))
    assert_within_bound(ends, spectrum)


def test_lanczos_agrees_with_arpack_on_curvlinops() -> None:
    found = solution("conv_bn")
    operator = HessianLinearOperator(
        found.model, nn.CrossEntropyLoss(), list(found.model.parameters()), found.batches, check_deterministic=False
    )
    (expected,) = eigsh(operator.to_scipy(), k=1, which="LA", return_eigenvectors=False)
    assert lanczos_eigenvalues(found.surface(), tolerance=1e-6).largest.value == pytest.approx(
        expected, rel=tolerance(1e-6)
    )


@settings(max_examples=20)
@given(
    spectrum=st.lists(st.integers(-100, 100), min_size=1, max_size=12),
    tolerance=st.sampled_from([1e-1, 1e-3, 1e-9]),
    seed=st.integers(0, 1000),
)
def test_the_error_is_within_its_bound(spectrum: list[int], tolerance: float, seed: int) -> None:
    hessian = symmetric(spectrum, seed)
    surface, exact = quadratic(hessian), torch.linalg.eigvalsh(hessian.cpu())
    for find in (lanczos_eigenvalues, power_iteration):
        found = find(surface, tolerance=tolerance, max_iterations=15, seed=seed)
        assert_within_bound(found, exact)
    ends = lanczos_eigenvalues(surface, tolerance=tolerance, seed=seed)
    assert ends.largest.converged == (ends.largest.residual <= tolerance)
    assert ends.iterations <= len(spectrum)


def test_the_residual_is_measured() -> None:
    """One iteration has the start vector as its Ritz vector, and its Rayleigh quotient as the value."""
    hessian = symmetric([5.0, 2.0, -1.0, 0.5])
    ends = lanczos_eigenvalues(quadratic(hessian), max_iterations=1, seed=3)
    assert ends.largest == ends.smallest
    assert not ends.largest.converged
    start = power_iteration(quadratic(hessian), max_iterations=1, seed=3).largest
    assert ends.largest.value == pytest.approx(start.value, rel=tolerance(1e-12))
    assert ends.largest.error_bound == pytest.approx(start.error_bound, rel=tolerance(1e-12))
    assert ends.largest.residual == pytest.approx(
        ends.largest.error_bound / abs(ends.largest.value), rel=tolerance(1e-14)
    )
    assert ends.largest.residual > 0.1


def test_both_ends_of_an_indefinite_spectrum() -> None:
    spectrum = np.concatenate([[-9.0], np.linspace(-1, 1, 48), [4.0]])
    ends = lanczos_eigenvalues(quadratic(symmetric(spectrum), parts=(3, 1)), tolerance=1e-8)
    assert ends.largest.value == pytest.approx(4, rel=tolerance(1e-12))
    assert ends.smallest is not None
    assert ends.smallest.value == pytest.approx(-9, rel=tolerance(1e-12))
    assert ends.products == ends.iterations + 2


def test_power_iteration_finds_the_largest_magnitude() -> None:
    found = power_iteration(quadratic(symmetric([-9.0, 4.0, 1.0])), tolerance=1e-12)
    assert found.largest.value == pytest.approx(-9, rel=tolerance(1e-10))
    assert found.largest.converged
    assert found.smallest is None
    assert found.products == found.iterations


@pytest.mark.parametrize("find", [lanczos_eigenvalues, power_iteration])
def test_says_when_it_did_not_converge(find: type) -> None:
    surface = quadratic(symmetric(np.linspace(1, 2, 60)))
    found = find(surface, tolerance=1e-9, max_iterations=4)
    assert (found.iterations, found.largest.converged) == (4, False)
    assert found.largest.residual > 1e-9


@pytest.mark.parametrize("find", [lanczos_eigenvalues, power_iteration])
def test_a_flat_surface_has_eigenvalue_zero(find: type) -> None:
    found = find(quadratic(symmetric([0.0] * 4)))
    assert (found.largest.value, found.largest.residual, found.largest.converged) == (0, 0, True)
    assert found.iterations == 1


@pytest.mark.parametrize("find", [lanczos_eigenvalues, power_iteration])
def test_the_seed_decides_the_numbers(find: type) -> None:
    surface = solution("mlp").surface()
    first, again, other = (find(surface, tolerance=1e-2, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("find", [lanczos_eigenvalues, power_iteration])
def test_the_tolerance_is_relative(find: type) -> None:
    """The unit of the loss decides nothing about when to stop."""
    hessian = symmetric([5.0, 4.0, -1.0, 0.5])
    iterations = {find(quadratic(unit * hessian), tolerance=1e-3).iterations for unit in (1e-4, 1.0, 1e4)}
    assert len(iterations) == 1
