"""Quality against cost, in any currency: seconds, steps, gradients, Hessian-vector products, bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One point of a run's curve.

    Attributes:
        index: Number of the evaluation in its run; no two have the same.
        cost: Cost of the run so far.
        metric: What was measured; NaN or infinite after a divergence.
    """

    index: int
    cost: float
    metric: float


@dataclass(frozen=True, slots=True)
class Hit:
    """Time at which a run reached its target.

    Attributes:
        index: The first evaluation at which the target was reached.
        cost: Cost of the run up to it.
    """

    index: int
    cost: float


def time_to_target(curve: Iterable[Evaluation], target: float, *, lower_is_better: bool) -> Hit | None:
    """Return when a run first reached a target, or `None` for a miss.

    Equal to the target is reached; a metric that is NaN or infinite never is. What a run does afterwards does not
    count.

    Args:
        curve: Evaluations of one run, in any order.
        target: Value of the metric to reach.
        lower_is_better: Whether the metric has to fall to the target.

    Returns:
        The hit, or `None`.

    Raises:
        ValueError: The target or a cost is not finite, or an index occurs twice.
    """
    if not math.isfinite(target):
        raise ValueError(f"a target is finite (got {target!r})")
    for point in _ordered(curve):
        reached = point.metric <= target if lower_is_better else point.metric >= target
        if reached and math.isfinite(point.metric):
            return Hit(index=point.index, cost=point.cost)
    return None


def metric_within(
    curve: Iterable[Evaluation], budget: float, *, pick: Literal["best", "last"], lower_is_better: bool
) -> Evaluation | None:
    """Return the evaluation that stands for a run at a cost budget: the compute-matched view.

    Args:
        curve: Evaluations of one run, in any order.
        budget: Greatest cost that counts.
        pick: `last`: the last evaluation within the budget, be its metric finite or not. `best`: the one with the best
            finite metric, the earliest of equal ones; a later divergence does not undo it.
        lower_is_better: Whether a lower metric is better.

    Returns:
        The evaluation, or `None` if there is none within the budget (for `best`: none with a finite metric).

    Raises:
        ValueError: A cost is not finite, or an index occurs twice.
    """
    within = [evaluation for evaluation in _ordered(curve) if evaluation.cost <= budget]
    if pick == "last":
        return within[-1] if within else None
    sign = 1 if lower_is_better else -1
    finite = [evaluation for evaluation in within if math.isfinite(evaluation.metric)]
    return min(finite, key=lambda evaluation: sign * evaluation.metric, default=None)


def pareto_front(points: Mapping[str, tuple[float, float]], *, lower_is_better: bool) -> tuple[str, ...]:
    """Return the methods that no other one beats in cost or quality without losing in the other.

    A point is dominated by one that is at least as good in both and better in one. Equal points do not dominate each
    other: both are on the front, or neither. A point with a NaN or infinite coordinate is never on the front and
    dominates nothing.

    Args:
        points: (cost, quality) by name.
        lower_is_better: Whether lower quality numbers are better.

    Returns:
        Names on the front, by cost, then name.
    """
    sign = 1 if lower_is_better else -1
    # As something to be made small in both coordinates.
    finite = {
        name: (cost, sign * quality)
        for name, (cost, quality) in points.items()
        if math.isfinite(cost) and math.isfinite(quality)
    }
    front = [
        name
        for name, (cost, loss) in finite.items()
        if not any(other != (cost, loss) and other[0] <= cost and other[1] <= loss for other in finite.values())
    ]
    return tuple(sorted(front, key=lambda name: (finite[name][0], name)))


def _ordered(curve: Iterable[Evaluation]) -> list[Evaluation]:
    evaluations = sorted(curve, key=lambda evaluation: evaluation.index)
    for evaluation in evaluations:
        if not math.isfinite(evaluation.cost):
            raise ValueError(f"the cost of evaluation {evaluation.index} is not finite (got {evaluation.cost!r})")
    for before, after in pairwise(evaluations):
        if before.index == after.index:
            raise ValueError(f"evaluation {after.index} occurs twice in a curve")
    return evaluations
