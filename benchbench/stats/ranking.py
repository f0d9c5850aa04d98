"""The order of methods, as far as the data support one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING

from benchbench.stats.comparisons import Comparison, holm, paired_t, welch_t
from benchbench.stats.samples import Withheld, pair_by_seed
from benchbench.stats.summary import mean
from benchbench.values import Frozen

if TYPE_CHECKING:
    import networkx

Values = Mapping[str, Mapping[int, float]]
"""Value of each seed, by name of the method."""


class RankedMethod(Frozen):
    """The place of a method.

    Attributes:
        name: The method.
        n: Number of its seeds.
        mean: Mean of its values.
        first_place: 1 + the number of methods that are better.
        last_place: Number of ranked methods minus the number of those that are worse. Any place between the two fits
            the data.
        groups: Numbers, from 1, of the tie groups it belongs to.
    """

    name: str
    n: int
    mean: float
    first_place: int
    last_place: int
    groups: tuple[int, ...]


class UnrankedMethod(Frozen):
    """A method that has no place because not all of its seeds gave a number.

    Attributes:
        name: The method.
        finite: Seeds that gave a finite value.
        failed: Seeds that failed or diverged.
    """

    name: str
    finite: int
    failed: int


class RankedPair(Frozen):
    """Comparison of two methods.

    Attributes:
        first: Name of one, the earlier in the alphabet.
        second: Name of the other.
        comparison: The test between them.
        corrected_p: Its p-value after Holm's correction over all pairs, or why it is withheld.
        better: Name of the better one, or `None` if the test does not separate them.
    """

    first: str
    second: str
    comparison: Comparison
    corrected_p: float | Withheld
    better: str | None


class Ranking(Frozen):
    """An order of methods with ties.

    Attributes:
        methods: By first place, then last place, then name: never by a mean that separates nothing.
        unranked: Methods with failed or diverged seeds, or without any, by name.
        groups: Tie groups: names of methods of which no two are separated, none of them part of another group; in the
            order of `methods`. The number of a group is its position, from 1.
        pairs: All pairs of ranked methods.
        alpha: Probability of any false separation.
        lower_is_better: Whether better means lower.
    """

    methods: tuple[RankedMethod, ...]
    unranked: tuple[UnrankedMethod, ...]
    groups: tuple[tuple[str, ...], ...]
    pairs: tuple[RankedPair, ...]
    alpha: float
    lower_is_better: bool


def rank(values: Mapping[str, Mapping[int, float | None]], *, lower_is_better: bool, alpha: float = 0.05) -> Ranking:
    """Order methods by their means where tests separate them, and by nothing where they do not.

    1. A method is ranked if every one of its seeds gave a finite value. The others, and those without seeds, are listed
       apart with their counts and take part in no comparison: a mean over the seeds that happened to survive is no
       result of the method.
    2. Each pair is compared: by the paired t test if all ranked methods have the same seeds, by Welch's otherwise (for
       all pairs, so that no seed is dropped and all differences are those of the same means).
    3. The p-values are corrected together (Holm). A pair is separated if the corrected one is at most `alpha`; the
       method with the better mean is better. What follows is taken as found: if A is better than B and B than C, then A
       is better than C, even where the test of A against C is withheld (two methods without any spread). If no
       separation is false, no such conclusion is: the error rate of the family stays. "Better" is a partial order.
    4. Tie groups are all largest sets of methods of which no two are separated, as in a compact letter display (Piepho,
       "An algorithm for a letter-based representation of all-pairwise comparisons", J. Comput. Graph. Stat. 13
       (2004)): two methods share a group if and only if they are not separated. Ties need not be transitive: if only A
       and C are separated, the groups are {A, B} and {B, C}. A list of what ties with the best would hide that.

    Args:
        values: Value by seed, by method; `None`, NaN or infinite for a seed that failed or diverged.
        lower_is_better: Whether better means lower.
        alpha: Probability of any false separation, between 0 and 1.

    Returns:
        The ranking.

    Raises:
        ValueError: `alpha` is not between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha lies between 0 and 1 (got {alpha!r})")
    ranked, unranked = _complete(values)
    means = {name: mean(by_seed.values()) for name, by_seed in ranked.items()}
    pairs = _compare(ranked, {name: -here if lower_is_better else here for name, here in means.items()}, alpha)
    order = _order(ranked, pairs)
    places = {name: (1 + order.in_degree(name), len(ranked) - order.out_degree(name)) for name in ranked}
    names = sorted(ranked, key=lambda name: (places[name], name))
    groups = _tie_groups(order, names)
    methods = tuple(
        RankedMethod(
            name=name,
            n=len(ranked[name]),
            mean=means[name],
            first_place=places[name][0],
            last_place=places[name][1],
            groups=tuple(number for number, group in enumerate(groups, start=1) if name in group),
        )
        for name in names
    )
    return Ranking(
        methods=methods, unranked=unranked, groups=groups, pairs=pairs, alpha=alpha, lower_is_better=lower_is_better
    )


def _complete(values: Mapping[str, Mapping[int, float | None]]) -> tuple[Values, tuple[UnrankedMethod, ...]]:
    """Return the values of the methods without failures, and the other methods; both by name."""
    ranked: dict[str, dict[int, float]] = {}
    unranked = []
    for name, by_seed in sorted(values.items()):
        finite = {seed: value for seed, value in by_seed.items() if value is not None and math.isfinite(value)}
        if finite and len(finite) == len(by_seed):
            ranked[name] = finite
        else:
            unranked.append(UnrankedMethod(name=name, finite=len(finite), failed=len(by_seed) - len(finite)))
    return ranked, tuple(unranked)


def _compare(ranked: Values, goodness: Mapping[str, float], alpha: float) -> tuple[RankedPair, ...]:
    """Return all pairs, in the order of their names; the method of greater goodness is the better one."""
    paired = len({frozenset(by_seed) for by_seed in ranked.values()}) == 1
    comparisons = {
        (first, second): paired_t(pair_by_seed(ranked[first], ranked[second]))
        if paired
        else welch_t(ranked[first].values(), ranked[second].values())
        for first, second in combinations(ranked, 2)
    }
    corrected = holm({pair: comparison.p for pair, comparison in comparisons.items()})

    def better(pair: tuple[str, str]) -> str | None:
        p = corrected[pair]
        separated = not isinstance(p, str) and p <= alpha
        return max(pair, key=goodness.__getitem__) if separated else None

    return tuple(
        RankedPair(
            first=pair[0], second=pair[1], comparison=comparison, corrected_p=corrected[pair], better=better(pair)
        )
        for pair, comparison in comparisons.items()
    )


def _order(ranked: Values, pairs: tuple[RankedPair, ...]) -> networkx.DiGraph[str]:
    """Return the graph with an edge from each method to all that are worse."""
    import networkx

    found: networkx.DiGraph[str] = networkx.DiGraph()
    found.add_nodes_from(ranked)
    for pair in pairs:
        if pair.better is not None:
            found.add_edge(pair.better, pair.second if pair.better == pair.first else pair.first)
    return networkx.transitive_closure_dag(found)


def _tie_groups(order: networkx.DiGraph[str], names: list[str]) -> tuple[tuple[str, ...], ...]:
    import networkx

    ties = networkx.complement(order.to_undirected())
    positions = [sorted(map(names.index, clique)) for clique in networkx.find_cliques(ties)]
    return tuple(tuple(names[position] for position in group) for group in sorted(positions))
