import math
from collections.abc import Callable

import pytest
import torch

from benchbench.training.schedules import Schedules, drops, factor
from benchbench.values import (
    Constant,
    Cosine,
    Linear,
    MultiStep,
    Piecewise,
    Plateau,
    Polynomial,
    Schedule,
    WarmupStableDecay,
)

STEPS_PER_EPOCH, EPOCHS = 5, 8
TOTAL = STEPS_PER_EPOCH * EPOCHS


def factors(schedule: Schedule) -> list[float]:
    return [factor(schedule, step, STEPS_PER_EPOCH, EPOCHS) for step in range(TOTAL)]


def torch_factors(make: type[torch.optim.lr_scheduler.LRScheduler], **settings: object) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(optimizer, **settings)
    values = []
    for _ in range(TOTAL):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return values


def test_multistep_equals_torch() -> None:
    ours = factors(MultiStep(milestones=(2, 6), gamma=0.1))
    theirs = torch_factors(torch.optim.lr_scheduler.MultiStepLR, milestones=[10, 30], gamma=0.1)
    assert ours == pytest.approx(theirs, rel=1e-12)


def test_a_milestone_counts_completed_epochs() -> None:
    per_epoch = factors(MultiStep(milestones=(6,), gamma=0.1))[::STEPS_PER_EPOCH]
    assert per_epoch == [1.0] * 6 + [0.1] * 2


def test_piecewise_holds_each_factor_between_its_milestones() -> None:
    per_step = factors(Piecewise(milestones=(2, 4.4), factors=(0, 1, 0.8)))
    assert per_step == [0.0] * 10 + [1.0] * 12 + [0.8] * 18


def test_piecewise_after_a_warmup_keeps_its_milestones() -> None:
    per_step = factors(Piecewise(milestones=(3,), factors=(1, 0.5), warmup_epochs=1))
    assert per_step[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert per_step[5:] == [1.0] * 10 + [0.5] * 25


def test_cosine_equals_torch() -> None:
    ours = factors(Cosine(end_factor=0.2))
    theirs = torch_factors(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=TOTAL, eta_min=0.2)
    assert ours == pytest.approx(theirs, rel=1e-12)


def test_linear_equals_torch() -> None:
    ours = factors(Linear(end_factor=3.0))
    line = [1 + 2 * step / TOTAL for step in range(TOTAL)]
    assert ours == pytest.approx(line, rel=1e-12)


@pytest.mark.parametrize(("shape", "falls"), [("linear", lambda t: t), ("1-sqrt", math.sqrt)])
def test_wsd_warms_up_stays_and_decays_by_its_formula(shape: str, falls: Callable[[float], float]) -> None:
    schedule = WarmupStableDecay(warmup_epochs=1, decay=0.25, shape=shape, end_factor=0.1)  # type: ignore[arg-type]
    by_hand = [(step + 1) / 5 for step in range(5)] + [1.0] * 25
    by_hand += [0.1 + 0.9 * (1 - falls(step / 10)) for step in range(10)]
    assert factors(schedule) == pytest.approx(by_hand, rel=1e-12)


def test_wsd_whose_decay_is_all_of_the_budget_begins_it_after_the_warmup() -> None:
    assert factors(WarmupStableDecay(decay=1.0)) == pytest.approx(factors(Linear()), rel=1e-12)
    assert factors(WarmupStableDecay(decay=1.0, warmup_epochs=2)) == pytest.approx(factors(Linear(warmup_epochs=2)))


@pytest.mark.parametrize("schedule", [Constant(warmup_epochs=2), Cosine(warmup_epochs=2)])
def test_warmup_grows_linearly_to_the_base_value(schedule: Schedule) -> None:
    assert factors(schedule)[:10] == pytest.approx([step / 10 for step in range(1, 11)])
    assert factors(schedule)[10] == 1.0


def test_cosine_after_a_warmup_spans_the_rest_of_the_budget() -> None:
    half_way = factors(Cosine(warmup_epochs=2))[10 + 15]
    assert half_way == pytest.approx((1 + math.cos(math.pi / 2)) / 2)


def test_any_number_in_the_parameter_groups_is_scheduled_from_each_groups_own_value() -> None:
    groups = [
        {"params": [torch.zeros(1, requires_grad=True)], "lr": 1.0},
        {"params": [torch.zeros(1, requires_grad=True)], "lr": 2.0, "momentum": 0.5},
    ]
    optimizer = torch.optim.SGD(groups, momentum=0.8)
    schedules = Schedules(
        optimizer,
        {"lr": MultiStep(milestones=(1,), gamma=0.5), "momentum": Linear(end_factor=0.0)},
        STEPS_PER_EPOCH,
        EPOCHS,
    )
    schedules.apply(TOTAL // 2)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 1.0]
    assert [group["momentum"] for group in optimizer.param_groups] == pytest.approx([0.4, 0.25])
    assert schedules.values() == pytest.approx({"lr": 0.5, "momentum": 0.4})


def test_polynomial_equals_torch() -> None:
    ours = factors(Polynomial(power=3))
    theirs = torch_factors(torch.optim.lr_scheduler.PolynomialLR, total_iters=TOTAL, power=3)
    assert ours == pytest.approx(theirs, rel=1e-12)


def test_a_polynomial_can_end_above_zero() -> None:
    assert factors(Polynomial(power=1, end_factor=0.25)) == pytest.approx(factors(Linear(end_factor=0.25)), rel=1e-12)


@pytest.mark.parametrize("higher_is_better", [True, False])
@pytest.mark.parametrize("patience", [0, 2])
def test_plateau_equals_torch(higher_is_better: bool, patience: int) -> None:
    scores = torch.rand(60, generator=torch.Generator().manual_seed(3), dtype=torch.float64).add(0.5).tolist()
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, "max" if higher_is_better else "min", factor=0.9, patience=patience, threshold=0.01, eps=0
    )
    schedule = Plateau(gamma=0.9, patience=patience, threshold=0.01)
    for count, score in enumerate(scores, start=1):
        theirs.step(score)
        dropped = drops(schedule, scores[:count], higher_is_better=higher_is_better)
        assert 0.9**dropped == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
    assert dropped > 3


def test_a_score_that_is_no_number_is_no_improvement() -> None:
    assert drops(Plateau(patience=0), [float("nan"), 1.0, float("nan")], higher_is_better=True) == 2


def test_a_plateau_is_reached_by_training() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedules = Schedules(optimizer, {"lr": Plateau(gamma=0.5, patience=0)}, STEPS_PER_EPOCH, EPOCHS)
    schedules.scores += [0.9, 0.8]
    schedules.apply(2 * STEPS_PER_EPOCH)
    assert optimizer.param_groups[0]["lr"] == 0.5
