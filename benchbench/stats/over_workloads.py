"""Methods compared over several workloads, with one value per method and workload.

Workloads take the part that seeds have elsewhere: they are the sample, so what is found holds for workloads like these.
Every result says from how many workloads it speaks, and none that claims anything comes from fewer than `MINIMUM_N`.

Sources: Demšar, "Statistical comparisons of classifiers over multiple data sets", JMLR 7 (2006); Benavoli, Corani,
Demšar and Zaffalon, "Time for a change: a tutorial for comparing multiple classifiers through Bayesian analysis",
JMLR 18 (2017).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from benchbench.stats.comparisons import wilcoxon
from benchbench.stats.intervals import BOOTSTRAP_SEED
from benchbench.stats.samples import MINIMUM_N, Withheld, all_finite, pair_by_seed
from benchbench.values import Frozen

LEAST_METHODS = 3
"""Fewest methods for Friedman's test and a critical difference; two are compared by the tests of pairs."""

PRIOR_STRENGTH = 0.5
"""Strength of the Bayesian test's prior: the number of workloads without any difference that it stands for."""

DRAWS = 50_000
"""Draws from the posterior: the Monte Carlo error (one standard deviation) of a probability is at most 0.0032."""


class MeanRank(Frozen):
    """A method's average rank.

    Attributes:
        name: The method.
        rank: Mean over the workloads of its rank among the methods: 1 is the best, equal values share a mean rank.
        groups: Numbers, from 1, of the groups it belongs to; none where there is no critical difference.
    """

    name: str
    rank: float
    groups: tuple[int, ...]


class OverWorkloads(Frozen):
    """Methods compared over workloads by their ranks.

    Attributes:
        workloads: Number of workloads.
        methods: By average rank, then by name.
        chi_squared: Friedman's statistic, corrected for equal values, or why it is withheld.
        p: The p-value of Friedman's test in Iman and Davenport's form, or why it is withheld.
        critical_difference: Difference of two average ranks from which Nemenyi's test tells them apart, likewise.
        alpha: Probability of telling any two equal methods apart.
        groups: Largest sets of methods next to each other of which it tells no two apart, in the order of `methods`.
    """

    workloads: int
    methods: tuple[MeanRank, ...]
    chi_squared: float | Withheld
    p: float | Withheld
    critical_difference: float | Withheld
    alpha: float
    groups: tuple[tuple[str, ...], ...]


class SignTest(Frozen):
    """On how many workloads one method is better than another.

    Attributes:
        better: Workloads on which the first is better.
        equal: Workloads on which they are equal.
        worse: Workloads on which it is worse.
        p: The p-value that better and worse are equally likely, or why it is withheld.
    """

    better: int
    equal: int
    worse: int
    p: float | Withheld


class Posterior(Frozen):
    """Probabilities of what a difference between two methods is, on workloads like those that were seen.

    Attributes:
        n: Number of workloads.
        better: Probability that the first method is the better one by more than the region of equivalence.
        equal: Probability that both are practically equal.
        worse: Probability that the first is worse by more than the region of equivalence.
        rope: The region of practical equivalence: differences up to this size, both signs, count as none.
    """

    n: int
    better: float
    equal: float
    worse: float
    rope: float


def compare_over_workloads(scores: Mapping[str, Mapping[str, float]], alpha: float = 0.05) -> OverWorkloads:
    """Compare methods by their ranks on each workload.

    With N workloads, k methods and the sums of ranks R_j, Friedman's statistic is
    `(k - 1) * sum_j (R_j - N (k + 1) / 2)^2 / (sum of all squared ranks - N k (k + 1)^2 / 4)`, which accounts for equal
    values. Its p-value is that of `F = (N - 1) chi^2 / (N (k - 1) - chi^2)` with `k - 1` and `(k - 1)(N - 1)` degrees
    of freedom, but not below `k! ** (1 - N)`, the exact one of N workloads with one and the same order.
    Sources: Friedman, JASA 32 (1937); Iman and Davenport, Commun. Stat. A 9 (1980).

    Args:
        scores: Value by method and workload, the higher the better; all methods have the same workloads.
        alpha: Probability of telling any two equal methods apart.

    Returns:
        Average ranks; tests only of `MINIMUM_N` workloads (else `"n < 5"`) and of three methods (else `"k < 3"`).

    Raises:
        ValueError: A value is not finite, the methods do not have the same workloads, or `alpha` is no probability.
    """
    import numpy as np
    from scipy import special, stats

    names, workloads = sorted(scores), sorted({workload for of in scores.values() for workload in of})
    if any(of.keys() != set(workloads) or not all_finite([*of.values()]) for of in scores.values()):
        raise ValueError("every method needs a finite value on each of the workloads")
    k, n = len(names), len(workloads)
    values = np.array([[scores[name][workload] for name in names] for workload in workloads]).reshape(n, k)
    ranks = stats.rankdata(-values, axis=1) if values.size else values
    averages = {name: float(total) / n for name, total in zip(names, ranks.sum(axis=0), strict=True) if n}
    order = sorted(averages, key=lambda name: (averages[name], name))

    chi_squared: float | Withheld
    p: float | Withheld
    if n < MINIMUM_N:
        chi_squared = p = "n < 5"
    elif k < LEAST_METHODS:
        chi_squared = p = "k < 3"
    else:
        spread = float((ranks**2).sum()) - n * k * (k + 1) ** 2 / 4
        between = float(((ranks.sum(axis=0) - n * (k + 1) / 2) ** 2).sum())
        chi_squared = (k - 1) * between / spread if spread else 0.0
        left = n * (k - 1) - chi_squared
        tail = float(special.fdtrc(k - 1, (k - 1) * (n - 1), (n - 1) * chi_squared / left)) if left > 1e-9 else 0.0
        p = max(tail, math.exp((1 - n) * math.lgamma(k + 1)))
    difference = critical_difference(k, n, alpha)
    groups = () if isinstance(difference, str) else _groups(order, averages, difference)
    return OverWorkloads(
        workloads=n,
        methods=tuple(
            MeanRank(
                name=name,
                rank=averages[name],
                groups=tuple(number for number, group in enumerate(groups, start=1) if name in group),
            )
            for name in order
        ),
        chi_squared=chi_squared,
        p=p,
        critical_difference=difference,
        alpha=alpha,
        groups=groups,
    )


def critical_difference(methods: int, workloads: int, alpha: float = 0.05) -> float | Withheld:
    """Return from which difference of average ranks on Nemenyi's test tells two of all methods apart.

    It is `q / sqrt(2) * sqrt(k (k + 1) / (6 N))` with the upper alpha point q of the studentized range of k values and
    infinitely many degrees of freedom. Source: Nemenyi, "Distribution-free multiple comparisons" (1963).

    Args:
        methods: Number of methods k.
        workloads: Number of workloads N.
        alpha: Probability of telling any two equal methods apart.

    Returns:
        The difference, `"n < 5"` or `"k < 3"`.

    Raises:
        ValueError: `alpha` is no probability between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha lies between 0 and 1 (got {alpha!r})")
    if workloads < MINIMUM_N:
        return "n < 5"
    if methods < LEAST_METHODS:
        return "k < 3"
    from scipy import stats

    q = float(stats.studentized_range.ppf(1 - alpha, methods, math.inf))
    return q * math.sqrt(methods * (methods + 1) / (12 * workloads))


def sign_test(differences: Sequence[float]) -> SignTest:
    """Count the workloads on which one method is better, and test whether that is chance.

    The p-value is exact (binomial, two-sided). Workloads without a difference are dropped, not shared out.

    Args:
        differences: First minus second method by workload, positive where the first is better.

    Returns:
        The counts, with `"n < 5"` or `"not finite"` in the place of a p-value that is withheld.
    """
    better, worse = sum(each > 0 for each in differences), sum(each < 0 for each in differences)
    p: float | Withheld
    if (withheld := _without(differences)) is not None:
        p = withheld
    else:
        unequal = better + worse
        p = min(1.0, 2 * sum(math.comb(unequal, i) for i in range(min(better, worse) + 1)) / 2**unequal)
    return SignTest(better=better, equal=len(differences) - better - worse, worse=worse, p=p)


def signed_rank_test(differences: Sequence[float]) -> float | Withheld:
    """Return the p-value of Wilcoxon's signed-rank test over workloads (`stats.wilcoxon`), or why it is withheld.

    Args:
        differences: First minus second method by workload; their sizes must be comparable between workloads.
    """
    numbered = dict(enumerate(differences))
    return wilcoxon(pair_by_seed(numbered, dict.fromkeys(numbered, 0.0))).p


def bayesian_signed_rank(differences: Sequence[float], rope: float) -> Posterior | Withheld:
    """Return the probabilities that a method is better than another, practically equal to it, or worse.

    The Bayesian signed-rank test of Benavoli et al. 2017: a Dirichlet process prior, of which `PRIOR_STRENGTH` lies on
    a difference of zero. A draw from the posterior gives each workload, and the zero, a weight; the means of all pairs
    of differences, weighted with the products, are shared out between the three cases by the region of equivalence.
    The probability of a case is the share of the draws in which it has the largest share.

    `DRAWS` draws with `BOOTSTRAP_SEED`, half of them the other half mirrored: changing sides changes signs, no number.

    Args:
        differences: First minus second method by workload, positive where the first is better.
        rope: Differences of this size count as none, 0 or above.

    Returns:
        The probabilities, `"n < 5"` or `"not finite"`.

    Raises:
        ValueError: `rope` is negative or not finite.
    """
    if not 0 <= rope < math.inf:
        raise ValueError(f"a region of equivalence is not negative, and finite (got {rope!r})")
    if (withheld := _without(differences)) is not None:
        return withheld
    import numpy as np

    n = len(differences)
    values = np.array([0.0, *sorted(differences)])
    drawn = np.random.default_rng(BOOTSTRAP_SEED).standard_gamma([PRIOR_STRENGTH] + [1.0] * n, size=(DRAWS // 2, n + 1))
    weights = np.concatenate([drawn, np.concatenate([drawn[:, :1], drawn[:, :0:-1]], axis=1)])
    sums = values[:, None] + values[None, :]
    cases = (sums > 2 * rope, np.abs(sums) <= 2 * rope, sums < -2 * rope)
    shares = np.stack([((weights @ case) * weights).sum(axis=1) for case in cases])
    largest = shares == shares.max(axis=0)
    better, equal, worse = (largest / largest.sum(axis=0)).mean(axis=1)
    return Posterior(n=n, better=float(better), equal=float(equal), worse=float(worse), rope=rope)


def _without(differences: Sequence[float]) -> Withheld | None:
    if len(differences) < MINIMUM_N:
        return "n < 5"
    return None if all_finite(differences) else "not finite"


def _groups(order: Sequence[str], averages: Mapping[str, float], difference: float) -> tuple[tuple[str, ...], ...]:
    """Return the groups of methods whose average ranks differ by less than the critical difference, none in another."""
    found: list[tuple[str, ...]] = []
    for i, first in enumerate(order):
        group = tuple(name for name in order[i:] if averages[name] - averages[first] < difference)
        if not found or not set(group) <= set(found[-1]):
            found.append(group)
    return tuple(found)
