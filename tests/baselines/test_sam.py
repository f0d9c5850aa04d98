"""SAM over its bases against formulas in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from baselines.sam import SAM
from tests.accelerator import every_device
from tests.helpers import model_cases
from tests.helpers.model_cases import Case, Oracle, assert_same_path

pytestmark = every_device

STEPS = 50
Arrays = list[np.ndarray]


def perturbed(x: Arrays, g: Arrays, rho: float, adaptive: bool) -> Arrays:
    scale = [np.abs(a) if adaptive else np.ones_like(a) for a in x]
    norm = np.sqrt(sum(np.sum((s * b) ** 2) for s, b in zip(scale, g, strict=True)))
    return [a + rho * s**2 * b / (norm + 1e-12) for a, s, b in zip(x, scale, g, strict=True)]


def sgd(case: Case, *, rho: float, adaptive: bool, lr: float, momentum: float, weight_decay: float) -> Arrays:
    oracle = Oracle(case)
    x = oracle.start()
    v: Arrays = []
    for t in range(STEPS):
        g = oracle.gradient(perturbed(x, oracle.gradient(x, t), rho, adaptive), t)
        g = [a + weight_decay * b for a, b in zip(g, x, strict=True)]
        v = g if t == 0 else [momentum * a + b for a, b in zip(v, g, strict=True)]
        x = [a - lr * b for a, b in zip(x, v, strict=True)]
    return x


def adamw(case: Case, *, rho: float, adaptive: bool, lr: float, weight_decay: float, eps: float) -> Arrays:
    oracle = Oracle(case)
    x = oracle.start()
    m, v = [np.zeros_like(a) for a in x], [np.zeros_like(a) for a in x]
    for t in range(1, STEPS + 1):
        g = oracle.gradient(perturbed(x, oracle.gradient(x, t - 1), rho, adaptive), t - 1)
        m = [0.9 * a + 0.1 * b for a, b in zip(m, g, strict=True)]
        v = [0.999 * a + 0.001 * b**2 for a, b in zip(v, g, strict=True)]
        x = [
            a * (1 - lr * weight_decay) - lr * b / (1 - 0.9**t) / (np.sqrt(c / (1 - 0.999**t)) + eps)
            for a, b, c in zip(x, m, v, strict=True)
        ]
    return x


@pytest.mark.parametrize("name", model_cases.NAMES)
@pytest.mark.parametrize("adaptive", [False, True])
def test_over_sgd(name: str, adaptive: bool) -> None:
    case = model_cases.build(name)
    settings: dict[str, Any] = {
        "rho": 0.2,
        "adaptive": adaptive,
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 0.01,
    }
    expected = sgd(case, **settings)
    used = case.used()
    run(case, SAM(case.model.parameters(), **settings))
    assert_same_path(used, expected)


@pytest.mark.parametrize("name", model_cases.NAMES)
def test_over_adamw(name: str) -> None:
    case = model_cases.build(name)
    # With the usual eps of 1e-8 Adam would blow up the rounding errors in gradients that are zero (of
    # attention's key biases).
    settings: dict[str, Any] = {"rho": 0.1, "adaptive": False, "lr": 0.01, "weight_decay": 0.1, "eps": 1e-3}
    expected = adamw(case, **settings)
    used = case.used()
    run(case, SAM(case.model.parameters(), torch.optim.AdamW, **settings))
    assert_same_path(used, expected)


def run(case: Case, optimizer: torch.optim.Optimizer) -> None:
    for t in range(STEPS):
        optimizer.step(case.loss(t))


def test_without_a_radius_it_is_the_base() -> None:
    case = model_cases.build("mlp")
    plain = case.copy()
    sam = SAM(case.model.parameters(), torch.optim.Adam, rho=0.0, lr=0.02)
    adam = torch.optim.Adam(plain.model.parameters(), lr=0.02)
    for t in range(10):
        sam.step(case.loss(t))
        adam.zero_grad()
        plain.loss(t)().backward()
        adam.step()
    assert all(torch.equal(p, q) for p, q in zip(case.parameters(), plain.parameters(), strict=True))


def test_a_base_that_evaluates_often_gets_a_sharpness_aware_gradient_each_time() -> None:
    case = model_cases.build("mlp")
    before = case.loss()().item()
    optimizer = SAM(case.model.parameters(), torch.optim.LBFGS, lr=0.5, max_iter=4, rho=0.01)
    loss = optimizer.step(case.loss())
    assert float(loss) == before
    assert case.loss()().item() < before


@pytest.mark.parametrize("reload", [False, True])
def test_schedulers_and_groups_reach_the_base(reload: bool) -> None:
    case = model_cases.build("mlp")
    first, second = case.parameters()[:2], case.parameters()[2:]
    optimizer = SAM([{"params": first, "lr": 0.0, "rho": 0.5}], lr=0.1, momentum=0.9)
    optimizer.add_param_group({"params": second})
    if reload:
        optimizer.load_state_dict(optimizer.state_dict())
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.0)
    assert optimizer.base.param_groups is optimizer.param_groups
    assert [g["rho"] for g in optimizer.param_groups] == [0.5, 0.05]
    assert [g["lr"] for g in optimizer.base.param_groups] == [0.0, 0.1]
    start = [p.detach().clone() for p in case.parameters()]
    optimizer.step(case.loss())
    moved = [not torch.equal(p, s) for p, s in zip(case.parameters(), start, strict=True)]
    assert moved == [False] * len(first) + [True] * len(second)
    scheduler.step()
    after = [p.detach().clone() for p in case.parameters()]
    optimizer.step(case.loss())
    assert all(torch.equal(p, a) for p, a in zip(case.parameters(), after, strict=True))
