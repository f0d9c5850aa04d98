"""The paper's Shampoo and the grafted one against their formulas in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from baselines.matrix_roots import inverse_root
from baselines.shampoo import Shampoo
from baselines.shampoo_grafted import GraftedShampoo
from tests.accelerator import current_device, every_device, needs, tolerance
from tests.helpers import model_cases
from tests.helpers.model_cases import Case, Oracle, assert_same_path

pytestmark = every_device

STEPS = 50
Arrays = list[np.ndarray]


def power(matrix: np.ndarray, exponent: float) -> np.ndarray:
    """Return a power of a symmetric positive definite matrix from its singular values."""
    u, s, vh = np.linalg.svd(matrix)
    return (u * s**exponent) @ vh


def along(matrix: np.ndarray, tensor: np.ndarray, dim: int) -> np.ndarray:
    return np.moveaxis(np.tensordot(matrix, tensor, axes=(1, dim)), 0, dim)


def outer(tensor: np.ndarray, dim: int) -> np.ndarray:
    others = [d for d in range(tensor.ndim) if d != dim]
    return np.tensordot(tensor, tensor, axes=(others, others))


def shampoo(case: Case, *, lr: float, momentum: float, weight_decay: float, eps: float, update_freq: int = 1) -> Arrays:
    oracle = Oracle(case)
    x = oracle.start()
    statistics = [[eps * np.eye(n) for n in a.shape] for a in x]
    roots: list[dict[int, np.ndarray]] = [{} for _ in x]
    buffers = [np.zeros_like(a) for a in x]
    for t in range(STEPS):
        for i, g in enumerate(oracle.gradient(x, t)):
            u = g if t == 0 else (1 - momentum) * g + momentum * buffers[i]
            u = u + weight_decay * x[i]
            for d in range(g.ndim):
                statistics[i][d] = statistics[i][d] + outer(u, d)
                if t % update_freq == 0:
                    roots[i][d] = power(statistics[i][d], -1 / g.ndim)
                u = along(roots[i][d], u, d)
            buffers[i] = u
        x = [a - lr * b for a, b in zip(x, buffers, strict=True)]
    return x


def grafted(
    case: Case,
    *,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-12,
    weight_decay: float = 0.0,
    graft: str = "adam",
    accumulate: bool = False,
    update_freq: int = 10,
    max_size: int = 1024,
) -> Arrays:
    oracle = Oracle(case)
    x = oracle.start()
    beta1, beta2 = betas
    m, v = [np.zeros_like(a) for a in x], [np.zeros_like(a) for a in x]
    dims = [[d for d in range(a.ndim) if a.shape[d] <= max_size] for a in x]
    statistics = [{d: np.zeros((a.shape[d],) * 2) for d in ds} for a, ds in zip(x, dims, strict=True)]
    roots: list[dict[int, np.ndarray]] = [{} for _ in x]
    for t in range(1, STEPS + 1):
        g = oracle.gradient(x, t - 1)
        new = []
        for i, a in enumerate(x):
            m[i] = beta1 * m[i] + (1 - beta1) * g[i]
            v[i] = beta2 * v[i] + (1 - beta2) * g[i] ** 2
            momentum = m[i] / (1 - beta1**t)
            s = momentum
            for d in dims[i]:
                old, weight = (1, 1) if accumulate else (beta2, 1 - beta2)
                statistics[i][d] = old * statistics[i][d] + weight * outer(g[i], d)
                if (t - 1) % update_freq == 0:
                    total = 1 if accumulate else 1 - beta2**t
                    damped = statistics[i][d] / total + eps * np.eye(a.shape[d])
                    roots[i][d] = power(damped, -1 / (2 * len(dims[i])))
                s = along(roots[i][d], s, d)
            step = momentum
            if graft == "adam":
                step = step / (np.sqrt(v[i] / (1 - beta2**t)) + 1e-8)
            s = s * np.linalg.norm(step) / np.linalg.norm(s)
            new.append((1 - lr * weight_decay) * a - lr * s)
        x = new
    return x


@pytest.mark.parametrize("name", model_cases.NAMES)
@pytest.mark.parametrize(
    "settings",
    [
        {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "eps": 1.0},
        {"lr": 0.05, "momentum": 0.0, "weight_decay": 0.0, "eps": 0.01, "update_freq": 3},
    ],
)
def test_the_papers_shampoo_follows_its_formula(name: str, settings: dict[str, Any]) -> None:
    case = model_cases.build(name)
    expected = shampoo(case, **settings)
    used = case.used()
    optimizer = Shampoo(case.model.parameters(), **settings)
    for t in range(STEPS):
        optimizer.step(case.loss(t))
    assert_same_path(used, expected)


@pytest.mark.parametrize("name", model_cases.NAMES)
@pytest.mark.parametrize(
    "settings",
    [
        {"lr": 0.01, "eps": 1e-3, "weight_decay": 0.1},
        {"lr": 0.1, "eps": 1e-2, "accumulate": True, "graft": "sgd", "update_freq": 1},
        {"lr": 0.01, "eps": 1e-2, "update_freq": 3, "max_size": 4, "betas": (0.0, 0.9)},
    ],
)
def test_grafted_shampoo_follows_its_formula(name: str, settings: dict[str, Any]) -> None:
    case = model_cases.build(name)
    expected = grafted(case, **settings)
    used = case.used()
    optimizer = GraftedShampoo(case.model.parameters(), **settings)
    for t in range(STEPS):
        optimizer.step(case.loss(t))
    assert_same_path(used, expected)


def test_the_first_step_of_the_published_exponent_orthogonalises_a_matrix() -> None:
    """(G G')^(-1/4) G (G' G)^(-1/4) has all singular values 1, so grafted it is U V' ||G|| / sqrt(n)."""
    needs(torch.float64)
    gradient = torch.randn(3, 3, dtype=torch.float64).to(current_device())
    weights = torch.nn.Parameter(torch.zeros_like(gradient))
    optimizer = GraftedShampoo([weights], lr=1.0, graft="sgd", accumulate=True)
    optimizer.step(lambda: torch.sum(weights * gradient))
    u, _, vh = torch.linalg.svd(gradient)
    expected = -(u @ vh) * gradient.norm() / 3**0.5
    torch.testing.assert_close(weights.detach(), expected, rtol=tolerance(1e-7), atol=tolerance(1e-7))


def test_a_root_survives_what_rounding_does_to_small_eigenvalues() -> None:
    """In single precision 1e-4 I + x x' has eigenvalues that come out negative when x is long."""
    x = 1e3 * torch.randn(64, 1)
    matrix = 1e-4 * torch.eye(64) + x @ x.T
    assert torch.linalg.eigvalsh(matrix).min() < 0
    root = inverse_root(matrix.to(current_device()), exponent=-1 / 4, least=1e-4)
    assert root.isfinite().all()
    assert root.abs().max() <= 10.0 * 1.01
