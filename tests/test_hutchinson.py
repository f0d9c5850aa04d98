"""Probes and the diagonal of the Hessian against dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from curvlinops import HessianLinearOperator
from torch import nn

from benchbench.hutchinson import hessian_diagonal, rademacher
from benchbench.objective import Objective
from tests import cases
from tests.accelerator import current_device, every_device, needs, tolerance
from tests.cases import dense_hessian, flat, to_array

pytestmark = every_device


@pytest.mark.parametrize("name", cases.NAMES)
def test_the_estimate_is_z_times_hz_of_the_dense_hessian(name: str) -> None:
    case = cases.build(name)
    hessian, used = dense_hessian(case), case.used()
    objective = Objective(case.loss(), case.parameters())
    _, diagonal = hessian_diagonal(objective, n_samples=3, seed=4, step=2)
    probes = rademacher(case.parameters(), n_samples=3, seed=4, step=2)
    expected = np.zeros(len(hessian))
    for probe in probes:
        z = flat([to_array(z) for z, p in zip(probe, case.parameters(), strict=True) if any(p is q for q in used)])
        expected += z * (hessian @ z) / 3
    found = flat([to_array(diagonal[p]) for p in used])
    assert np.abs(found - expected).max() <= tolerance(1e-12) * np.abs(expected).max()


def test_the_mean_over_all_probes_is_the_diagonal() -> None:
    case = cases.build("mlp")
    hessian = dense_hessian(case)
    objective = Objective(case.loss(), case.parameters())
    _, diagonal = hessian_diagonal(objective, n_samples=1000, seed=0, step=0)
    found = flat([to_array(diagonal[p]) for p in case.parameters()])
    off_diagonal = hessian - np.diag(np.diag(hessian))
    standard_error = np.sqrt((off_diagonal**2).sum(1) / 1000)
    assert (np.abs(found - np.diag(hessian)) <= 4.5 * standard_error + 1e-15).all()


def test_agrees_with_curvlinops() -> None:
    case = cases.build("conv_bn")
    case.model.eval()  # it differentiates functionally, where running statistics must not move
    used = case.used()
    operator = HessianLinearOperator(
        case.model, nn.CrossEntropyLoss(), list(case.model.parameters()), [case.batches[0]]
    )
    vectors = [torch.randn_like(p) for p in used]
    _, (product,) = Objective(case.loss(), case.parameters()).with_hvp([vectors])
    expected = operator @ torch.cat([v.flatten() for v in vectors])
    found = torch.cat([p.flatten() for p in product])
    torch.testing.assert_close(found, expected, rtol=tolerance(1e-10), atol=tolerance(1e-13))


def test_probes_are_fair_independent_signs() -> None:
    like = [torch.empty(100, 50, device=current_device()), torch.empty(5000, device=current_device())]
    first, second = rademacher(like, n_samples=2, seed=0, step=0)
    assert all(p.shape == t.shape and p.dtype == t.dtype for p, t in zip(first, like, strict=True))
    assert set(torch.cat([p.flatten() for p in first]).tolist()) == {-1.0, 1.0}
    samples = [first[0].flatten(), first[1], second[0].flatten(), second[1]]
    samples += [p.flatten() for p in rademacher(like, n_samples=1, seed=0, step=1)[0]]
    samples += [p.flatten() for p in rademacher(like, n_samples=1, seed=1, step=0)[0]]
    correlation = torch.stack(samples) @ torch.stack(samples).T / 5000
    assert (correlation.cpu() - torch.eye(len(samples))).abs().max() < 4.5 / np.sqrt(5000)
    assert all(abs(s.mean()) < 4.5 / np.sqrt(5000) for s in samples)


def test_probes_depend_on_seed_and_step_alone() -> None:
    needs(torch.float64)
    dtypes = {(7,): torch.float32, (2, 3): torch.float64, (5,): torch.bfloat16}
    like = [torch.empty(shape, dtype=dtype, device=current_device()) for shape, dtype in dtypes.items()]
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = rademacher(like, n_samples=1, seed=3, step=9)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    again = rademacher(like, n_samples=1, seed=3, step=9)
    for a, b, t in zip(first[0], again[0], like, strict=True):
        assert torch.equal(a, b)
        assert a.dtype == t.dtype
