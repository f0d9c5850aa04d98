"""From points of the unit cube to values of hyperparameters."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from benchbench.values import Space, canonical_json

Values = dict[str, JsonValue]
"""A value for each hyperparameter that is in use."""

_DIGITS = 4
"""Significant digits of what is tried: a suite shows all of them, and rounding does not depend on the machine."""


def at(space: Mapping[str, Space], point: Sequence[float]) -> Values:
    """Return the values at a point of the unit cube.

    Each hyperparameter has a coordinate of its own, in the order of the space, whether it is in use or not: the same
    point means the same learning rate, say, for every method that searches it first and in the same interval.

    Args:
        space: The search space.
        point: Coordinates in [0, 1), at least one per hyperparameter.
    """
    return in_use(space, {name: value_at(one, u) for (name, one), u in zip(space.items(), point, strict=False)})


def in_use(space: Mapping[str, Space], values: Mapping[str, JsonValue]) -> Values:
    """Return the values without those whose conditions are not met."""
    used: Values = {}
    for name, value in values.items():
        if is_used(space[name], used):
            used[name] = value
    return used


def is_used(one: Space, others: Mapping[str, JsonValue]) -> bool:
    """Return whether a hyperparameter is in use, given the values of those before it."""
    return all(
        name in others and canonical_json(others[name]) == canonical_json(value) for name, value in one.when.items()
    )


def value_at(one: Space, u: float) -> JsonValue:
    """Return the value of a hyperparameter at the share `u` in [0, 1) of its space."""
    if one.choices is not None:
        return one.choices[_index(u, len(one.choices))]
    if one.integers is not None:
        low, high = one.integers
        return low + _index(u, high - low + 1)
    if one.log_uniform is not None:
        low_log, high_log = map(math.log, one.log_uniform)
        return _between(one.log_uniform, math.exp(_mix(low_log, high_log, u)))
    assert one.uniform is not None
    return _between(one.uniform, _mix(*one.uniform, u))


def _index(u: float, count: int) -> int:
    return min(int(u * count), count - 1)


def _mix(low: float, high: float, u: float) -> float:
    return low + u * (high - low)


def _between(ends: tuple[float, float], value: float) -> float:
    return min(max(rounded(value), ends[0]), ends[1])


def rounded(value: float) -> float:
    """Return a number in as many digits as are tried."""
    return float(f"{value:.{_DIGITS}g}")


def grid(space: Mapping[str, Space], points: int) -> list[Values]:
    """Return every combination of values, those of an interval at `points` equal steps with both of its ends.

    Args:
        space: The search space.
        points: Values per interval; of whole numbers, as many as there are at most.

    Returns:
        The combinations in the order of the space, each once.
    """
    combinations = itertools.product(*(_steps(one, points) for one in space.values()))
    used = [in_use(space, dict(zip(space, values, strict=True))) for values in combinations]
    return list({canonical_json(values): values for values in used}.values())


def grid_size(space: Mapping[str, Space], points: int) -> int:
    """Return how many combinations there are before those that differ in nothing are joined."""
    return math.prod(len(_steps(one, points)) for one in space.values())


def _steps(one: Space, points: int) -> list[JsonValue]:
    if one.choices is not None:
        return list(one.choices)
    if one.integers is not None:
        low, high = one.integers
        count = min(points, high - low + 1)
        return list(dict.fromkeys(low + round(i * (high - low) / max(count - 1, 1)) for i in range(count)))
    return [value_at(one, i / (points - 1)) for i in range(points)]


def extremes(space: Mapping[str, Space]) -> list[Values]:
    """Return values that together have both ends of every interval, and every choice."""
    most = max((len(one.choices) for one in space.values() if one.choices is not None), default=2)
    return [in_use(space, {name: _extreme(one, i) for name, one in space.items()}) for i in range(max(most, 2))]


def _extreme(one: Space, i: int) -> JsonValue:
    return one.choices[i % len(one.choices)] if one.choices is not None else value_at(one, i % 2)
