"""Robustness to hyperparameters: the share of a search space that comes close to its best point."""

from __future__ import annotations

import math
from collections.abc import Iterable

from benchbench.stats.intervals import BOOTSTRAP_SEED, Interval
from benchbench.stats.samples import RESOLUTION, Withheld
from benchbench.values import Frozen

LEAST_TRIALS = 10
"""Fewest trials for a share of the space."""

RESAMPLES = 2_000
"""Resamples behind an interval."""


class Robustness(Frozen):
    """The share of the trials near the best one.

    Attributes:
        n: Number of trials.
        best: Score of the best one.
        share: Share of the trials within so many percent of it, itself included.
        interval: The interval of the share, or why there is none.
    """

    n: int
    best: float
    share: float
    interval: Interval | Withheld


def robustness(scores: Iterable[float | None], within: float, level: float = 0.95) -> Robustness | Withheld:
    """Return the share of trials whose distance from the best one is at most `within` percent of its absolute value.

    With a best accuracy of 90 % and `within = 5`, trials of 85.5 % and more count; with a best loss of 0.2, those of
    0.21 and less. Trials count as independent draws from the space that is searched; those that broke are outside.

    The interval is made of percentiles over resampled trials, each resample with a best trial of its own, so that it
    shows how much hangs on the one that happened to be the best. What no trial has found, no resample can.

    Args:
        scores: One per trial, the higher the better: of a loss, with its sign changed. `None`, or what is not finite,
            for a trial that broke.
        within: Percent of the best score's absolute value.
        level: Level of the interval, between 0 and 1.

    Returns:
        The share, `"n < 10"`, or `"not finite"` where every trial broke. Its interval is `"no spread"` where every
        resample has the same share, such as 1: how far from it the share of the space may be cannot be told.
    """
    import numpy as np

    found = [-math.inf if each is None or not math.isfinite(each) else float(each) for each in scores]
    n = len(found)
    if n < LEAST_TRIALS:
        return "n < 10"
    if max(found) == -math.inf:
        return "not finite"
    ordered = np.sort(np.array(found))

    def share(of: np.ndarray) -> float:  # of scores in ascending order
        margin = (within / 100 + RESOLUTION) * abs(of[-1])
        return float((of >= of[-1] - margin).mean()) if of[-1] > -math.inf else 0.0

    random = np.random.default_rng(BOOTSTRAP_SEED)
    shares = [share(ordered[np.sort(random.integers(0, n, n))]) for _ in range(RESAMPLES)]
    low, high = (float(end) for end in np.quantile(shares, [(1 - level) / 2, (1 + level) / 2]))
    interval: Interval | Withheld = Interval(low=low, high=high, level=level)
    if min(shares) == max(shares):
        interval = "no spread"
    return Robustness(n=n, best=float(ordered[-1]), share=share(ordered), interval=interval)
