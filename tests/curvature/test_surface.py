"""The surface against dense autograd, and that it leaves everything as it was."""

from __future__ import annotations

import pytest
import torch
from curvlinops import HessianLinearOperator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from benchbench.curvature import LossSurface
from benchbench.optim.execution.buffers import ModelBuffers
from benchbench.optim.ledger import Ledger
from tests.accelerator import current_device, every_device, tolerance
from tests.curvature.surfaces import SIZES, dense, every_model, quadratic, solution, symmetric
from tests.helpers import model_cases

pytestmark = every_device


def random_vectors(surface: LossSurface, number: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(number, surface.dimension, generator=generator, dtype=torch.float64).to(current_device())


@every_model
def test_value_gradient_and_products_are_those_of_the_whole_data_set(name: str, training: bool) -> None:
    found = solution(name, training=training)
    surface, exact = found.surface(), dense(name, training=training)
    vectors = random_vectors(surface, 3)
    assert surface.value().item() == pytest.approx(exact.loss, rel=tolerance(1e-13))
    torch.testing.assert_close(surface.gradient(), exact.gradient, rtol=tolerance(1e-11), atol=tolerance(1e-14))
    scale = exact.hessian.abs().max()
    torch.testing.assert_close(
        surface.hvp(vectors), vectors @ exact.hessian, rtol=tolerance(1e-11), atol=tolerance(1e-12) * scale.item()
    )


def test_batch_norm_in_training_mode_is_another_surface() -> None:
    by_running, by_batch = solution("conv_bn").surface(), solution("conv_bn", training=True).surface()
    assert by_running.value() != by_batch.value()
    assert (by_running.facts().batch_norm, by_batch.facts().batch_norm) == ("eval", "train")


def test_products_agree_with_curvlinops() -> None:
    found = solution("conv_bn")
    operator = HessianLinearOperator(
        found.model, nn.CrossEntropyLoss(), list(found.model.parameters()), found.batches, check_deterministic=False
    )
    surface = found.surface()
    vectors = random_vectors(surface, 2)
    torch.testing.assert_close(
        surface.hvp(vectors), (operator @ vectors.T).T, rtol=tolerance(1e-9), atol=tolerance(1e-12)
    )


@every_model
def test_nothing_is_left_behind(name: str, training: bool) -> None:
    found = solution(name, training=training)
    for parameter in found.model.parameters():
        parameter.grad = torch.full_like(parameter, 7.0)
    gradients = [p.grad for p in found.model.parameters()]
    before = {key: tensor.clone() for key, tensor in found.model.state_dict().items()}
    random_state = torch.get_rng_state()
    surface = found.surface()
    (offset,) = random_vectors(surface)
    with surface.at(offset):
        surface.value(), surface.gradient(), surface.hvp(offset[None])
    for key, tensor in found.model.state_dict().items():
        assert torch.equal(tensor, before[key]), key
    for parameter, gradient in zip(found.model.parameters(), gradients, strict=True):
        assert parameter.grad is gradient
        assert (gradient == 7).all()
    assert torch.equal(torch.get_rng_state(), random_state)


def test_parameters_outside_the_surface_are_fixed_and_get_no_gradient() -> None:
    found = solution("mlp")
    last = list(found.model[2].parameters())
    surface = LossSurface(last, lambda: found.batches, found.loss, lambda b: len(b[1]), buffers=ModelBuffers([]))
    expected = dense("mlp")
    part = slice(-surface.dimension, None)
    torch.testing.assert_close(surface.gradient(), expected.gradient[part])
    torch.testing.assert_close(
        surface.hvp(torch.eye(surface.dimension).to(expected.hessian)), expected.hessian[part, part]
    )
    assert found.model[0].weight.grad is None


def test_a_data_loader_does_not_move_the_random_generator() -> None:
    found = solution("mlp")
    inputs, targets = (torch.cat(parts) for parts in zip(*found.batches, strict=True))
    loader = DataLoader(TensorDataset(inputs, targets), batch_size=4)
    surface = LossSurface(
        found.model.parameters(), lambda: loader, found.loss, lambda batch: len(batch[1]), buffers=ModelBuffers([])
    )
    state = torch.get_rng_state()
    assert surface.value().item() == pytest.approx(dense("mlp").loss, rel=tolerance(1e-13))
    assert torch.equal(torch.get_rng_state(), state)
    assert (surface.facts().examples, surface.facts().batches) == (15, 4)


def test_displaced_evaluations_are_those_of_the_displaced_model() -> None:
    found = solution("conv_bn")
    surface = found.surface()
    (offset,) = random_vectors(surface)
    moved = solution("conv_bn")
    nn.utils.vector_to_parameters(
        nn.utils.parameters_to_vector(moved.model.parameters()) + offset, moved.model.parameters()
    )
    with surface.at(offset):
        assert surface.value() == moved.surface().value()
        with surface.at(-0.5 * offset):
            inner = surface.value()
        assert surface.value() == moved.surface().value()
    assert inner != surface.value()


def test_weights_come_back_when_the_loss_fails() -> None:
    found = solution("conv_bn", training=True)
    before = {key: tensor.clone() for key, tensor in found.model.state_dict().items()}

    def fail(_batch: model_cases.Batch) -> torch.Tensor:
        raise KeyboardInterrupt

    surface = LossSurface(
        found.model.parameters(), lambda: found.batches, fail, len, buffers=ModelBuffers(found.model.modules())
    )
    with pytest.raises(KeyboardInterrupt), surface.at(random_vectors(surface)[0]):
        surface.hvp(random_vectors(surface))
    for key, tensor in found.model.state_dict().items():
        assert torch.equal(tensor, before[key]), key


def test_data_parallel_ranks_see_the_surface_of_all_data() -> None:
    """The second rank's sums are computed beforehand: what an all-reduce would add."""
    found = solution("mlp")
    whole, vectors = found.surface(), random_vectors(found.surface(), 2)
    sent: list[list[torch.Tensor]] = []

    def share(batches: list[model_cases.Batch], all_reduce: object) -> LossSurface:
        return LossSurface(
            found.model.parameters(),
            lambda: batches,
            found.loss,
            lambda batch: len(batch[1]),
            buffers=ModelBuffers([]),
            all_reduce=all_reduce,
        )

    def send(tensors: list[torch.Tensor]) -> None:
        sent.append([tensor.clone() for tensor in tensors])

    def receive(tensors: list[torch.Tensor]) -> None:
        for tensor, other in zip(tensors, sent.pop(0), strict=True):
            tensor.add_(other)

    first, second = share(found.batches[:1], send), share(found.batches[1:], receive)
    for evaluate in (LossSurface.value, LossSurface.gradient, lambda surface: surface.hvp(vectors)):
        evaluate(first)
        torch.testing.assert_close(evaluate(second), evaluate(whole))
    assert second.facts().examples == sum(SIZES)


def test_costs_one_gradient_and_its_products_per_batch() -> None:
    ledger = Ledger()
    surface = solution("mlp").surface(ledger=ledger)
    surface.value()
    assert (ledger.forwards, ledger.gradients, ledger.hvps) == (3, 0, 0)
    surface.gradient()
    assert (ledger.forwards, ledger.gradients, ledger.hvps) == (6, 3, 0)
    surface.hvp(random_vectors(surface, 4))
    assert (ledger.forwards, ledger.gradients, ledger.hvps) == (9, 6, 12)


def test_a_quadratic_in_unequal_parts_has_their_mean_as_hessian() -> None:
    hessian = symmetric([3.0, 1.0, -2.0])
    surface = quadratic(hessian, parts=(5, 1, 2))
    torch.testing.assert_close(
        surface.hvp(torch.eye(3).to(hessian)), hessian, rtol=tolerance(1e-12), atol=tolerance(1e-13)
    )


def test_says_what_cannot_be_a_surface() -> None:
    found = solution("mlp")
    found.model[0].half()
    with pytest.raises(ValueError, match=r"got torch\.float16 on \S+, torch\.float64 on \S+"):
        found.surface()
    found.model.requires_grad_(False)
    with pytest.raises(ValueError, match="no trainable parameters"):
        found.surface()
    found = solution("mlp")
    found.batches.clear()
    with pytest.raises(ValueError, match="no examples"):
        found.surface().value()
