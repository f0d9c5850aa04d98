"""How hyperparameters change over a run: every number in the optimizer's parameter groups can be scheduled."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from benchbench.values import Cosine, Linear, MultiStep, Schedule


class Schedules:
    """Sets scheduled hyperparameters in an optimizer's parameter groups before each step.

    A value depends on the base value (the group's own, from the suite) and the number of steps completed, on nothing
    else, so a resumed run continues with the same values.

    Args:
        optimizer: Owner of the parameter groups.
        schedules: Schedule per key of the parameter groups, `lr` among them.
        steps_per_epoch: Steps of one epoch.
        epochs: The run's budget.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        schedules: Mapping[str, Schedule],
        steps_per_epoch: int,
        epochs: int,
    ) -> None:
        self._groups = optimizer.param_groups
        self._schedules = dict(schedules)
        self._base = {key: [group[key] for group in self._groups] for key in schedules}
        self._steps_per_epoch = steps_per_epoch
        self._epochs = epochs

    def apply(self, step: int) -> None:
        """Set the values that hold for the step after `step` completed ones."""
        for key, schedule in self._schedules.items():
            scale = factor(schedule, step, self._steps_per_epoch, self._epochs)
            for group, base in zip(self._groups, self._base[key], strict=True):
                group[key] = base * scale

    def values(self) -> dict[str, float]:
        """Return the current value of `lr` and of every scheduled key, from the first parameter group."""
        group = self._groups[0]
        keys = dict.fromkeys(["lr", *self._schedules])
        return {key: float(group[key]) for key in keys if key in group}


def factor(schedule: Schedule, step: int, steps_per_epoch: int, epochs: int) -> float:
    """Return what a schedule multiplies the base value with.

    Args:
        schedule: The schedule.
        step: Steps completed.
        steps_per_epoch: Steps of one epoch.
        epochs: The run's budget.
    """
    warmup = round(schedule.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return (step + 1) / warmup
    match schedule:
        case MultiStep(milestones=milestones, gamma=gamma):
            passed = sum(step >= round(milestone * steps_per_epoch) for milestone in milestones)
            return gamma**passed
        case Cosine(end_factor=end):
            return end + (1 - end) * (1 + math.cos(math.pi * _progress(step, warmup, steps_per_epoch * epochs))) / 2
        case Linear(end_factor=end):
            return 1 + (end - 1) * _progress(step, warmup, steps_per_epoch * epochs)
        case _:
            return 1.0


def _progress(step: int, warmup: int, total: int) -> float:
    return (step - warmup) / max(1, total - warmup)
