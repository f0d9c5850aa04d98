"""The objective: gradients, products, statistics and errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchbench.optim.execution.buffers import ModelBuffers
from benchbench.optim.objective import Objective, as_objective
from tests.accelerator import current_device, every_device, needs, tolerance
from tests.helpers import model_cases
from tests.helpers.model_cases import dense_hessian, flat, to_array

pytestmark = every_device

both_evaluations = pytest.mark.parametrize("second_order", [False, True])
every_case = pytest.mark.parametrize("name", model_cases.NAMES)


def ones(*shape: int) -> Tensor:
    return torch.ones(*shape, device=current_device())


def evaluate(objective: Objective, second_order: bool) -> Tensor:
    if not second_order:
        return objective()
    loss, _ = objective.with_hvp([[torch.ones_like(p) for p in objective.parameters]])
    return loss


@every_case
@both_evaluations
def test_leaves_the_gradient_and_returns_the_loss(name: str, second_order: bool) -> None:
    case = model_cases.build(name)
    expected = torch.autograd.grad(case.loss()(), case.parameters(), allow_unused=True)
    for parameter in case.model.parameters():
        parameter.grad = torch.full_like(parameter, torch.nan)  # what was there before must not matter
    objective = Objective(case.loss(), case.model.parameters())
    loss = evaluate(objective, second_order)
    assert loss == case.loss()()
    assert loss.requires_grad is not second_order  # an optimizer may differentiate what a call returns
    assert objective.first_loss == loss
    for parameter, gradient in zip(objective.parameters, expected, strict=True):
        if gradient is None:
            assert parameter.grad is None
        else:
            torch.testing.assert_close(parameter.grad, gradient, rtol=tolerance(1e-12), atol=tolerance(1e-15))
            assert not parameter.grad.requires_grad
    assert all(p.grad is None for p in case.model.parameters() if not p.requires_grad)


@every_case
def test_products_are_those_of_the_dense_hessian(name: str) -> None:
    case = model_cases.build(name)
    hessian, used = dense_hessian(case), {id(p) for p in case.used()}
    generator = torch.Generator().manual_seed(1)
    objective = Objective(case.loss(), case.model.parameters())
    vectors = [
        [torch.randn(p.shape, generator=generator, dtype=p.dtype).to(p.device) for p in objective.parameters]
        for _ in range(3)
    ]
    _, products = objective.with_hvp(vectors)

    def part(tensors: list[Tensor]) -> np.ndarray:
        return flat([to_array(t) for t, p in zip(tensors, objective.parameters, strict=True) if id(p) in used])

    for vector, product in zip(vectors, products, strict=True):
        expected = hessian @ part(vector)
        assert np.abs(part(product) - expected).max() <= tolerance(1e-12) * np.abs(expected).max()
        for p, part_of_p in zip(objective.parameters, product, strict=True):
            assert part_of_p.shape == p.shape
            assert id(p) in used or not part_of_p.any()


def test_a_linear_loss_has_a_zero_hessian() -> None:
    weight = nn.Parameter(ones(3))
    _, ((product,),) = Objective(lambda: torch.sum(weight), [weight]).with_hvp([[ones(3)]])
    assert product.tolist() == [0.0, 0.0, 0.0]


def test_gradients_can_be_written_into() -> None:
    """Autograd gives a + b one gradient tensor for both, and a sum an expanded scalar."""
    a, b, c = (nn.Parameter(ones(3)) for _ in range(3))
    objective = Objective(lambda: (a + b).pow(2).sum() + c.sum(), [a, b, c])
    objective.with_hvp([[ones(3)] * 3])
    for parameter in (a, b, c):
        parameter.grad.mul_(2)
    assert a.grad.tolist() == b.grad.tolist() == [8.0] * 3
    assert c.grad.tolist() == [2.0] * 3


def test_works_where_gradients_are_switched_off() -> None:
    case = model_cases.build("mlp")
    with torch.no_grad():
        loss = Objective(case.loss(), case.parameters())()
        assert not torch.is_grad_enabled()
    assert loss.isfinite()


# Attention


def test_attention_is_differentiated_twice_and_kept_fast_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    case = model_cases.build("attention")
    chosen = []
    loss = case.loss()

    def watched() -> Tensor:
        chosen.append(torch.backends.cuda.flash_sdp_enabled())
        return loss()

    objective = Objective(watched, case.parameters())
    objective()
    objective.with_hvp([[torch.ones_like(p) for p in objective.parameters]])
    objective()
    assert chosen == [True, False, True]
    assert torch.backends.cuda.flash_sdp_enabled()


# Running statistics


def normalizer(kind: str) -> nn.Module:
    needs(torch.float64)
    made = {
        "batch": lambda: (nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)),
        "cumulative": lambda: (nn.Linear(3, 4), nn.BatchNorm1d(4, momentum=None), nn.Linear(4, 1)),
        "instance": lambda: (
            nn.Unflatten(1, (1, 3)),
            nn.InstanceNorm1d(1, affine=True, track_running_stats=True),
            nn.Flatten(),
            nn.Linear(3, 1),
        ),
    }
    return nn.Sequential(*made[kind]()).double().to(current_device())


def rows(count: int) -> Tensor:
    return torch.randn(count, 3).double().to(current_device())


@pytest.mark.parametrize("kind", ["batch", "cumulative", "instance"])
@pytest.mark.parametrize("told", [False, True])
@both_evaluations
def test_statistics_move_in_the_first_evaluation_only(kind: str, told: bool, second_order: bool) -> None:
    model = normalizer(kind)
    plain = normalizer(kind)
    plain.load_state_dict(model.state_dict())
    inputs = rows(6)
    plain(inputs)
    buffers = ModelBuffers(model.modules()) if told else None
    objective = Objective(lambda: model(inputs).pow(2).mean(), model.parameters(), buffers=buffers)
    for evaluation in range(3):
        if evaluation:
            with torch.no_grad():  # elsewhere, as SAM would
                for parameter in model.parameters():
                    parameter.add_(0.1)
        evaluate(objective, second_order)
        for name, buffer in model.named_buffers():
            assert torch.equal(buffer, plain.get_buffer(name)), name


def test_later_evaluations_normalise_by_the_batch() -> None:
    model = normalizer("batch")
    inputs = rows(6)
    objective = Objective(lambda: model(inputs).pow(2).mean(), model.parameters())
    assert objective() == objective()


def test_a_nan_at_the_perturbed_point_does_not_reach_the_statistics() -> None:
    model = normalizer("batch")
    inputs = rows(6)
    objective = Objective(lambda: model(inputs).pow(2).mean(), model.parameters())
    objective()
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with torch.no_grad():
        model[0].weight.fill_(torch.nan)
    assert objective().isnan()
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, before[name])


def test_statistics_come_back_when_the_closure_fails() -> None:
    model = normalizer("batch")
    inputs = rows(6)
    calls = []

    def loss() -> Tensor:
        value = model(inputs).pow(2).mean()
        calls.append(None)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return value

    objective = Objective(loss, model.parameters())
    objective()
    with pytest.raises(KeyboardInterrupt):
        objective()
    assert model[1].running_mean is not None
    assert {"1.running_mean", "1.running_var", "1.num_batches_tracked"} <= model.state_dict().keys()


def test_a_frozen_normaliser_keeps_using_its_statistics() -> None:
    model = normalizer("batch")
    model(rows(20))
    model[1].eval()
    inputs = rows(6)
    objective = Objective(lambda: model(inputs).pow(2).mean(), model.parameters())
    expected = model(inputs).pow(2).mean()
    assert objective() == expected
    assert objective() == expected


def test_no_hook_is_left_behind() -> None:
    case = model_cases.build("conv_bn")
    hooks = nn.modules.module._global_forward_pre_hooks
    before = len(hooks)
    Objective(case.loss(), case.parameters())()
    assert len(hooks) == before


# Closures


def test_an_objective_passes_through() -> None:
    objective = Objective(lambda: torch.zeros(()), [])
    assert as_objective(objective, []) is objective


def test_gradients_keep_their_graph_on_request() -> None:
    case = model_cases.build("attention")
    objective = Objective(case.loss(), case.parameters(), create_graph=True)
    objective()
    gradients = [p.grad for p in objective.parameters]
    products = torch.autograd.grad(gradients, objective.parameters, [torch.ones_like(g) for g in gradients])
    _, (expected,) = Objective(case.loss(), case.parameters()).with_hvp(
        [[torch.ones_like(p) for p in objective.parameters]]
    )
    for found, product in zip(products, expected, strict=True):
        torch.testing.assert_close(found, product, rtol=tolerance(1e-12), atol=tolerance(1e-15))


class Halved(torch.autograd.Function):
    """Halves its input, with a backward that cannot be differentiated."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x / 2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient / 2


def test_what_has_no_second_derivative_is_named_with_the_remedy() -> None:
    weight = nn.Parameter(ones(2, 4, 3))
    labels, lengths = ones(4, 1).long(), ones(4).long()

    def ctc() -> Tensor:
        return F.ctc_loss(weight.log_softmax(2), labels, 2 * lengths, lengths)

    with pytest.raises(NotImplementedError, match="_ctc_loss_backward: replace it in the model"):
        Objective(ctc, [weight]).with_hvp([[torch.ones_like(weight)]])


class Squared(torch.autograd.Function):
    """The square, with a backward that cannot be differentiated, for whatever type autocast has chosen."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu")
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 2 * ctx.saved_tensors[0] * gradient


@pytest.mark.parametrize(
    "loss",
    [
        lambda weight: Halved.apply(weight**2).pow(2).sum(),
        lambda weight: Squared.apply(weight).mean(),
        lambda weight: weight.pow(2).sum() + Squared.apply(2 * weight).sum(),
    ],
    ids=["before a square", "before a mean", "one term of two"],
)
@pytest.mark.parametrize("create_graph", [False, True], ids=["product", "create_graph"])
def test_a_function_that_torch_would_silently_leave_out_is_refused(
    loss: Callable[[Tensor], Tensor], create_graph: bool
) -> None:
    weight = nn.Parameter(ones(3))
    objective = Objective(lambda: loss(weight), [weight], create_graph=create_graph)
    with pytest.raises(NotImplementedError, match="@once_differentiable: write its backward"):
        objective() if create_graph else objective.with_hvp([[ones(3)]])


def test_other_failures_stay_as_they_are() -> None:
    weight = nn.Parameter(ones(3))
    with pytest.raises(RuntimeError, match="size of tensor"):
        Objective(lambda: torch.sum(weight * ones(2)), [weight]).with_hvp([[ones(3)]])
