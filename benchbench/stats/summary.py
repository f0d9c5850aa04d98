"""Arithmetic on the results of several seeds; no result depends on the order of its inputs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable

from benchbench.values import Frozen


class Summary(Frozen):
    """Summary of several seeds.

    Attributes:
        n: How many values there are.
        mean: Their mean.
        std: Their sample standard deviation (ddof = 1), or `None` for a single value.
    """

    n: int
    mean: float
    std: float | None


def summarize(values: Iterable[float]) -> Summary:
    """Return number, mean and sample standard deviation of `values`, of which there must be at least one."""
    numbers = [float(value) for value in values]
    return Summary(n=len(numbers), mean=mean(numbers), std=sample_std(numbers))


def mean(values: Iterable[float]) -> float:
    """Return the mean of `values`, of which there must be at least one."""
    # The standard library adds floats as exact fractions: any order gives the same bits, nothing overflows.
    return statistics.mean([float(value) for value in values])


def sample_std(values: Iterable[float]) -> float | None:
    """Return the sample standard deviation (ddof = 1): `None` below two values, NaN if one is not finite."""
    numbers = [float(value) for value in values]
    if len(numbers) < 2:
        return None
    if not all(map(math.isfinite, numbers)):
        return math.nan
    return statistics.stdev(numbers)
