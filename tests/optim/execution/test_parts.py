"""Batches in parts: divided without loss, evaluated like the whole."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F

from baselines.adahessian import AdaHessian
from baselines.sam import SAM
from benchbench.optim.execution.compilation import CompiledLoss
from benchbench.optim.execution.parts import Part, divide, size
from benchbench.optim.ledger import Ledger
from benchbench.optim.objective import Objective
from sassha import SASSHA
from tests.accelerator import current_device, every_device, tolerance
from tests.helpers import model_cases

pytestmark = every_device

UNEQUAL = 3
"""Parts of the batches of eight examples below."""


def in_parts(case: model_cases.Case, step: int, parts: int) -> list[Part]:
    def part(batch: model_cases.Batch) -> Part:
        return Part(lambda: F.cross_entropy(case.model(batch[0]), batch[1]), weight=size(batch) / size(whole))

    whole = case.batches[step % len(case.batches)]
    return [part(batch) for batch in divide(whole, parts) if size(batch)]


class DifferentiatesItself(torch.optim.SGD):
    """SGD along the gradient plus its product with the Hessian, which it computes from the gradients' graph."""

    @torch.no_grad()
    def step(self, closure: Any) -> None:  # type: ignore[override]
        with torch.enable_grad():
            closure()
        parameters = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        gradients = [p.grad for p in parameters]
        products = torch.autograd.grad(gradients, parameters, [torch.ones_like(g) for g in gradients])
        for parameter, gradient, product in zip(parameters, gradients, products, strict=True):
            parameter.sub_(0.1 * (gradient.detach() + product))
            parameter.grad = None


METHODS: dict[str, Any] = {
    "SGD": lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9),
    "SAM": lambda params: SAM(params, lr=0.1, rho=0.1),
    "AdaHessian": lambda params: AdaHessian(params, lr=0.1),
    "SASSHA": lambda params: SASSHA(params, lr=0.1, rho=0.1, lazy_hessian=2, n_samples=2),
    "create_graph": lambda params: DifferentiatesItself(params, lr=0.1),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["mlp", "attention", "frozen_and_unused"])
def test_parts_make_the_steps_of_the_whole_batch(method: str, name: str) -> None:
    def train(parts: int) -> tuple[list[Tensor], list[float], Ledger]:
        case, ledger = model_cases.build(name), Ledger()
        optimizer = METHODS[method](case.parameters())
        losses = []
        for step in range(4):
            objective = Objective(
                in_parts(case, step, parts), case.parameters(), ledger=ledger, create_graph=method == "create_graph"
            )
            with ledger.metered():
                optimizer.step(objective)
            assert objective.first_loss is not None
            losses.append(objective.first_loss.item())
        return [p.detach() for p in case.model.parameters()], losses, ledger

    whole, whole_losses, whole_ledger = train(1)
    weights, losses, ledger = train(UNEQUAL)
    torch.testing.assert_close(weights, whole, rtol=tolerance(1e-9), atol=tolerance(1e-12))
    assert losses == pytest.approx(whole_losses, rel=tolerance(1e-12))
    assert (ledger.gradients, ledger.hvps, ledger.forwards) == (
        whole_ledger.gradients,
        whole_ledger.hvps,
        whole_ledger.forwards,
    )


@pytest.mark.parametrize("first", ["call", "with_hvp"])
def test_statistics_move_with_every_part_of_the_first_evaluation(first: str) -> None:
    case = model_cases.build("conv_bn")
    norm: Any = case.model[1]
    objective = Objective(in_parts(case, 0, UNEQUAL), case.parameters())
    vectors = [[torch.ones_like(p) for p in objective.parameters]]
    objective() if first == "call" else objective.with_hvp(vectors)
    assert norm.num_batches_tracked == UNEQUAL
    moved = norm.running_mean.clone()
    objective()
    objective.with_hvp(vectors)
    assert norm.num_batches_tracked == UNEQUAL
    assert torch.equal(norm.running_mean, moved)


def most_saved(parts: list[Part], parameters: list[Tensor]) -> int:
    """Return the most bytes of activations that a gradient keeps for its backward pass at one time."""
    held = peak = 0

    class Saved:
        def __init__(self, tensor: Tensor) -> None:
            nonlocal held, peak
            self.tensor = tensor
            held += tensor.nbytes
            peak = max(peak, held)
            weakref.finalize(self, release, tensor.nbytes)

    def release(size: int) -> None:
        nonlocal held
        held -= size

    with saved_tensors_hooks(Saved, lambda saved: saved.tensor):
        Objective(parts, parameters)()
    assert held == 0
    return peak


def test_parts_hold_fewer_activations() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1)).to(current_device())
    inputs = torch.randn(512, 4).to(current_device())
    parts = [Part(lambda part=part: model(part).mean(), weight=1 / 8) for part in divide(inputs, 8)]
    whole = most_saved([Part(lambda: model(inputs).mean())], list(model.parameters()))
    assert most_saved(parts, list(model.parameters())) < whole / 6


@given(st.integers(1, 9), st.integers(1, 12))
def test_dividing_loses_nothing(examples: int, parts: int) -> None:
    batch = {"inputs": (torch.randn(examples, 2).to(current_device()), torch.arange(examples)), "name": "text"}
    divided = divide(batch, parts)
    sizes = [size(part) for part in divided]
    assert len(divided) == parts
    assert max(sizes) - min(sizes) <= 1
    assert torch.equal(torch.cat([part["inputs"][0] for part in divided]), batch["inputs"][0])
    assert torch.equal(torch.cat([part["inputs"][1] for part in divided]), batch["inputs"][1])
    assert {part["name"] for part in divided} == {"text"}


@pytest.mark.parametrize("batch", [(torch.ones(3), torch.ones(4)), (torch.ones(3), torch.tensor(1.0)), "text"])
def test_what_cannot_be_divided_is_said(batch: Any) -> None:
    with pytest.raises(ValueError, match=r"methods divide\(batch, parts\) and size\(batch\)"):
        divide(batch, 2)


@pytest.mark.slow
def test_parts_are_compiled_one_by_one() -> None:
    model = nn.Linear(3, 1)
    compiled = CompiledLoss(lambda batch: model(batch).square().mean())
    inputs = torch.randn(7, 3)
    eager = [Part(lambda: model(inputs).square().mean())]
    parts = [
        Part(lambda: pytest.fail("eager"), lambda part=part: compiled(part), len(part) / 7)
        for part in divide(inputs, 2)
    ]
    Objective(eager, model.parameters())()
    expected = [p.grad for p in model.parameters()]
    Objective(parts, model.parameters())()
    assert not compiled.failure
    torch.testing.assert_close([p.grad for p in model.parameters()], expected)
