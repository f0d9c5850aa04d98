"""Whatever a layer keeps in buffers moves in the first evaluation of a step alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from benchbench.optim.execution.buffers import ModelBuffers, load_state, state_of
from benchbench.optim.objective import Objective
from tests.training import small_tasks


class Renormalisation(nn.Module):
    """Batch renormalisation (Ioffe 2017): training reads the running statistics, and moves them."""

    track_running_stats = True

    def __init__(self, count: int = 6) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(count))
        self.register_buffer("running_var", torch.ones(count))
        self.register_buffer("num_batches_tracked", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        mean, deviation = x.mean(0), x.std(0) + 1e-5
        shift = (mean.detach() - self.running_mean) / self.running_var.sqrt()
        if self.training:
            with torch.no_grad():
                self.num_batches_tracked += 1
                self.running_mean.lerp_(mean, 0.1)
                self.running_var.lerp_(deviation**2, 0.1)
        return (x - mean) / deviation + shift


class Codebook(nn.Module):
    """Vector quantisation by moving averages: writes past autograd, rebinds a buffer, and has a view of another."""

    def __init__(self, count: int = 6) -> None:
        super().__init__()
        self.register_buffer("entries", torch.arange(4.0 * count).reshape(4, count) / 10)
        self.register_buffer("sizes", torch.ones(4))
        self.register_buffer("hidden", torch.zeros(4), persistent=False)
        self.first = self.entries[0]

    def forward(self, x: Tensor) -> Tensor:
        nearest = torch.cdist(x, self.entries.clone()).argmin(1)
        if self.training:
            hits = F.one_hot(nearest, 4).to(x.dtype)
            self.sizes = 0.9 * self.sizes + 0.1 * hits.sum(0).detach()
            self.entries.data.mul_(0.9).add_(0.1 * hits.T.detach() @ x.detach())
            self.first += 1
            self.hidden += 1
        return x + self.entries[nearest].clone()


class Folded(nn.Module):
    """Reads the statistics of a batch norm inside of it, as quantisation-aware training does."""

    def __init__(self, count: int = 6) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(count)

    def forward(self, x: Tensor) -> Tensor:
        assert self.norm.running_var is not None
        scale = (self.norm.running_var + 1e-5).rsqrt().clone()
        return self.norm(x * scale)


class Counting(nn.Module):
    """Counts, whatever the mode, and holds a constant that many layers share by expanding it."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("shared", torch.ones(1).expand(6))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * self.shared


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "renormalisation": Renormalisation,
    "codebook": Codebook,
    "folded": Folded,
    "counting": Counting,
    "spectral": lambda: spectral_norm(nn.Linear(6, 6)),
    "spectral, by hooks": lambda: nn.utils.spectral_norm(nn.Linear(6, 6)),
    "batch": lambda: nn.BatchNorm1d(6),
    "batch with a hook of its own": lambda: nn.utils.spectral_norm(nn.BatchNorm1d(6), dim=0),
    "lazy": lambda: nn.LazyBatchNorm1d(affine=False),
}


def made(kind: str) -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(8, 6), LAYERS[kind](), nn.Linear(6, 1))


def buffers_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in model.named_buffers()}


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, buffer in found.items():
        assert torch.equal(buffer, expected[name]), name


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("products", [False, True])
def test_buffers_move_in_the_first_evaluation_only(kind: str, told: bool, products: bool) -> None:
    model, plain = made(kind), made(kind)
    inputs = torch.randn(12, 8)
    plain(inputs)
    objective = Objective(
        lambda: model(inputs).pow(2).mean(),
        model.parameters(),
        buffers=ModelBuffers(model.modules()) if told else None,
    )
    for _ in range(3):
        if products:
            objective.with_hvp([[torch.ones_like(p) for p in objective.parameters]])
        else:
            objective()
        assert_equal(buffers_of(model), buffers_of(plain))


@pytest.mark.parametrize("hide", [True, False])
def test_later_evaluations_begin_with_the_same_buffers(hide: bool) -> None:
    for kind in LAYERS:
        model, inputs = made(kind), torch.randn(12, 8)
        model(inputs)
        buffers = ModelBuffers(model.modules(), hide=hide)
        objective = Objective(lambda m=model, x=inputs: m(x).pow(2).mean(), model.parameters(), buffers=buffers)
        objective()
        gradients = []
        for _ in range(2):
            objective()
            gradients.append([p.grad.clone() for p in objective.parameters if p.grad is not None])
        assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True)), kind


def test_a_nan_in_the_batch_does_not_stay_in_a_buffer() -> None:
    model = made("renormalisation")
    inputs = torch.randn(12, 8)
    objective = Objective(lambda: model(inputs).pow(2).mean(), model.parameters())
    objective()
    expected = buffers_of(model)
    inputs[0, 0] = torch.nan
    assert objective().isnan()
    assert_equal(buffers_of(model), expected)


def test_memory_for_copies_is_reused_and_frozen_normalisers_are_not_written() -> None:
    model = nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6).eval(), Counting(), nn.Linear(6, 1))
    inputs, buffers = torch.randn(12, 8), ModelBuffers(model.modules())
    written = model[1].running_mean._version
    for _ in range(2):
        objective = Objective(lambda: model(inputs).pow(2).mean(), model.parameters(), buffers=buffers)
        for _ in range(3):
            objective()
        spare = [each.data_ptr() for each in buffers._spare]
    assert [each.data_ptr() for each in buffers._spare] == spare
    assert model[1].running_mean._version == written


def test_what_a_graph_has_kept_of_a_frozen_normaliser_can_be_differentiated_after_the_next_evaluation() -> None:
    model = nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6).eval(), nn.Linear(6, 1))
    inputs = torch.randn(12, 8)
    objective = Objective(lambda: model(inputs).pow(2).mean(), model.parameters(), create_graph=True)
    objective()
    objective()
    gradients = [p.grad for p in objective.parameters]
    products = torch.autograd.grad(gradients, objective.parameters, [torch.ones_like(p) for p in gradients])
    assert all(product.isfinite().all() for product in products)


def test_the_state_has_buffers_that_are_not_persistent_too() -> None:
    trained, fresh = made("codebook"), made("codebook")
    for _ in range(3):
        trained(torch.randn(12, 8))
    load_state(fresh, copy.deepcopy(state_of(trained)))
    assert_equal(buffers_of(fresh), buffers_of(trained))


# In a run

everything = small_tasks.workload(
    lambda: nn.Sequential(nn.Linear(8, 6), Renormalisation(), Codebook(), Folded(), Counting(), nn.Linear(6, 2))
)


def moved(optimizer: str, **parameters: Any) -> dict[str, Tensor]:
    made = small_tasks.training(small_tasks.here(__file__, "everything"), optimizer, lr=0.0, **parameters)
    with torch.random.fork_rng(devices=[]):
        for batch in made.task.batches(1):
            made.step(batch)
    return state_of(made.task.model)


def test_methods_that_evaluate_more_than_once_leave_the_same_model() -> None:
    expected = moved("sgd")
    assert expected["3.norm.num_batches_tracked"] == 3
    assert_equal(moved("sam", base="sgd", rho=0.05), expected)
    assert_equal(moved("sassha", rho=0.2), expected)


def test_products_beside_a_step_leave_no_trace() -> None:
    made = small_tasks.training(small_tasks.here(__file__, "everything"))
    batch = next(made.task.batches(1))
    made.step(batch)
    before = buffers_of(made.task.model)
    with made.undisturbed():
        made.objective(batch)()
    assert_equal(buffers_of(made.task.model), before)
