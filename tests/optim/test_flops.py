"""Floating-point operations: torch's formulas, and what they miss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchbench.optim.flops import FlopMeter


def flops(work: Callable[[], Any]) -> int:
    with FlopMeter() as meter:
        work()
    return meter.flops


def test_a_matrix_product_takes_a_multiplication_and_an_addition_per_term() -> None:
    a, b, x = torch.ones(2, 3), torch.ones(3, 5), torch.ones(3)
    assert flops(lambda: a @ b) == 2 * 2 * 3 * 5
    assert flops(lambda: a @ x) == flops(lambda: torch.addmv(torch.ones(2), a, x)) == 2 * 2 * 3
    assert flops(lambda: a + a) == flops(lambda: a.exp().sum()) == 0


def test_a_product_in_place_counts_as_much_as_any_other() -> None:
    a, b, out = torch.ones(2, 3), torch.ones(3, 5), torch.zeros(2, 5)
    assert flops(lambda: out.addmm_(a, b)) == flops(lambda: torch.mm(a, b, out=out)) == flops(lambda: a @ b) > 0


def test_inference_mode_counts_too() -> None:
    layer, x = nn.Linear(3, 5), torch.ones(2, 3)
    expected = flops(lambda: layer(x))
    with torch.inference_mode():
        assert flops(lambda: layer(x)) == expected > 0


def test_agrees_with_torchs_own_counter() -> None:
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))
    x = torch.ones(5, 2, 4, 4)
    with FlopCounterMode(display=False) as theirs:
        model(x).sum().backward()
    assert flops(lambda: model(x).sum().backward()) == theirs.get_total_flops() > 0


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("transposed", [False, True])
def test_each_half_of_a_convolutions_backward_costs_as_much_as_its_forward(groups: int, transposed: bool) -> None:
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    layer = kind(4, 4, 3, stride=2, padding=1, groups=groups)
    x = torch.ones(2, 4, 7, 7, requires_grad=True)
    out = layer(x)
    forward = flops(lambda: layer(x))
    assert forward > 0
    assert flops(lambda: out.sum().backward()) == 2 * forward


@pytest.mark.parametrize(
    ("work", "name"),
    [
        (torch.linalg.svd, "_linalg_svd"),
        (torch.linalg.eigh, "_linalg_eigh"),
        (torch.linalg.qr, "linalg_qr"),
        (torch.linalg.inv, "linalg_inv_ex"),
        (torch.linalg.cholesky, "linalg_cholesky_ex"),
        (lambda a: torch.linalg.solve(a, a), "_linalg_solve_ex"),
    ],
)
def test_names_what_it_has_no_formula_for(work: Callable[[torch.Tensor], Any], name: str) -> None:
    with FlopMeter() as meter:
        work(torch.eye(3))
    assert meter.without_formula == {name}


def test_cheap_operations_with_grand_names_are_no_matter() -> None:
    with FlopMeter() as meter:
        torch.linalg.vector_norm(torch.ones(3)).sqrt()
        torch._foreach_norm([torch.ones(3)])
        torch.lerp(torch.ones(3), torch.ones(3), 0.5)
    assert meter.without_formula == set()


def test_fused_attention_on_a_cpu_is_named_rather_than_missed() -> None:
    q = torch.ones(1, 2, 4, 8)
    with FlopMeter() as meter:
        F.scaled_dot_product_attention(q, q, q)
    assert meter.flops > 0 or meter.without_formula


def test_a_gradient_with_respect_to_a_modules_input_can_be_metered() -> None:
    """Torch's own counter raises here."""
    model, x = nn.Sequential(nn.Linear(3, 2)), torch.ones(4, 3, requires_grad=True)
    assert flops(lambda: torch.autograd.grad(model(x).sum(), x)) > 0
