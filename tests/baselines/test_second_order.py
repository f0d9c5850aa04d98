"""AdaHessian and Sophia-H against their formulas in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from baselines.adahessian import AdaHessian
from baselines.sophia_h import SophiaH
from benchbench.optim.ledger import Ledger
from benchbench.optim.objective import Objective
from tests.accelerator import every_device
from tests.helpers import model_cases
from tests.helpers.model_cases import Case, Oracle, assert_same_path
from tests.sassha.test_sassha import signs, weights

pytestmark = every_device

STEPS = 50
Arrays = list[np.ndarray]


def estimate(case: Case, oracle: Oracle, x: Arrays, t: int, n_samples: int) -> Arrays:
    d = [np.zeros_like(a) for a in x]
    for z in signs(case, oracle, t, n_samples=n_samples):
        d = [a + b * c / n_samples for a, b, c in zip(d, z, oracle.product(x, z, t), strict=True)]
    return d


def adahessian(
    case: Case,
    *,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-4,
    weight_decay: float = 0.0,
    hessian_power: float = 1.0,
    lazy_hessian: int = 1,
    n_samples: int = 1,
    spatial_averaging: bool = True,
) -> list[Arrays]:
    oracle = Oracle(case)
    x = oracle.start()
    m, v = [np.zeros_like(a) for a in x], [np.zeros_like(a) for a in x]
    beta1, beta2 = betas
    path = []
    for t in range(1, STEPS + 1):
        g = oracle.gradient(x, t)
        if (t - 1) % lazy_hessian == 0:
            d = estimate(case, oracle, x, t, n_samples)
            if spatial_averaging:
                d = [np.broadcast_to(np.abs(a).mean((2, 3), keepdims=True), a.shape) if a.ndim == 4 else a for a in d]
        m = [beta1 * a + (1 - beta1) * b for a, b in zip(m, g, strict=True)]
        v = [beta2 * a + (1 - beta2) * b**2 for a, b in zip(v, d, strict=True)]
        x = [a * (1 - lr * weight_decay) for a in x]
        x = [
            a - lr * b / (1 - beta1**t) / ((c / (1 - beta2**t)) ** (hessian_power / 2) + eps)
            for a, b, c in zip(x, m, v, strict=True)
        ]
        path.append(x)
    return path


def sophia_h(
    case: Case,
    *,
    lr: float,
    betas: tuple[float, float] = (0.965, 0.99),
    gamma: float = 0.01,
    eps: float = 1e-15,
    weight_decay: float = 0.0,
    lazy_hessian: int = 10,
    n_samples: int = 1,
) -> list[Arrays]:
    oracle = Oracle(case)
    x = oracle.start()
    m, h = [np.zeros_like(a) for a in x], [np.zeros_like(a) for a in x]
    beta1, beta2 = betas
    path = []
    for t in range(1, STEPS + 1):
        g = oracle.gradient(x, t)
        if (t - 1) % lazy_hessian == 0:
            d = estimate(case, oracle, x, t, n_samples)
            h = [beta2 * a + (1 - beta2) * b for a, b in zip(h, d, strict=True)]
        m = [beta1 * a + (1 - beta1) * b for a, b in zip(m, g, strict=True)]
        x = [a * (1 - lr * weight_decay) for a in x]
        x = [
            a - lr * np.sign(b) * np.minimum(1, np.abs(b) / (gamma * np.maximum(c, 0) + eps))
            for a, b, c in zip(x, m, h, strict=True)
        ]
        path.append(x)
    return path


def check_path(case: Case, optimizer: torch.optim.Optimizer, expected: list[Arrays]) -> None:
    used = case.used()
    for t in range(1, STEPS + 1):
        optimizer.step(case.loss(t))
        assert_same_path(used, expected[t - 1])


@pytest.mark.parametrize("name", model_cases.NAMES)
@pytest.mark.parametrize(
    "settings",
    [
        {"lr": 0.02, "weight_decay": 0.1},
        {"lr": 0.02, "lazy_hessian": 3, "hessian_power": 0.8, "betas": (0.8, 0.9), "n_samples": 2},
        {"lr": 0.02, "spatial_averaging": False, "eps": 1e-2},
    ],
)
def test_adahessian_follows_its_formula(name: str, settings: dict[str, Any]) -> None:
    case = model_cases.build(name)
    expected = adahessian(case, **settings)
    check_path(case, AdaHessian(case.model.parameters(), **settings), expected)


@pytest.mark.parametrize("name", model_cases.NAMES)
@pytest.mark.parametrize(
    "settings",
    [
        {"lr": 0.01, "lazy_hessian": 1, "betas": (0.9, 0.999), "eps": 1e-4, "weight_decay": 0.1},
        {"lr": 0.01, "gamma": 10.0, "eps": 1e-6, "lazy_hessian": 4, "n_samples": 2},
    ],
)
def test_sophia_h_follows_its_formula(name: str, settings: dict[str, Any]) -> None:
    case = model_cases.build(name)
    expected = sophia_h(case, **settings)
    check_path(case, SophiaH(case.model.parameters(), **settings), expected)


def test_sophia_h_clips_and_takes_the_sign_where_the_curvature_is_not_positive() -> None:
    x = weights(0.5, -2.0, 1e-9)
    optimizer = SophiaH([x], lr=0.1, betas=(0.0, 0.0), gamma=1.0)
    start = x.detach().clone()
    signs_of_curvature = torch.tensor([-1.0, -1.0, 1.0]).to(x)
    optimizer.step(lambda: (signs_of_curvature * x**2).sum() / 2)
    moved = (x.detach() - start) / 0.1
    assert moved.tolist() == pytest.approx([1.0, -1.0, -1e-9], rel=1e-5)


@pytest.mark.parametrize("optimizer_class", [AdaHessian, SophiaH])
@pytest.mark.parametrize("k", [1, 3])
def test_hessians_come_at_t_1_and_every_k_steps(optimizer_class: Any, k: int) -> None:
    case = model_cases.build("mlp")
    optimizer = optimizer_class(case.model.parameters(), lazy_hessian=k)
    ledger = Ledger()
    asked = []
    for t in range(1, 9):
        before = ledger.hvps
        optimizer.step(Objective(case.loss(t), case.parameters(), ledger=ledger))
        asked += [t] if ledger.hvps > before else []
    assert asked == list(range(1, 9, k))
    assert ledger.gradients == 8
