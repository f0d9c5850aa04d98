"""Expected best of k trials, from the trials of a longer search."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchbench.stats.intervals import BOOTSTRAP_SEED
from benchbench.values import Frozen

RESAMPLES = 2_000
"""Resamples behind an interval."""


class BestOf(Frozen):
    """The best of k trials.

    Attributes:
        k: How many trials.
        expected: Expected value of the best of them.
        low: Lower end of the interval of the expectation.
        high: Its upper end.
    """

    k: int
    expected: float
    low: float
    high: float


def expected_best(values: Iterable[float], level: float = 0.95) -> list[BestOf]:
    """Return the expected maximum of k trials for every k up to the number of trials, with bootstrap intervals.

    With the n values in order, `v(1) <= ... <= v(n)`, the mean of the maximum over all sets of k of them is
    `sum_i v(i) * C(i - 1, k - 1) / C(n, k)`: the unbiased form (Tang et al., "Showing your work doesn't always work",
    ACL 2020) of the expected validation performance of Dodge et al., "Show your work", EMNLP 2019, whose own form draws
    with replacement and is too low. Trials count as independent draws from one distribution.

    The intervals are percentiles over resampled trials. They are too narrow for few trials, and for k near n, where no
    resample can have a value that is better than the best one seen.

    Args:
        values: One value per trial, the higher the better, finite; in any order.
        level: Level of the intervals, between 0 and 1.
    """
    import numpy as np

    ordered = np.sort(np.asarray(list(values), dtype=float))
    n = len(ordered)
    if n == 0:
        return []
    weights = _weights(n)
    drawn = np.random.default_rng(BOOTSTRAP_SEED).integers(0, n, size=(RESAMPLES, n))
    curves = ordered[np.sort(drawn, axis=1)] @ weights
    low, high = np.quantile(curves, [(1 - level) / 2, (1 + level) / 2], axis=0)
    expected = ordered @ weights
    return [BestOf(k=k + 1, expected=float(expected[k]), low=float(low[k]), high=float(high[k])) for k in range(n)]


def _weights(n: int) -> Any:
    """Return the share of the sets of k (columns, from 1) of which the i-th smallest (rows) is the largest."""
    import numpy as np
    from scipy import special

    i, k = np.arange(n)[:, None], np.arange(n)[None, :]
    # C(i - 1, k - 1) / C(n, k) by logarithms, for the numbers themselves overflow; zero where i < k.
    logarithms = (
        special.gammaln(i + 1) - special.gammaln(k + 1) - special.gammaln(np.maximum(i - k, 0) + 1)
        - (special.gammaln(n + 1) - special.gammaln(k + 2) - special.gammaln(n - k))
    )  # fmt: skip
    return np.where(i >= k, np.exp(logarithms), 0.0)
