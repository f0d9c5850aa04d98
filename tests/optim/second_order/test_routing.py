"""What is routed, what is left to torch, and that nothing else is touched."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.autograd.graph import save_on_cpu
from torch.nn import functional as F

from benchbench.optim.objective import Objective
from benchbench.optim.second_order import FastSecondDerivatives
from tests.accelerator import current_device, every_device, needs, tolerance

pytestmark = every_device


def leaf(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    needs(dtype)
    made = torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(len(shape)))
    return made.to(current_device()).requires_grad_()


def is_routed(output: Tensor) -> bool:
    return type(output.grad_fn).__name__.startswith("_")


def conv(dtype: torch.dtype = torch.float64, **keywords: Any) -> Callable[[], Tensor]:
    return lambda: F.conv2d(leaf(2, 4, 5, 5, dtype=dtype), leaf(2, 4, 3, 3, dtype=dtype), **keywords)


def attention(**keywords: Any) -> Callable[[], Tensor]:
    return lambda: F.scaled_dot_product_attention(*(leaf(2, 2, 4, 3) for _ in range(3)), **keywords)


class Marked(Tensor):
    """A subclass of tensors."""


LEFT_TO_TORCH: dict[str, Callable[[], Tensor]] = {
    "bfloat16": conv(torch.bfloat16),
    "complex": conv(torch.complex128),
    "subclass": lambda: F.linear(leaf(2, 3).as_subclass(Marked), leaf(4, 3)),
    "unbatched convolution": lambda: F.conv2d(leaf(4, 5, 5), leaf(2, 4, 3, 3)),
    "padding that differs between the sides": lambda: F.conv2d(leaf(2, 4, 5, 5), leaf(2, 4, 2, 2), padding="same"),
    "batch norm by running statistics": lambda: F.batch_norm(leaf(3, 4), leaf(4).detach(), leaf(4).detach().square()),
    "attention with dropout": attention(dropout_p=0.5),
    "attention with a learned mask": lambda: F.scaled_dot_product_attention(
        leaf(2, 2, 4, 3), leaf(2, 2, 4, 3), leaf(2, 2, 4, 3), attn_mask=leaf(4, 4)
    ),
    "attention with broadcasting": lambda: F.scaled_dot_product_attention(
        leaf(2, 2, 4, 3), leaf(1, 2, 4, 3), leaf(1, 2, 4, 3)
    ),
    "attention with grouped queries": lambda: F.scaled_dot_product_attention(
        leaf(2, 4, 4, 3), leaf(2, 2, 4, 3), leaf(2, 2, 4, 3), enable_gqa=True
    ),
    "attention of one matrix": lambda: F.scaled_dot_product_attention(leaf(4, 3), leaf(4, 3), leaf(4, 3)),
    "linear layer of a vector": lambda: F.linear(leaf(3), leaf(2, 3)),
    "gelu by tanh": lambda: F.gelu(leaf(4), approximate="tanh"),
    "relu in place on a view": lambda: F.relu((leaf(4, 3) * 1)[0], inplace=True),
    "empty": lambda: F.relu(leaf(0, 3)),
}


@pytest.mark.parametrize("name", LEFT_TO_TORCH)
def test_the_rest_is_left_to_torch(name: str) -> None:
    call = LEFT_TO_TORCH[name]
    torch.manual_seed(0)
    expected = call()
    torch.manual_seed(0)
    with FastSecondDerivatives():
        found = call()
    assert not is_routed(found)
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    "surroundings",
    [
        lambda: torch.autocast(current_device().type, dtype=torch.bfloat16),
        torch.no_grad,
        torch.inference_mode,
        save_on_cpu,
        forward_ad.dual_level,
    ],
)
def test_is_left_to_torch_where_more_than_reverse_mode_is_at_work(
    surroundings: Callable[[], AbstractContextManager[object]],
) -> None:
    x, weight = leaf(3, 4, dtype=torch.float32), leaf(2, 4, dtype=torch.float32)
    with surroundings():
        expected = F.linear(x, weight)
        with FastSecondDerivatives():
            found = F.linear(x, weight)
            assert not is_routed(found)
        assert torch.equal(found, expected)


def test_works_inside_transforms() -> None:
    weight, rows = leaf(2, 3), leaf(5, 3).detach()

    def loss() -> Tensor:
        slopes = torch.func.vmap(torch.func.grad(lambda row: F.gelu(F.linear(row[None], weight)).sum()))(rows)
        tangents = torch.func.jvp(lambda x: F.gelu(F.linear(x, weight)), (rows,), (rows,))[1]
        return slopes.square().sum() + tangents.square().sum()

    products = hvp(loss, [weight]), hvp(loss, [weight], routed=False)
    torch.testing.assert_close(*products, rtol=tolerance(1e-12), atol=tolerance(1e-12))


def test_a_loss_may_differentiate() -> None:
    """As where a network has to satisfy a differential equation."""
    model = nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 1)).double().to(current_device())
    rows = leaf(5, 3)

    def loss() -> Tensor:
        (slopes,) = torch.autograd.grad(model(rows).sum(), rows, create_graph=True)
        return slopes.square().sum()

    parameters = list(model.parameters())
    products = hvp(loss, parameters), hvp(loss, parameters, routed=False)
    torch.testing.assert_close(*products, rtol=tolerance(1e-12), atol=tolerance(1e-12))


def test_works_under_checkpointing() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(inplace=True), nn.Conv2d(2, 1, 2))
    images = leaf(3, 1, 5, 5).detach()
    model.to(images)
    parameters = list(model.parameters())

    def checkpointed() -> Tensor:
        return torch.utils.checkpoint.checkpoint(model, images, use_reentrant=False).square().sum()

    products = hvp(checkpointed, parameters), hvp(lambda: model(images).square().sum(), parameters)
    torch.testing.assert_close(*products, rtol=tolerance(1e-12), atol=tolerance(1e-12))


def hvp(loss: Callable[[], Tensor], parameters: list[Any], *, routed: bool = True) -> list[Tensor]:
    with pytest.MonkeyPatch.context() as patch:
        if not routed:
            patch.setattr("benchbench.optim.objective.FastSecondDerivatives", nullcontext)
        vector = [torch.linspace(-1, 1, p.numel(), dtype=p.dtype).view(p.shape).to(p.device) for p in parameters]
        return Objective(loss, parameters).with_hvp([vector])[1][0]


def test_errors_stay_torchs() -> None:
    with FastSecondDerivatives():
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            F.batch_norm(leaf(1, 4), None, None, training=True)
        with pytest.raises(RuntimeError):
            attention(is_causal=True, attn_mask=leaf(4, 4).detach() > 0)()
        with pytest.raises(RuntimeError, match="padding='same' is not supported for strided"):
            conv(padding="same", stride=2)()
        with pytest.raises(RuntimeError, match="leaf"):
            F.relu(leaf(3), inplace=True)


# The objective


@pytest.mark.parametrize(("evaluation", "expected"), [("plain", False), ("hvp", True), ("create_graph", True)])
def test_is_on_only_where_second_derivatives_are_needed(evaluation: str, expected: bool) -> None:
    weight, seen = leaf(2, 3), []

    def loss() -> Tensor:
        output = F.linear(leaf(4, 3).detach(), weight)
        seen.append(is_routed(output))
        return output.square().sum()

    objective = Objective(loss, [weight], create_graph=evaluation == "create_graph")
    if evaluation == "hvp":
        objective.with_hvp([[torch.ones_like(weight)]])
    else:
        objective()
    assert seen == [expected]
    assert not is_routed(F.linear(leaf(2, 3), weight))


# Batch norm's buffers


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("momentum", [0.1, 0.7, None])
def test_running_statistics_are_torchs(momentum: float | None, affine: bool, dtype: torch.dtype) -> None:
    needs(dtype)
    ours = nn.BatchNorm2d(4, momentum=momentum, affine=affine).to(current_device(), dtype)
    theirs = copy.deepcopy(ours)
    generator = torch.Generator().manual_seed(2)
    for _ in range(3):
        x = torch.randn(3, 4, 2, 5, generator=generator, dtype=dtype).to(current_device()).requires_grad_()
        with FastSecondDerivatives():
            output = ours(x)
            assert is_routed(output)
        assert torch.equal(output, theirs(x))
        for name, buffer in theirs.named_buffers():
            assert torch.equal(ours.get_buffer(name), buffer), name


def test_in_place_means_in_place() -> None:
    x = leaf(4) * 1
    with FastSecondDerivatives():
        y = F.relu(x, inplace=True)
    assert y is x
    assert is_routed(y)
    assert (x >= 0).all()
