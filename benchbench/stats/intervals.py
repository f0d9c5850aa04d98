"""Confidence intervals of a mean over seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable

from benchbench.stats.samples import MINIMUM_N, Withheld, all_finite, has_spread
from benchbench.stats.summary import mean, summarize
from benchbench.values import Frozen

BOOTSTRAP_SEED = 20_240_501
"""Seed of the resampling: the same values always give the same interval."""

BOOTSTRAP_RESAMPLES = 9_999
"""Resamples of a bootstrap interval."""


class Interval(Frozen):
    """A two-sided confidence interval.

    Attributes:
        low: Lower end.
        high: Upper end.
        level: Confidence level, such as 0.95.
    """

    low: float
    high: float
    level: float


def t_interval(values: Iterable[float], level: float = 0.95) -> Interval | Withheld:
    """Return Student's interval of the mean: `mean ± t(1 - (1 - level) / 2; n - 1) * std / sqrt(n)`.

    Source: Student, "The probable error of a mean", Biometrika 6 (1908). It is exact for normal values; the coverage
    for others is near the level once `n` is moderate.

    Args:
        values: One value per seed.
        level: Confidence level, between 0 and 1.

    Returns:
        The interval (of width zero if all values are equal), `"n < 2"`, or `"not finite"`.
    """
    _check_level(level)
    numbers = [float(value) for value in values]
    if len(numbers) < 2:
        return "n < 2"
    if not all_finite(numbers):
        return "not finite"
    from scipy import special

    summary = summarize(numbers)
    half = -float(special.stdtrit(summary.n - 1, (1 - level) / 2)) * (summary.std or 0.0) / math.sqrt(summary.n)
    return Interval(low=summary.mean - half, high=summary.mean + half, level=level)


def bounded_interval(
    values: Iterable[float], lowest: float, highest: float = math.inf, level: float = 0.95
) -> Interval | Withheld:
    """Return an interval of the mean of values that have bounds, which lies inside them.

    Between two bounds it is Wilson's score interval with a variance that the seeds tell: on the scale from 0 to 1, a
    mean of m has the variance `phi * m * (1 - m)`, and `phi = std^2 / (m * (1 - m))` is estimated. The interval holds
    every mean mu with `(m - mu)^2 <= t^2 * phi * mu * (1 - mu) / n`, where t is Student's with n - 1 degrees. Far from
    the bounds it is the t interval. With a lower bound alone it is the t interval of the logarithm of the distance
    from it, by the delta method.
    Sources: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927); Wedderburn,
    "Quasi-likelihood functions...", Biometrika 61 (1974), for the variance.

    Args:
        values: One value per seed.
        lowest: The least that a value can be.
        highest: The most that it can be.
        level: Confidence level, between 0 and 1.

    Returns:
        The interval, `"n < 2"`, `"not finite"`, `"out of bounds"`, or, if all values are equal, `"no spread"`: numbers
        such as counts of correct answers are equal by chance, and all seeds at 100 % don't say how far from it the
        mean may be.
    """
    found = t_interval(numbers := [float(value) for value in values], level)
    if isinstance(found, str):
        return found
    if min(numbers) < lowest or max(numbers) > highest:
        return "out of bounds"
    if not has_spread(numbers):
        return "no spread"
    center, half = mean(numbers) - lowest, (found.high - found.low) / 2
    if highest == math.inf:
        factor = math.exp(min(half / center, 700.0))  # the largest power that is a number
        return Interval(low=lowest + center / factor, high=lowest + center * factor, level=level)
    width = highest - lowest
    m, error = center / width, half / width
    c = (error / m) * (error / (1 - m))
    root = math.sqrt(c * c + 4 * c * m * (1 - m))
    low, high = ((2 * m + c + sign * root) / (2 * (1 + c)) for sign in (-1, 1))
    return Interval(low=max(lowest + width * low, lowest), high=min(lowest + width * high, highest), level=level)


def bootstrap_interval(values: Iterable[float], level: float = 0.95) -> Interval | Withheld:
    """Return the bias-corrected and accelerated bootstrap interval (BCa) of the mean.

    BCa and not the plain percentile interval: it corrects for bias and skewness, and its error of coverage shrinks with
    1 / n instead of 1 / sqrt(n), which matters for skewed values such as times to a target. Both are too narrow for few
    values: the t interval is the one to report then.
    Source: Efron, "Better bootstrap confidence intervals", JASA 82 (1987); computed by `scipy.stats.bootstrap`.

    The interval is a function of the set of values: they are sorted before they are resampled with `BOOTSTRAP_SEED`.

    Args:
        values: One value per seed.
        level: Confidence level, between 0 and 1.

    Returns:
        The interval (of width zero if all values are equal), `"n < 5"`, or `"not finite"`.
    """
    _check_level(level)
    numbers = sorted(float(value) for value in values)
    if len(numbers) < MINIMUM_N:
        return "n < 5"
    if not all_finite(numbers):
        return "not finite"
    if not has_spread(numbers):
        return Interval(low=mean(numbers), high=mean(numbers), level=level)
    return _bca(numbers, level)


def _bca(numbers: list[float], level: float) -> Interval:
    import numpy as np
    from scipy import stats

    summary = summarize(numbers)
    assert summary.std
    # Of standardized values, whose powers neither overflow nor vanish.
    standardized = [(number - summary.mean) / summary.std for number in numbers]
    found = stats.bootstrap(
        (standardized,),
        np.mean,
        n_resamples=BOOTSTRAP_RESAMPLES,
        confidence_level=level,
        method="BCa",
        rng=np.random.default_rng(BOOTSTRAP_SEED),
    ).confidence_interval
    low, high = (summary.mean + summary.std * float(end) for end in found)
    return Interval(low=low, high=high, level=level)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"a confidence level lies between 0 and 1 (got {level!r})")
