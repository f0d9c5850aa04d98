"""M-SASSHA against its formula in NumPy, and against the order of the released code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from benchbench.optim.ledger import Ledger
from benchbench.optim.objective import Objective
from sassha import MSASSHA
from tests.accelerator import current_device, every_device, tolerance
from tests.helpers import model_cases
from tests.helpers.model_cases import Case, Oracle, assert_same_path
from tests.sassha.test_sassha import signs

pytestmark = every_device

STEPS = 50


def norm(m: list[np.ndarray]) -> float:
    return float(np.sqrt(sum(np.sum(a**2) for a in m)))


def reference(
    case: Case,
    *,
    lr: float,
    rho: float,
    weight_decay: float,
    lazy_hessian: int,
    hessian_power: float,
    eps: float,
) -> list[list[np.ndarray]]:
    """Return the unperturbed weights after each step, computed as the released code means to compute them.

    There the weights live at the perturbed point x - rho m / ||m|| between steps.
    """
    oracle = Oracle(case)
    x = oracle.start()
    m = [np.zeros_like(a) for a in x]
    d = [np.zeros_like(a) for a in x]
    path = []
    for t in range(1, STEPS + 1):
        g = oracle.gradient(x, t)
        if (t - 1) % lazy_hessian == 0:
            (z,) = signs(case, oracle, t)
            h = [a * b for a, b in zip(z, oracle.product(x, z, t), strict=True)]
            d = [0.999 * a + 0.001 * np.abs(b) for a, b in zip(d, h, strict=True)]
            denominator = [(a / (1 - 0.999**t)) ** hessian_power + eps for a in d]
        if t > 1:
            x = [a + rho * b / (norm(m) + 1e-12) for a, b in zip(x, m, strict=True)]
        x = [a * (1 - lr * weight_decay) for a in x]
        m = [0.9 * a + 0.1 * b for a, b in zip(m, g, strict=True)]
        x = [a - lr / (1 - 0.9**t) * b / c for a, b, c in zip(x, m, denominator, strict=True)]
        path.append(x)
        x = [a - rho * b / (norm(m) + 1e-12) for a, b in zip(x, m, strict=True)]
    return path


@pytest.mark.parametrize("name", model_cases.NAMES)
@pytest.mark.parametrize(
    "hyperparameters",
    [
        {"lr": 0.02, "rho": 0.1, "weight_decay": 0.01, "lazy_hessian": 10, "hessian_power": 0.5, "eps": 1e-4},
        {"lr": 0.002, "rho": 0.4, "weight_decay": 0.0, "lazy_hessian": 3, "hessian_power": 1.0, "eps": 0.1},
    ],
)
def test_makes_the_steps_of_the_released_order(name: str, hyperparameters: dict[str, Any]) -> None:
    case = model_cases.build(name)
    expected = reference(case, **hyperparameters)
    used = case.used()
    optimizer = MSASSHA(case.model.parameters(), **hyperparameters)
    for t in range(1, STEPS + 1):
        optimizer.step(case.loss(t))
        # The released code rounds once more per step, when it moves the weights back by subtraction.
        assert_same_path(used, expected[t - 1], on_the_cpu=5e-12)


def test_costs_one_gradient_per_step() -> None:
    case = model_cases.build("mlp")
    optimizer = MSASSHA(case.model.parameters(), lazy_hessian=4)
    ledger = Ledger()
    for t in range(1, 11):
        optimizer.step(Objective(case.loss(t), case.parameters(), ledger=ledger))
    assert (ledger.gradients, ledger.forwards, ledger.hvps) == (10, 10, 3)


def test_looks_ahead_along_the_descent() -> None:
    """From the second step on the loss is evaluated at x - rho m / ||m||, and the weights come back."""
    case = model_cases.build("mlp")
    optimizer = MSASSHA(case.model.parameters(), lr=0.0, rho=0.3)
    before = [p.detach().clone() for p in case.parameters()]
    optimizer.step(case.loss())
    momenta = [optimizer.state[p]["exp_avg"].clone() for p in case.parameters()]
    length = sum(m.pow(2).sum() for m in momenta).sqrt()
    seen = []

    def loss():
        seen.append([p.detach().clone() for p in case.parameters()])
        return case.loss()()

    optimizer.step(loss)
    for found, start, momentum in zip(seen[0], before, momenta, strict=True):
        torch.testing.assert_close(found, start - 0.3 * momentum / length, rtol=tolerance(1e-9), atol=0)
    for parameter, start in zip(case.parameters(), before, strict=True):
        assert parameter.equal(start)


def test_a_momentum_of_zero_perturbs_nothing() -> None:
    weights = torch.nn.Parameter(torch.ones(3, device=current_device()))
    optimizer = MSASSHA([weights], rho=0.1)
    for _ in range(3):
        optimizer.step(lambda: 0 * weights.square().sum())
    assert weights.tolist() == [1.0] * 3


def test_a_weight_that_is_frozen_later_stays_where_it_is_also_while_the_loss_is_evaluated() -> None:
    free, frozen = (torch.nn.Parameter(torch.tensor([1.0, 2.0], device=current_device())) for _ in range(2))
    optimizer = MSASSHA([free, frozen], lr=0.1, rho=0.5)
    seen = []

    def loss() -> torch.Tensor:
        seen.append(frozen.detach().clone())
        return (free**2).sum() + (frozen**4).sum()

    optimizer.step(loss)
    frozen.requires_grad_(False)
    before, free_before = frozen.detach().clone(), free.detach().clone()
    optimizer.step(loss)
    assert torch.equal(seen[-1], before)
    assert torch.equal(frozen, before)
    assert not torch.equal(free, free_before)
