"""Estimates of the trace: their errors, their standard errors, and how both fall."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from curvlinops import HessianLinearOperator
from curvlinops import hutchinson_trace as curvlinops_trace
from torch import nn

from benchbench.curvature.trace import TraceEstimate, hutch_plus_plus_trace, hutchinson_trace
from tests.accelerator import every_device, tolerance
from tests.curvature.surfaces import dense, every_model, quadratic, solution, symmetric

pytestmark = every_device

METHODS = [hutchinson_trace, hutch_plus_plus_trace]
Method = Callable[..., TraceEstimate]
every_method = pytest.mark.parametrize("method", METHODS)


@every_method
@every_model
def test_is_within_its_standard_error_of_the_dense_trace(method: Method, name: str, training: bool) -> None:
    found = solution(name, training=training)
    trace = dense(name, training=training).hessian.trace().item()
    estimate = method(found.surface(), products=60, products_per_pass=20)
    assert estimate.standard_error is not None
    assert abs(estimate.value - trace) <= 4 * estimate.standard_error + 1e-12 * abs(trace)
    assert estimate.products == 60


def test_agrees_with_curvlinops() -> None:
    found = solution("conv_bn")
    operator = HessianLinearOperator(
        found.model, nn.CrossEntropyLoss(), list(found.model.parameters()), found.batches, check_deterministic=False
    )
    torch.manual_seed(0)
    theirs = float(curvlinops_trace(operator, num_matvecs=100))
    ours = hutchinson_trace(found.surface(), products=100)
    assert ours.standard_error is not None
    assert abs(ours.value - theirs) <= 4 * np.sqrt(2) * ours.standard_error


def test_the_variance_of_hutchinson_is_that_of_the_off_diagonal_entries() -> None:
    hessian = symmetric(np.linspace(-3, 5, 12))
    estimate = hutchinson_trace(quadratic(hessian), products=1000, products_per_pass=500)
    off_diagonal = hessian - torch.diag(hessian.diagonal())
    expected = np.sqrt(2 * off_diagonal.square().sum().item() / 1000)
    assert estimate.standard_error == pytest.approx(expected, rel=0.1)


@every_method
def test_the_standard_error_covers_the_error(method: Method) -> None:
    """Over repetitions the error in units of its standard error has a second moment of about one."""
    hessian = symmetric(np.linspace(-3, 5, 40))
    surface, trace = quadratic(hessian), hessian.trace().item()
    estimates = [method(surface, products=30, products_per_pass=30, seed=seed) for seed in range(80)]
    scaled = np.array([(e.value - trace) / (e.standard_error or np.nan) for e in estimates])
    assert abs(scaled.mean()) < 0.35
    assert 0.7 < np.sqrt(np.mean(scaled**2)) < 1.35


def fall(method: Method, spectrum: np.ndarray, repetitions: int = 50) -> float:
    """Return the slope of log(root mean square error) over log(products)."""
    hessian = symmetric(spectrum)
    surface, trace = quadratic(hessian), hessian.trace().item()
    numbers = np.array([6, 12, 24, 48])
    errors = []
    for n in numbers:
        values = [method(surface, products=int(n), products_per_pass=48, seed=s).value for s in range(repetitions)]
        errors.append(np.sqrt(np.mean((np.array(values) - trace) ** 2)))
    return float(np.polyfit(np.log(numbers), np.log(errors), 1)[0])


def test_the_error_of_hutchinson_falls_with_the_root_of_its_products() -> None:
    assert -0.65 < fall(hutchinson_trace, np.arange(1, 101.0) ** -2.0) < -0.35


def test_the_error_of_hutch_plus_plus_falls_faster_on_a_decaying_spectrum() -> None:
    assert fall(hutch_plus_plus_trace, np.arange(1, 101.0) ** -2.0) < -1


def test_hutch_plus_plus_is_exact_for_a_low_rank() -> None:
    hessian = symmetric([7.0, -3.0, 1.0] + [0.0] * 30)
    estimate = hutch_plus_plus_trace(quadratic(hessian), products=12)
    assert estimate.value == pytest.approx(5, rel=tolerance(1e-12))
    assert estimate.standard_error == pytest.approx(0, abs=tolerance(1e-12))


def test_hutch_plus_plus_spends_all_its_products_where_there_are_more_than_dimensions() -> None:
    surface = quadratic(symmetric([3.0, -1.0]))
    estimate = hutch_plus_plus_trace(surface, products=14)
    assert (estimate.value, estimate.samples) == (pytest.approx(2, rel=tolerance(1e-12)), 10)
    assert surface.ledger.hvps == estimate.products == 14


@every_method
def test_sharing_passes_changes_the_cost_and_not_the_probes(method: Method) -> None:
    surface = solution("mlp").surface()
    alone = method(surface, products=12, products_per_pass=1)
    spent_alone = surface.ledger.gradients
    shared = method(surface, products=12, products_per_pass=4)
    assert shared.value == pytest.approx(alone.value, rel=tolerance(1e-12))
    assert shared.standard_error == pytest.approx(alone.standard_error, rel=tolerance(1e-9))
    assert (spent_alone, surface.ledger.gradients - spent_alone) == (3 * 12, 3 * 3)


@every_method
def test_the_seed_decides_the_numbers(method: Method) -> None:
    surface = solution("mlp").surface()
    first, again, other = (method(surface, products=9, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_one_probe_has_no_standard_error() -> None:
    assert hutchinson_trace(solution("mlp").surface(), products=1).standard_error is None


def test_hutch_plus_plus_needs_three_products() -> None:
    with pytest.raises(ValueError, match="at least 3"):
        hutch_plus_plus_trace(solution("mlp").surface(), products=2)
