import math

import pytest
import torch

from benchbench.schedules import Schedules, factor
from benchbench.values import Constant, Cosine, Linear, MultiStep, Schedule

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


def test_cosine_equals_torch() -> None:
    ours = factors(Cosine(end_factor=0.2))
    theirs = torch_factors(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=TOTAL, eta_min=0.2)
    assert ours == pytest.approx(theirs, rel=1e-12)


def test_linear_equals_torch() -> None:
    ours = factors(Linear(end_factor=3.0))
    line = [1 + 2 * step / TOTAL for step in range(TOTAL)]
    assert ours == pytest.approx(line, rel=1e-12)


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
