"""SASSHA against its formula in NumPy, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from benchbench.optim.hutchinson import rademacher
from benchbench.optim.ledger import Ledger
from benchbench.optim.objective import Objective
from sassha import SASSHA
from tests.accelerator import current_device, every_device, needs, tolerance
from tests.helpers import model_cases
from tests.helpers.model_cases import Case, Oracle, assert_same_path

pytestmark = every_device

STEPS = 50


def weights(*values: float) -> nn.Parameter:
    needs(torch.float64)
    return nn.Parameter(torch.tensor(values, dtype=torch.float64, device=current_device()))


def signs(case: Case, oracle: Oracle, step: int, *, n_samples: int = 1, seed: int = 0) -> list[list[np.ndarray]]:
    """Return the probes of step t = 1, 2, ... as arrays."""
    probes = rademacher(case.parameters(), n_samples=n_samples, seed=seed, step=step - 1)
    return [oracle.used_part(probe) for probe in probes]


def reference(
    case: Case,
    *,
    lr: Any = 0.15,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-4,
    weight_decay: float = 0.0,
    rho: Any = 0.05,
    lazy_hessian: int = 10,
    n_samples: int = 1,
    hessian_power: float = 0.5,
    adaptive: bool = False,
    absolute: bool = True,
    bias_correction: str = "steps",
    seed: int = 0,
) -> list[list[np.ndarray]]:
    """Return the weights after each step: Algorithm 1, written out. `lr` and `rho` may be functions of t."""
    oracle = Oracle(case)
    x = oracle.start()
    m = [np.zeros_like(a) for a in x]
    d = [np.zeros_like(a) for a in x]
    beta1, beta2 = betas
    updates = 0
    path = []
    for t in range(1, STEPS + 1):
        lr_t = lr(t) if callable(lr) else lr
        rho_t = rho(t) if callable(rho) else rho
        g = oracle.gradient(x, t)
        if adaptive:
            norm = np.sqrt(sum(np.sum((np.abs(a) * b) ** 2) for a, b in zip(x, g, strict=True)))
            e = [rho_t * a**2 * b / (norm + 1e-12) for a, b in zip(x, g, strict=True)]
        else:
            norm = np.sqrt(sum(np.sum(b**2) for b in g))
            e = [rho_t * b / (norm + 1e-12) for b in g]
        perturbed = [a + b for a, b in zip(x, e, strict=True)]
        g = oracle.gradient(perturbed, t)
        if lazy_hessian == 1 or t % lazy_hessian == 1:
            updates += 1
            h = [np.zeros_like(a) for a in x]
            for z in signs(case, oracle, t, n_samples=n_samples, seed=seed):
                products = oracle.product(perturbed, z, t)
                h = [a + b * c / n_samples for a, b, c in zip(h, z, products, strict=True)]
            d = [beta2 * a + (1 - beta2) * (np.abs(b) if absolute else b) for a, b in zip(d, h, strict=True)]
            count = t if bias_correction == "steps" else updates
            corrected = [a / (1 - beta2**count) for a in d]
            sign = [np.where(a < 0, -1.0, 1.0) for a in d]
            denominator = [s * (np.abs(a) ** hessian_power + eps) for s, a in zip(sign, corrected, strict=True)]
        m = [beta1 * a + (1 - beta1) * b for a, b in zip(m, g, strict=True)]
        x = [a - lr_t * weight_decay * a for a in x]
        x = [a - lr_t * b / (1 - beta1**t) / c for a, b, c in zip(x, m, denominator, strict=True)]
        path.append(x)
    return path


CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "default": {"lr": 0.02},
    "paper": {"lr": 0.02, "rho": 0.2, "weight_decay": 0.01},
    "every_step": {"lr": 0.02, "lazy_hessian": 1, "betas": (0.8, 0.9)},
    "no_root": {"lr": 1e-3, "hessian_power": 1.0, "eps": 0.1},
    "other_power": {"lr": 0.01, "hessian_power": 0.8, "eps": 0.01, "lazy_hessian": 7},
    "signed": {"lr": 0.005, "absolute": False, "eps": 0.01},
    "by_updates": {"lr": 0.02, "bias_correction": "updates", "lazy_hessian": 3},
    "adaptive": {"lr": 0.02, "adaptive": True, "rho": 0.5},
    "probes": {"lr": 0.02, "n_samples": 3, "lazy_hessian": 4, "seed": 5},
}


@pytest.mark.parametrize("name", model_cases.NAMES)
@pytest.mark.parametrize("configuration", ["default", "paper"])
def test_follows_algorithm_1(name: str, configuration: str) -> None:
    check_path(name, CONFIGURATIONS[configuration])


@pytest.mark.parametrize("configuration", [c for c in CONFIGURATIONS if c not in {"default", "paper"}])
def test_follows_the_formula_of_every_switch(configuration: str) -> None:
    check_path("mlp", CONFIGURATIONS[configuration])


def check_path(name: str, hyperparameters: dict[str, Any]) -> None:
    case = model_cases.build(name)
    expected = reference(case, **hyperparameters)
    used = case.used()
    optimizer = SASSHA(case.model.parameters(), **hyperparameters)
    for t in range(1, STEPS + 1):
        optimizer.step(case.loss(t))
        assert_same_path(used, expected[t - 1])


def test_schedules_of_the_groups_take_effect() -> None:
    case = model_cases.build("mlp")

    def lr(t: int) -> float:
        return 0.05 / t

    def rho(t: int) -> float:
        return 0.01 * t

    expected = reference(case, lr=lr, rho=rho, weight_decay=0.1)
    optimizer = SASSHA(case.model.parameters(), weight_decay=0.1)
    for t in range(1, STEPS + 1):
        optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["rho"] = lr(t), rho(t)
        optimizer.step(case.loss(t))
    assert_same_path(case.used(), expected[-1])


@pytest.mark.parametrize("k", [1, 2, 10])
def test_asks_for_a_hessian_at_t_1_and_every_k_steps(k: int) -> None:
    case = model_cases.build("mlp")
    optimizer = SASSHA(case.model.parameters(), lazy_hessian=k, n_samples=2)
    ledger = Ledger()
    asked = []
    for t in range(1, 24):
        before = ledger.hvps
        optimizer.step(Objective(case.loss(t), case.parameters(), ledger=ledger))
        if ledger.hvps > before:
            assert ledger.hvps == before + 2
            asked.append(t)
    assert asked == [t for t in range(1, 24) if (t - 1) % k == 0]
    assert ledger.gradients == ledger.forwards == 2 * 23


def test_the_hessian_is_that_of_the_perturbed_point() -> None:
    """f(x) = sum x^4 / 12 has the diagonal Hessian x^2, so one probe gives it exactly."""
    x = weights(1.0, 2.0)
    start = x.detach().clone()
    optimizer = SASSHA([x], rho=0.5, betas=(0.0, 0.0))
    optimizer.step(lambda: (x**4).sum() / 12)
    gradient = start**3 / 3
    perturbed = start + 0.5 * gradient / gradient.norm()
    found = optimizer.state[x]["exp_hessian"]
    torch.testing.assert_close(found, perturbed**2, rtol=tolerance(1e-11), atol=0)
    assert not torch.allclose(found, start**2)


def test_the_perturbed_point_does_not_mix_weights_and_activations() -> None:
    """In a product of two weights, a Hessian taken after moving back would see the old one of them."""
    a = weights(3.0)
    b = weights(2.0)
    optimizer = SASSHA([a, b], rho=1.0, betas=(0.0, 0.0))
    optimizer.step(lambda: torch.sum((a * b) ** 2))
    gradient = np.array([2 * 3 * 2**2, 2 * 2 * 3**2], dtype=float)
    p, q = np.array([3.0, 2.0]) + gradient / np.linalg.norm(gradient)
    probe_a, probe_b = (z.item() for z in rademacher([a, b], n_samples=1, seed=0, step=0)[0])
    mixed = probe_a * probe_b * 4 * p * q
    assert optimizer.state[a]["exp_hessian"].item() == pytest.approx(abs(2 * q**2 + mixed), rel=tolerance(1e-13))
    assert optimizer.state[b]["exp_hessian"].item() == pytest.approx(abs(2 * p**2 + mixed), rel=tolerance(1e-13))


def test_weights_come_back_to_the_last_bit() -> None:
    case = model_cases.build("mlp")
    before = [p.detach().clone() for p in case.parameters()]
    optimizer = SASSHA(case.model.parameters(), lr=0.0, rho=1 / 3)
    seen = []

    def loss() -> torch.Tensor:
        seen.append(case.parameters()[0].detach().clone())
        return case.loss()()

    for _ in range(12):
        optimizer.step(loss)
    assert all(torch.equal(p, b) for p, b in zip(case.parameters(), before, strict=True))
    assert not torch.equal(seen[0], seen[1])


def test_weights_come_back_when_the_closure_fails() -> None:
    case = model_cases.build("mlp")
    before = [p.detach().clone() for p in case.parameters()]
    calls = []

    def loss() -> torch.Tensor:
        calls.append(None)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return case.loss()()

    with pytest.raises(KeyboardInterrupt):
        SASSHA(case.model.parameters()).step(loss)
    assert all(torch.equal(p, b) for p, b in zip(case.parameters(), before, strict=True))


def test_returns_the_loss_before_the_step() -> None:
    case = model_cases.build("mlp")
    expected = case.loss()().item()
    assert SASSHA(case.model.parameters()).step(case.loss()).item() == expected


def test_a_second_order_graph_is_built_on_hessian_steps_only(monkeypatch: pytest.MonkeyPatch) -> None:
    case = model_cases.build("mlp")
    optimizer = SASSHA(case.model.parameters(), lazy_hessian=5)
    with_graph = []
    engine = torch.autograd._engine_run_backward

    def watched(roots: Any, cotangents: Any, retain_graph: bool, create_graph: bool, *args: Any, **kwargs: Any) -> Any:
        with_graph.append(create_graph)
        return engine(roots, cotangents, retain_graph, create_graph, *args, **kwargs)

    monkeypatch.setattr(torch.autograd, "_engine_run_backward", watched)
    per_step = []
    for t in range(1, 8):
        with_graph.clear()
        optimizer.step(case.loss(t))
        per_step.append(any(with_graph))
    assert per_step == [True, False, False, False, False, True, False]


def test_the_published_bias_correction_underestimates_the_curvature() -> None:
    """With a constant curvature c the corrected average is c by updates, but less by steps when k > 1."""
    averages = {}
    for counted in ("steps", "updates"):
        x = weights(1.0)
        optimizer = SASSHA([x], lr=0.0, rho=0.0, eps=0.0, lazy_hessian=10, hessian_power=1, bias_correction=counted)
        for _ in range(11):
            optimizer.step(lambda x=x: (1.5 * x**2).sum())
        averages[counted] = optimizer.state[x]["denominator"].item()
    assert averages["updates"] == pytest.approx(3.0, rel=tolerance(1e-12))
    assert averages["steps"] == pytest.approx(3.0 * (1 - 0.999**2) / (1 - 0.999**11), rel=tolerance(1e-12))


def test_a_negative_curvature_leads_uphill_only_without_absolute_values() -> None:
    moved = {}
    for absolute in (True, False):
        x = weights(0.5)
        optimizer = SASSHA([x], lr=0.01, rho=0.0, absolute=absolute)
        before = (-(x**2)).sum().item()
        optimizer.step(lambda x=x: -(x**2).sum())
        moved[absolute] = (-(x**2)).sum().item() - before
    assert moved[True] < 0 < moved[False]
    assert all(np.isfinite(list(moved.values())))
