"""Samples, and the words that are given where a number would claim too much."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Literal

from benchbench.values import Frozen

MINIMUM_N = 5
"""Fewest values per side for a p-value."""

RESOLUTION = 1e-12
"""Values that differ by no more than this part of the largest one are equal: such differences come from rounding."""

Withheld = Literal["n < 2", "n < 5", "n < 10", "k < 3", "not finite", "no spread", "out of bounds"]
"""Why a number is not given.

- `n < 2`: a spread needs two values.
- `n < 5`: fewer than `MINIMUM_N` values on a side.
- `n < 10`: fewer than ten trials, for a share of what was tried.
- `k < 3`: fewer than three methods, for a test of several together.
- `not finite`: a value, or what follows from the values, is NaN or infinite, such as the loss of a diverged run.
- `no spread`: all values (or differences) are the same number, so that they say nothing about chance. Several seeds
  with one result mean that the seed decides nothing.
- `out of bounds`: a value is none that its metric can have, such as an accuracy of 4.78.
"""


class Pairs(Frozen):
    """The values of two methods on the seeds that both have.

    Attributes:
        seeds: Shared seeds, ascending.
        first: Values of the first method, in the order of `seeds`.
        second: Values of the second method, likewise.
    """

    seeds: tuple[int, ...]
    first: tuple[float, ...]
    second: tuple[float, ...]

    @cached_property
    def differences(self) -> tuple[float, ...]:
        """First minus second; differences below the resolution of the values are exactly zero."""
        smallest = _resolution(self.magnitude)
        raw = (first - second for first, second in zip(self.first, self.second, strict=True))
        return tuple(0.0 if abs(difference) <= smallest else difference for difference in raw)

    @cached_property
    def magnitude(self) -> float:
        """The largest absolute value, or 0 without values."""
        return largest((*self.first, *self.second))

    @property
    def finite(self) -> bool:
        """True if all values and all differences are finite."""
        return all_finite((*self.first, *self.second, *self.differences))


def pair_by_seed(first: Mapping[int, float], second: Mapping[int, float]) -> Pairs:
    """Return the values on the seeds that both mappings (seed to value) have; others are left out."""
    shared = sorted(first.keys() & second.keys())
    return Pairs(
        seeds=tuple(shared),
        first=tuple(first[seed] for seed in shared),
        second=tuple(second[seed] for seed in shared),
    )


def all_finite(values: Sequence[float]) -> bool:
    """True if no value is NaN or infinite."""
    return all(map(math.isfinite, values))


def largest(values: Sequence[float]) -> float:
    """Return the largest absolute value, or 0 without values."""
    return max(map(abs, values), default=0.0)


def has_spread(values: Sequence[float], magnitude: float | None = None) -> bool:
    """Return whether values differ by more than the resolution at `magnitude` (default: their largest size)."""
    return max(values) - min(values) > _resolution(largest(values) if magnitude is None else magnitude)


def _resolution(magnitude: float) -> float:
    # Numbers below the smallest normal one have lost their digits.
    return max(RESOLUTION * magnitude, sys.float_info.min)
