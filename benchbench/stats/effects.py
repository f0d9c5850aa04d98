"""Effect sizes: how large a difference is in units of the spread over seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable

from benchbench.stats.samples import Pairs, Withheld, all_finite, has_spread
from benchbench.stats.summary import summarize


def cohens_dz(pairs: Pairs) -> float | Withheld:
    """Return the effect size of paired values: `d_z = mean(differences) / std(differences)`.

    Source: Cohen, "Statistical power analysis for the behavioral sciences" (1988), section 2.3.5.

    Args:
        pairs: Values on shared seeds.

    Returns:
        d_z (0 if all differences are zero), `"n < 2"`, `"not finite"`, or `"no spread"` if all are equal but not zero.
    """
    if len(pairs.seeds) < 2:
        return "n < 2"
    if not pairs.finite:
        return "not finite"
    if not any(pairs.differences):
        return 0.0
    if not has_spread(pairs.differences, pairs.magnitude):
        return "no spread"
    summary = summarize(pairs.differences)
    assert summary.std
    return summary.mean / summary.std


def hedges_g(first: Iterable[float], second: Iterable[float]) -> float | Withheld:
    """Return the effect size of unpaired values, corrected for the bias of few of them.

    `g = J(m) * (mean1 - mean2) / s`, where `m = n1 + n2 - 2`, the pooled variance is
    `s^2 = ((n1 - 1) * std1^2 + (n2 - 1) * std2^2) / m`, and `J(m) = Gamma(m / 2) / (sqrt(m / 2) * Gamma((m - 1) / 2))`.
    Source: Hedges, "Distribution theory for Glass's estimator of effect size...", J. Educ. Statist. 6 (1981).

    Args:
        first: One value per seed of the first method.
        second: One value per seed of the second method.

    Returns:
        g (0 if all values are equal), `"n < 2"`, `"not finite"`, or `"no spread"` if only the means differ.
    """
    one, two = [float(value) for value in first], [float(value) for value in second]
    if min(len(one), len(two)) < 2:
        return "n < 2"
    if not all_finite(one + two):
        return "not finite"
    if not has_spread(one + two):
        return 0.0
    if not (has_spread(one) or has_spread(two)):
        return "no spread"
    a, b = summarize(one), summarize(two)
    assert a.std is not None
    assert b.std is not None
    degrees = a.n + b.n - 2
    pooled = math.hypot(math.sqrt((a.n - 1) / degrees) * a.std, math.sqrt((b.n - 1) / degrees) * b.std)
    bias = math.exp(math.lgamma(degrees / 2) - math.lgamma((degrees - 1) / 2)) / math.sqrt(degrees / 2)
    return bias * (a.mean - b.mean) / pooled
