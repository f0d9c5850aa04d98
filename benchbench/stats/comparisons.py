"""Tests of one method against another, and of one against a target.

No test gives a p-value from fewer than `MINIMUM_N` values per side: with so few, none of the assumptions can be seen to
hold. Where a test says nothing, its result holds the reason (`Withheld`) in the place of the number, never NaN.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping
from typing import Literal, TypeVar

from benchbench.stats.samples import MINIMUM_N, Pairs, Withheld, all_finite, has_spread
from benchbench.stats.summary import mean, summarize
from benchbench.values import Frozen

Test = Literal["paired t", "Wilcoxon signed-rank", "Welch t", "z, one-sided"]
"""The tests of one method against another; all but the last are two-sided."""

Key = TypeVar("Key", bound=Hashable)

_MOST_COUNTED = 50
"""Differences of which all signs are counted: their number, `2 ** 50`, is still a whole number of 64 bits."""


class Comparison(Frozen):
    """The result of a test of one method against another.

    Attributes:
        test: Which test.
        n: Number of values of the first and of the second method. In a paired test both are the number of pairs.
        difference: Mean of the first minus mean of the second, or `None` if a side has no value.
        statistic: The test's statistic, or why it is withheld.
        p: The p-value, or why it is withheld. If all values are equal it is 1.
    """

    test: Test
    n: tuple[int, int]
    difference: float | None
    statistic: float | Withheld
    p: float | Withheld


class TargetTest(Frozen):
    """The result of a one-sided test that the mean is better than a target.

    Attributes:
        n: Number of values.
        mean: Their mean.
        z: How many standard errors the mean is better than the target. It is given for any `n`, as published rules
            of record submissions ask for it.
        p: The p-value, or why it is withheld.
    """

    n: int
    mean: float
    z: float | Withheld
    p: float | Withheld


def paired_t(pairs: Pairs) -> Comparison:
    """Test whether the mean of the paired differences is zero: `t = mean / (std / sqrt(n))` with `n - 1` degrees.

    It assumes that differences are normal; common effects of a seed (the same initial weights and batches) cancel.
    Source: Student, "The probable error of a mean", Biometrika 6 (1908).

    Args:
        pairs: Values on shared seeds.

    Returns:
        The comparison. All differences zero: t = 0 and p = 1. All differences equal but not zero: `"no spread"`.
    """
    found = _without_test(pairs) or _t_of_differences(pairs)
    return _comparison("paired t", pairs.first, pairs.second, found)


def wilcoxon(pairs: Pairs) -> Comparison:
    """Test whether the paired differences are symmetric about zero, by the ranks of their absolute values.

    Zero differences are dropped (Wilcoxon's own way), equal absolute values share their mean rank. Up to 50 differences
    the p-value is exact, ties or not: all signs of these ranks are counted. Beyond, it is the normal approximation.
    The smallest p-value that n pairs can give is `2 ** (1 - n)`: 0.0625 for five.
    Source: Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1 (1945).

    Args:
        pairs: Values on shared seeds.

    Returns:
        The comparison; the statistic is the smaller of the two rank sums. All differences zero: 0 and p = 1.
    """
    found = _without_test(pairs) or _signed_rank(pairs)
    return _comparison("Wilcoxon signed-rank", pairs.first, pairs.second, found)


def welch_t(first: Iterable[float], second: Iterable[float]) -> Comparison:
    """Test whether two unpaired methods have the same mean, without assuming equal variances.

    `t = (mean1 - mean2) / sqrt(std1^2 / n1 + std2^2 / n2)`, with the degrees of freedom of Welch and Satterthwaite.
    Source: Welch, "The generalization of 'Student's' problem...", Biometrika 34 (1947).

    Args:
        first: One value per seed of the first method.
        second: One value per seed of the second method.

    Returns:
        The comparison. All values equal: t = 0 and p = 1. No spread on either side but different means: `"no spread"`.
    """
    one, two = [float(value) for value in first], [float(value) for value in second]
    return _comparison("Welch t", one, two, _welch(one, two))


def z_against_target(values: Iterable[float], target: float, sigma: float, *, lower_is_better: bool) -> TargetTest:
    """Test, with a known standard deviation of a run, whether the mean is better than a target.

    The null hypothesis is that the mean only equals the target or is worse: `z = (target - mean) * sqrt(n) / sigma` if
    lower is better, with the sign turned otherwise; `p = 1 - Phi(z)`. The NanoGPT speedrun's optimizer track states its
    rule so: sigma = 0.0013 and `(3.28 - mean) * sqrt(n) >= 0.004`, which is z >= 3.08 or p <= 0.001.

    Args:
        values: One value per run, at least one.
        target: What the mean is tested against.
        sigma: Standard deviation of one run, known from elsewhere and not from `values`.
        lower_is_better: Whether better means lower.

    Returns:
        The test. With a value that is not finite it says so in the place of both numbers.

    Raises:
        ValueError: There is no value, `sigma` is not positive and finite, or `target` is not finite.
    """
    if not (0 < sigma < math.inf and math.isfinite(target)):
        raise ValueError(f"sigma must be positive and finite, the target finite (got {sigma!r} and {target!r})")
    numbers = [float(value) for value in values]
    center, n = mean(numbers), len(numbers)
    if not math.isfinite(center):
        return TargetTest(n=n, mean=center, z="not finite", p="not finite")
    from scipy import stats

    z = (target - center if lower_is_better else center - target) * math.sqrt(n) / sigma
    return TargetTest(n=n, mean=center, z=z, p=float(stats.norm.sf(z)) if n >= MINIMUM_N else "n < 5")


def z_between(
    first: Iterable[float], second: Iterable[float], sigma: float, *, lower_is_better: bool, head_start: float = 0.0
) -> Comparison:
    """Test, with a known standard deviation of a run, whether the first method is better than the second.

    `z = (advantage + head_start) / (sigma * sqrt(1 / n1 + 1 / n2))`; the advantage is the difference of the means,
    positive where the first is better; `p = 1 - Phi(z)`. The NanoGPT speedrun's optimizer track compares records that
    took different numbers of steps so, with a head start of 0.0045 for 100 steps less.

    Args:
        first: One value per run, at least one.
        second: Likewise of the other method.
        sigma: Standard deviation of one run, known from elsewhere and not from the values.
        lower_is_better: Whether better means lower.
        head_start: What is added to the first method's advantage, for what it has spent less.

    Returns:
        The comparison: z for any number of runs, the p-value from `MINIMUM_N` per side on.

    Raises:
        ValueError: A side has no value, `sigma` is not positive and finite, or `head_start` is not finite.
    """
    if not (0 < sigma < math.inf and math.isfinite(head_start)):
        raise ValueError(f"sigma must be positive and finite, a head start finite (got {sigma!r} and {head_start!r})")
    one, two = [float(value) for value in first], [float(value) for value in second]
    advantage = mean(two) - mean(one) if lower_is_better else mean(one) - mean(two)
    if not math.isfinite(advantage):
        return _comparison("z, one-sided", one, two, "not finite")
    from scipy import stats

    z = (advantage + head_start) / (sigma * math.sqrt(1 / len(one) + 1 / len(two)))
    p: float | Withheld = float(stats.norm.sf(z)) if min(len(one), len(two)) >= MINIMUM_N else "n < 5"
    return _comparison("z, one-sided", one, two, (z, p))


def holm(p_values: Mapping[Key, float | Withheld]) -> dict[Key, float | Withheld]:
    """Correct a family of p-values so that any false rejection at all has at most the stated probability.

    The k-th smallest of m p-values becomes the largest of `(m - j + 1) * p_j` over `j <= k`, at most 1.
    Source: Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6 (1979).

    A withheld p-value stays withheld. The family size m leaves out what was withheld for too few values, which is known
    before any value is; what the values themselves withheld counts as a test that rejects nothing.

    Args:
        p_values: p-value by name of the comparison.

    Returns:
        The corrected p-value by name, in the order of `p_values`.
    """
    family = sum(p not in ("n < 2", "n < 5") for p in p_values.values())
    corrected: dict[float, float] = {}
    largest = 0.0
    for position, p in enumerate(sorted(p for p in p_values.values() if not isinstance(p, str))):
        largest = max(largest, min(1.0, (family - position) * p))
        corrected.setdefault(p, largest)
    return {name: p if isinstance(p, str) else corrected[p] for name, p in p_values.items()}


_Found = tuple[float, float | Withheld] | Withheld
"""Statistic and p-value, or why there are none."""


def _comparison(test: Test, first: Iterable[float], second: Iterable[float], found: _Found) -> Comparison:
    one, two = list(first), list(second)
    difference = mean(one) - mean(two) if one and two else None
    statistic, p = (found, found) if isinstance(found, str) else found
    return Comparison(test=test, n=(len(one), len(two)), difference=difference, statistic=statistic, p=p)


def _without_test(pairs: Pairs) -> _Found | None:
    """Return the result of a paired test that needs no test, or `None`."""
    if len(pairs.seeds) < MINIMUM_N:
        return "n < 5"
    if not pairs.finite:
        return "not finite"
    if not any(pairs.differences):
        return 0.0, 1.0
    return None


def _t_of_differences(pairs: Pairs) -> _Found:
    from scipy import special  # its distribution functions alone: scipy.stats takes a second to import

    if not has_spread(pairs.differences, pairs.magnitude):
        return "no spread"
    summary = summarize(pairs.differences)
    assert summary.std
    t = summary.mean / (summary.std / math.sqrt(summary.n))
    return t, float(2 * special.stdtr(summary.n - 1, -abs(t)))


def _signed_rank(pairs: Pairs) -> _Found:
    import numpy as np
    from scipy import stats

    # In whole multiples of the resolution, so that no rank hangs on the rounding of a subtraction.
    scaled = np.sort(np.rint(np.divide(pairs.differences, pairs.magnitude) * 1e12))
    scaled = scaled[scaled != 0]
    # Twice the ranks, which are whole numbers with ties too; `scipy.stats.wilcoxon` takes seconds for exact ties.
    ranks = np.rint(2 * stats.rankdata(np.abs(scaled))).astype(int)
    positive = int(ranks[scaled > 0].sum())
    smaller = min(positive, int(ranks.sum()) - positive)
    if len(scaled) > _MOST_COUNTED:
        return smaller / 2, float(stats.wilcoxon(scaled, method="asymptotic").pvalue)
    counts = np.zeros(ranks.sum() + 1, dtype=int)  # of the sets of ranks with each sum
    counts[0] = 1
    for rank in ranks:
        counts[rank:] = counts[rank:] + counts[:-rank]
    return smaller / 2, min(1.0, 2 * float(counts[: smaller + 1].sum() / 2.0 ** len(ranks)))


def _welch(one: list[float], two: list[float]) -> _Found:
    if min(len(one), len(two)) < MINIMUM_N:
        return "n < 5"
    if not all_finite(one + two):
        return "not finite"
    if not has_spread(one + two):
        return 0.0, 1.0
    if not (has_spread(one) or has_spread(two)):
        return "no spread"
    from scipy import stats

    a, b = summarize(one), summarize(two)
    assert a.std is not None
    assert b.std is not None
    scale = max(a.std, b.std)  # t does not depend on it; the fourth powers of large values would overflow
    shift = (a.mean - b.mean) / scale
    found = stats.ttest_ind_from_stats(shift, a.std / scale, a.n, 0.0, b.std / scale, b.n, equal_var=False)
    return float(found.statistic), float(found.pvalue)
