"""Seeds needed to see an effect, and the effects that a number of seeds can see.

All functions are for two-sided t tests: under the alternative the statistic follows the noncentral t distribution
(Cohen, "Statistical power analysis for the behavioral sciences" (1988), chapter 2).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from benchbench.stats.samples import MINIMUM_N

MOST_SEEDS = 1_000_000
"""Beyond this many seeds the answer is that no affordable number will do."""


def paired_power(effect: float, n: int, alpha: float = 0.05) -> float:
    """Return the probability that a paired t test with `n` pairs rejects at `alpha`.

    Degrees of freedom `n - 1`, noncentrality `effect * sqrt(n)`.

    Args:
        effect: Cohen's d_z: mean of the differences over their standard deviation.
        n: Number of shared seeds.
        alpha: Level of the test, between 0 and 1.

    Returns:
        The power; 0 below `MINIMUM_N`, where no p-value is given.
    """
    return _power(n - 1, effect * math.sqrt(n), alpha) if n >= MINIMUM_N else 0.0


def unpaired_power(effect: float, n: int, alpha: float = 0.05) -> float:
    """Return the probability that a t test with `n` values on each side rejects at `alpha`.

    Degrees of freedom `2n - 2`, noncentrality `effect * sqrt(n / 2)`: for equal variances and sizes, where Welch's test
    has nearly the same power.

    Args:
        effect: Cohen's d: difference of the means over the common standard deviation.
        n: Number of seeds of each method.
        alpha: Level of the test, between 0 and 1.

    Returns:
        The power; 0 below `MINIMUM_N`, where no p-value is given.
    """
    return _power(2 * n - 2, effect * math.sqrt(n / 2), alpha) if n >= MINIMUM_N else 0.0


def paired_seeds_needed(effect: float, *, alpha: float = 0.05, power: float = 0.8) -> int | None:
    """Return the fewest shared seeds with which a paired t test reaches a power, or `None` above `MOST_SEEDS`.

    Args:
        effect: Cohen's d_z.
        alpha: Level of the test, between 0 and 1. With Holm's correction over m comparisons, `alpha / m` is safe.
        power: Wanted probability of rejection, between 0 and 1.

    Returns:
        The number of seeds, `MINIMUM_N` or more; `None` for an effect of zero.
    """
    return _fewest(partial(paired_power, effect, alpha=alpha), power)


def unpaired_seeds_needed(effect: float, *, alpha: float = 0.05, power: float = 0.8) -> int | None:
    """Return the fewest seeds per method with which an unpaired t test reaches a power, or `None` above `MOST_SEEDS`.

    Args:
        effect: Cohen's d.
        alpha: Level of the test, between 0 and 1. With Holm's correction over m comparisons, `alpha / m` is safe.
        power: Wanted probability of rejection, between 0 and 1.

    Returns:
        The number of seeds, `MINIMUM_N` or more; `None` for an effect of zero.
    """
    return _fewest(partial(unpaired_power, effect, alpha=alpha), power)


def _power(degrees: int, noncentrality: float, alpha: float) -> float:
    """Return the probability that a noncentral t lies beyond the critical values of a two-sided test.

    Raises:
        ValueError: `alpha` is not between 0 and 1, or the effect is not finite.
    """
    if not (0 < alpha < 1 and math.isfinite(noncentrality)):
        raise ValueError(f"alpha lies between 0 and 1, an effect is finite (got {alpha!r} and {noncentrality!r})")
    from scipy import stats

    critical = stats.t.isf(alpha / 2, degrees)
    # scipy's noncentral t is NaN far out, in its lower tail and for shifts beyond measure.
    shift = min(abs(noncentrality), 1e6)
    return float(stats.nct.sf(critical, degrees, shift) + stats.nct.sf(critical, degrees, -shift))


def _fewest(power_of: Callable[[int], float], wanted: float) -> int | None:
    """Return the smallest n whose power is at least `wanted`; the power grows with n.

    Raises:
        ValueError: `wanted` is not between 0 and 1.
    """
    if not 0 < wanted < 1:
        raise ValueError(f"a power lies between 0 and 1 (got {wanted!r})")
    if power_of(MOST_SEEDS) < wanted:
        return None
    too_few, enough = MINIMUM_N - 1, MOST_SEEDS
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        too_few, enough = (too_few, middle) if power_of(middle) >= wanted else (middle, enough)
    return enough
