"""Schedules of hyperparameters over a run: every number in the optimizer's parameter groups can be scheduled."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, assert_never

import torch

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


class Schedules:
    """Sets scheduled hyperparameters in an optimizer's parameter groups before each step.

    A value depends on the base value (the group's own, from the suite), the number of steps completed and what the
    epochs before have scored, on nothing else, so a resumed run continues with the same values.

    Args:
        optimizer: Owner of the parameter groups.
        schedules: Schedule per key of the parameter groups, `lr` among them; `matrices.lr` changes those alone whose
            `part` is `matrices`.
        steps_per_epoch: Steps of one epoch.
        epochs: The run's budget.
        higher_is_better: Direction of the scores.

    Attributes:
        scores: What each completed epoch has scored, in the metric that chooses the best one.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        schedules: Mapping[str, Schedule],
        steps_per_epoch: int,
        epochs: int,
        *,
        higher_is_better: bool = True,
    ) -> None:
        self.scores: list[float] = []
        self._higher_is_better = higher_is_better
        self._optimizer = optimizer
        self._schedules = dict(schedules)
        # A group may lack a hyperparameter that others have, or leave it open.
        self._base = {key: [_base(group, key, schedules) for group in optimizer.param_groups] for key in schedules}
        self._steps_per_epoch = steps_per_epoch
        self._epochs = epochs

    def apply(self, step: int) -> None:
        """Set the values that hold for the step after `step` completed ones."""
        for key, schedule in self._schedules.items():
            scale = factor(schedule, step, self._steps_per_epoch, self._epochs)
            if isinstance(schedule, Plateau):
                scale *= schedule.gamma ** drops(schedule, self.scores, higher_is_better=self._higher_is_better)
            for group, base in zip(self._optimizer.param_groups, self._base[key], strict=True):
                if base is not None:
                    group[key.rpartition(".")[2]] = base * scale

    def values(self) -> dict[str, float]:
        """Return the current value of `lr` and of every scheduled key, from the first parameter group that has it.

        Of several numbers that is the mean; what is no number is left out.
        """
        return {key: mean for key, (mean, _) in self._logged().items() if mean is not None}

    def account(self) -> dict[str, str]:
        """Say what the values leave out or sum up, as plain text."""
        return {f"schedule/{key}": remark for key, (_, remark) in self._logged().items() if remark}

    def _logged(self) -> dict[str, tuple[float | None, str]]:
        """Return of each value the number that is logged, and a remark where that is not the value itself."""
        keys = dict.fromkeys(["lr", *self._schedules])
        groups = self._optimizer.param_groups
        values = {
            key: [group[name] for group in groups if name in group and part in ("", group.get("part"))]
            for key in keys
            for part, _, name in [key.rpartition(".")]
        }
        return {key: _logged(found[0]) for key, found in values.items() if found}


def _base(group: Mapping[str, Any], key: str, schedules: Collection[str]) -> Any:
    """Return the base value that a schedule changes in a parameter group, or `None` where it changes none.

    The schedule of a part, such as `matrices.lr`, comes before that of all groups, `lr`.
    """
    part, _, name = key.rpartition(".")
    own = group.get("part")
    applies = part == own if part else f"{own}.{name}" not in schedules
    return group.get(name) if applies else None


def _logged(value: object) -> tuple[float | None, str]:
    try:
        numbers = torch.as_tensor(value, dtype=torch.float64).detach()
    except (TypeError, ValueError, RuntimeError):  # what torch makes no tensor of
        return None, f"not logged: {str(value)[:40]} is no number"
    if not numbers.numel():
        return None, "not logged: it is empty"
    return numbers.mean().item(), f"the mean of {numbers.numel()} entries" if numbers.numel() > 1 else ""


def factor(schedule: Schedule, step: int, steps_per_epoch: int, epochs: int) -> float:
    """Return what a schedule multiplies the base value with; for a `plateau`, without its drops.

    Args:
        schedule: The schedule.
        step: Steps completed.
        steps_per_epoch: Steps of one epoch.
        epochs: The run's budget.
    """
    warmup = round(schedule.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return (step + 1) / warmup
    total = steps_per_epoch * epochs
    progress = (step - warmup) / max(1, total - warmup)
    passed = sum(step >= round(each * steps_per_epoch) for each in getattr(schedule, "milestones", ()))
    match schedule:
        case Constant() | Plateau():
            value = 1.0
        case MultiStep(gamma=gamma):
            value = gamma**passed
        case Piecewise(factors=factors):
            value = factors[passed]
        case Cosine(end_factor=end):
            value = end + (1 - end) * (1 + math.cos(math.pi * progress)) / 2
        case Linear(end_factor=end):
            value = 1 + (end - 1) * progress
        case Polynomial(power=power, end_factor=end):
            value = end + (1 - end) * (1 - progress) ** power
        case WarmupStableDecay(decay=decay, shape=shape, end_factor=end):
            start = max(warmup, round((1 - decay) * total))
            fallen = max(0.0, (step - start) / max(1, total - start))
            value = end + (1 - end) * (1 - (math.sqrt(fallen) if shape == "1-sqrt" else fallen))
        case _:
            assert_never(schedule)
    return value


def drops(schedule: Plateau, scores: Sequence[float], *, higher_is_better: bool) -> int:
    """Return how often a `plateau` has dropped.

    The rule is that of torch's `ReduceLROnPlateau` with a relative threshold: an epoch is an improvement if it beats
    the best score so far by `threshold` times that score; after `patience` epochs in a row without one, the next such
    epoch brings a drop, and the count starts again.

    Args:
        schedule: The schedule.
        scores: What each completed epoch has scored.
        higher_is_better: Direction of the scores.
    """
    best, without, dropped = (-math.inf if higher_is_better else math.inf), 0, 0
    for score in scores:
        margin = schedule.threshold * best if math.isfinite(best) else 0.0
        if score > best + margin if higher_is_better else score < best - margin:
            best, without = score, 0
        else:
            without += 1
        if without > schedule.patience:
            dropped, without = dropped + 1, 0
    return dropped
