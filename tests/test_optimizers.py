"""What every optimizer of the two packages promises, whatever its formula."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.optim import Optimizer

from benchbench.optim.ledger import Ledger
from benchbench.optim.objective import Objective
from tests.accelerator import current_device, every_device, needs, tolerance
from tests.helpers import model_cases
from tests.helpers.model_cases import Case
from tests.helpers.optimizers import FACTORIES, SECOND_ORDER, every_optimizer, every_second_order_optimizer

pytestmark = every_device


def train(case: Case, optimizer: Optimizer, steps: Iterable[int]) -> list[float]:
    return [float(optimizer.step(case.loss(t))) for t in steps]


def weights(case: Case) -> list[Tensor]:
    return [p.detach().clone() for p in case.model.parameters()]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@every_optimizer
@pytest.mark.parametrize("case_name", model_cases.NAMES)
def test_makes_progress(name: str, case_name: str) -> None:
    case = model_cases.build(case_name, batches=1)
    losses = train(case, FACTORIES[name](case.model.parameters(), lr=0.01), range(30))
    # With signed curvature, which may be negative, steps lead uphill, too: here for about every third seed.
    assert (min(losses) if name == "sassha_signed" else losses[-1]) < losses[0]


@every_optimizer
def test_is_deterministic_and_leaves_other_random_streams_alone(name: str) -> None:
    paths = []
    for global_seed in (1, 2):
        case = model_cases.build("mlp")
        optimizer = FACTORIES[name](case.model.parameters(), lr=0.01)
        torch.manual_seed(global_seed)
        state = torch.get_rng_state()
        train(case, optimizer, range(5))
        assert torch.equal(torch.get_rng_state(), state)
        paths.append(weights(case))
    assert same(*paths)


@every_second_order_optimizer
def test_another_seed_draws_other_probes(name: str) -> None:
    paths = []
    for seed in (1, 2):
        case = model_cases.build("mlp")
        train(case, FACTORIES[name](case.model.parameters(), lr=0.01, seed=seed), range(2))
        paths.append(weights(case))
    assert not same(*paths)


def by_state_dict(optimizer: Optimizer, make: Callable[[Case], Optimizer], case: Case) -> tuple[Case, Optimizer]:
    stored = io.BytesIO()
    torch.save(optimizer.state_dict(), stored)
    stored.seek(0)
    other = case.copy()
    fresh = make(other)
    fresh.load_state_dict(torch.load(stored, weights_only=True))
    return other, fresh


def by_pickle(optimizer: Optimizer, _make: Any, case: Case) -> tuple[Case, Optimizer]:
    return pickle.loads(pickle.dumps((case, optimizer)))


def by_deepcopy(optimizer: Optimizer, _make: Any, case: Case) -> tuple[Case, Optimizer]:
    return copy.deepcopy((case, optimizer))


@every_optimizer
@pytest.mark.parametrize("way", [by_state_dict, by_pickle, by_deepcopy])
def test_continues_bit_by_bit(name: str, way: Any) -> None:
    """Stopped between two Hessian steps; the probes' seed and the phase must come along."""
    case = model_cases.build("conv_bn")
    settings = {"seed": 7} if name in SECOND_ORDER else {}
    optimizer = FACTORIES[name](case.model.parameters(), lr=0.01, **settings)
    train(case, optimizer, range(4))
    other, resumed = way(optimizer, lambda c: FACTORIES[name](c.model.parameters(), lr=0.5), case)
    later = range(4, 20)
    assert train(case, optimizer, later) == train(other, resumed, later)
    assert same(weights(case), weights(other))


@every_optimizer
def test_splitting_into_groups_changes_nothing(name: str) -> None:
    one, many = model_cases.build("conv_bn"), model_cases.build("conv_bn")
    parameters = list(many.model.parameters())
    train(one, FACTORIES[name](one.model.parameters(), lr=0.01), range(12))
    groups = [{"params": parameters[:2]}, {"params": parameters[2:3]}, {"params": parameters[3:]}]
    train(many, FACTORIES[name](groups, lr=0.01), range(12))
    for first, second in zip(weights(one), weights(many), strict=True):
        torch.testing.assert_close(first, second, rtol=tolerance(1e-12), atol=tolerance(1e-14))


@every_optimizer
def test_groups_have_their_own_hyperparameters(name: str) -> None:
    case = model_cases.build("mlp")
    first, *rest = case.model.parameters()
    start = weights(case)
    train(case, FACTORIES[name]([{"params": [first], "lr": 0.0}, {"params": rest}], lr=0.01), range(3))
    moved = [not torch.equal(a, b) for a, b in zip(start, weights(case), strict=True)]
    assert moved == [False, True, True, True]


@every_optimizer
def test_frozen_and_unused_parameters_stay(name: str) -> None:
    case = model_cases.build("frozen_and_unused")
    model = case.model
    model.first.bias.grad = torch.ones_like(model.first.bias)  # left over from before it was frozen
    frozen, unused = model.first.bias.clone(), model.unused.clone()
    train(case, FACTORIES[name](model.parameters(), lr=0.01, weight_decay=0.1), range(12))
    assert torch.equal(model.first.bias, frozen)
    assert torch.equal(model.unused, unused)


@every_optimizer
def test_a_parameter_can_be_frozen_on_the_way(name: str) -> None:
    case = model_cases.build("mlp")
    frozen = next(case.model.parameters())
    optimizer = FACTORIES[name](case.model.parameters(), lr=0.01, weight_decay=0.1)
    train(case, optimizer, range(3))
    frozen.requires_grad_(False)
    seen = [frozen.clone()]

    def loss() -> Tensor:
        seen.append(frozen.clone())
        return case.loss()()

    for _ in range(3):
        optimizer.step(loss)
    assert all(torch.equal(value, frozen) for value in seen)


@every_optimizer
def test_a_group_can_be_added_on_the_way(name: str) -> None:
    case = model_cases.build("mlp")
    parameters = list(case.model.parameters())
    optimizer = FACTORIES[name](parameters[:2], lr=0.01)
    train(case, optimizer, range(4))
    before = weights(case)
    optimizer.add_param_group({"params": parameters[2:]})
    assert all(torch.isfinite(torch.tensor(train(case, optimizer, range(4, 7)))))
    assert not any(torch.equal(a, b) for a, b in zip(before, weights(case), strict=True))


@every_second_order_optimizer
def test_an_added_group_begins_with_a_hessian_step(name: str) -> None:
    case = model_cases.build("mlp")
    parameters = list(case.model.parameters())
    optimizer = FACTORIES[name](parameters[:2], lr=0.01, lazy_hessian=5)
    ledger = Ledger()
    asked = []
    for t in range(1, 13):
        if t == 4:
            optimizer.add_param_group({"params": parameters[2:]})
        before = ledger.hvps
        optimizer.step(Objective(case.loss(t), case.parameters(), ledger=ledger))
        asked += [t] if ledger.hvps > before else []
    assert asked == [1, 4, 6, 9, 11]


@every_second_order_optimizer
def test_a_group_uses_the_hessians_of_its_own_interval_only(name: str) -> None:
    case = model_cases.build("mlp")
    often, rarely = case.parameters()[:2], case.parameters()[2:]
    groups = [{"params": often, "lazy_hessian": 1}, {"params": rarely, "lazy_hessian": 4}]
    optimizer = FACTORIES[name](groups, lr=0.01)
    curvature = "hessian" if name == "adahessian" else "exp_hessian"
    changed = []
    before = torch.zeros((), dtype=torch.float64, device=current_device())
    for t in range(1, 10):
        optimizer.step(case.loss(t))
        now = optimizer.state[rarely[0]][curvature].clone()
        changed += [t] if not torch.equal(now, before) else []
        before = now
    assert changed == [1, 5, 9]


@every_second_order_optimizer
def test_a_late_parameter_waits_for_its_first_curvature(name: str) -> None:
    """It is unfrozen before step 3, and the next Hessian step is the 6th."""
    case = model_cases.build("mlp")
    late = next(case.model.parameters())
    late.requires_grad_(False)
    optimizer = FACTORIES[name](case.model.parameters(), lr=0.01, lazy_hessian=5)
    start = late.detach().clone()
    moved = []
    for t in range(1, 8):
        if t == 3:
            late.requires_grad_(True)
        optimizer.step(case.loss(t))
        moved.append(not torch.equal(late, start))
    assert moved == [False] * 5 + [True] * 2


@every_optimizer
def test_works_in_several_precisions_at_once(name: str) -> None:
    needs(torch.float64)
    model = nn.Sequential(nn.Linear(4, 5).double(), nn.Linear(5, 3).bfloat16()).to(current_device())
    inputs = torch.randn(8, 4).double().to(current_device())
    targets = torch.randint(0, 3, (8,)).to(current_device())
    optimizer = FACTORIES[name](model.parameters(), lr=0.01)

    def loss() -> Tensor:
        return nn.functional.cross_entropy(model[1](model[0](inputs).tanh().bfloat16()).float(), targets)

    start = [p.detach().clone() for p in model.parameters()]
    for _ in range(3):
        assert optimizer.step(loss).isfinite()
    assert [p.dtype for p in model.parameters()] == [torch.float64] * 2 + [torch.bfloat16] * 2
    assert not any(torch.equal(a, b) for a, b in zip(start, model.parameters(), strict=True))


@every_optimizer
def test_scalars_and_empty_parameters_are_fine(name: str) -> None:
    scalar = nn.Parameter(torch.tensor(2.0, device=current_device()))
    empty = nn.Parameter(torch.zeros(0, 3, device=current_device()))
    vector = nn.Parameter(torch.ones(2, device=current_device()))
    optimizer = FACTORIES[name]([scalar, empty, vector], lr=0.01)
    for _ in range(4):
        optimizer.step(lambda: (scalar - 3 * vector).pow(2).sum() + empty.sum())
    assert scalar.isfinite()
    assert scalar != 2.0
    assert vector.isfinite().all()


@every_optimizer
def test_without_any_gradient_nothing_moves(name: str) -> None:
    other = nn.Parameter(torch.ones(2, device=current_device()))
    weight = nn.Parameter(torch.ones(2, device=current_device()))
    optimizer = FACTORIES[name]([weight], lr=0.01)
    for _ in range(3):
        optimizer.step(lambda: other.pow(2).sum())
    assert weight.tolist() == [1.0, 1.0]


@every_optimizer
def test_a_schedule_can_stop_everything(name: str) -> None:
    case = model_cases.build("mlp")
    optimizer = FACTORIES[name](case.model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2], gamma=0.0)
    for t in range(2):
        optimizer.step(case.loss(t))
        scheduler.step()
    before = weights(case)
    train(case, optimizer, range(2, 5))
    assert same(before, weights(case))


@every_optimizer
def test_a_step_never_waits_for_the_device(name: str) -> None:
    """Fake tensors have no values, so reading one back (item, bool, a shape that depends on it) is an error."""
    with FakeTensorMode():
        model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3))
        inputs = torch.randn(8, 1, 6, 6)
        optimizer = FACTORIES[name](model.parameters(), lr=0.01)
        for _ in range(2):
            loss = optimizer.step(lambda: model(inputs).pow(2).mean())
    assert isinstance(loss, FakeTensor)
