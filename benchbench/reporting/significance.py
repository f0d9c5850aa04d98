"""Significance of the differences between the methods of a column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

from benchbench.reporting.metrics import Better
from benchbench.reporting.runs import Epoch, Runs
from benchbench.reporting.table import Cell
from benchbench.stats import MINIMUM_N, RankedMethod, Ranking, rank

ALPHA = 0.05
"""Probability that any two methods of a column are told apart by chance alone."""


def order(
    direction: Better | None, values: Mapping[str, Mapping[int, float | None]], unranked: Set[str]
) -> Ranking | None:
    """Return the order of methods by a metric on a workload, as far as their seeds support one.

    Args:
        direction: Which way is better, if that is known.
        values: The values of each method by seed, `None` for a lost one; methods without seeds take no part.
        unranked: Methods that are compared with no other one.

    Returns:
        The order, or `None` where it is not known which way is better.
    """
    compared = {method: by_seed for method, by_seed in values.items() if by_seed and method not in unranked}
    return None if direction is None else rank(compared, lower_is_better=direction == "lower", alpha=ALPHA)


def values_by_seed(runs: Mapping[str, Runs], name: str, after: Epoch = "final") -> dict[str, dict[int, float | None]]:
    """Return the values of a metric by method and seed; of a method without any result, none.

    Args:
        runs: Runs of each method on one workload.
        name: The metric.
        after: After which epoch results count.
    """
    return {method: here.by_seed(name, after) if here.results else {} for method, here in runs.items()}


def best_of(found: Ranking) -> RankedMethod | None:
    """Return the ranked method with the best mean, the first in the alphabet of several."""
    sign = 1 if found.lower_is_better else -1
    return min(found.methods, key=lambda method: (sign * method.mean, method.name), default=None)


def _tied_with_best(found: Ranking | None) -> frozenset[str]:
    """Return the methods that were tested against the one with the best mean and could not be told from it."""
    best = best_of(found) if found else None
    if found is None or best is None:
        return frozenset()
    tested = {
        pair.second if pair.first == best.name else pair.first
        for pair in found.pairs
        if best.name in (pair.first, pair.second) and not isinstance(pair.corrected_p, str)
    }
    tied = {method.name for method in found.methods if set(method.groups) & set(best.groups)}
    return frozenset(tied & tested - {best.name})


def with_ties(cells: Mapping[str, Cell], rankings: Iterable[Ranking | None]) -> dict[str, Cell]:
    """Return the cells of a column with a mark on each figure that is tied with the best of its metric.

    Args:
        cells: Cell by method.
        rankings: The order of the methods by each metric of the column, in the order of its figures.
    """
    tied = [_tied_with_best(found) for found in rankings]
    return {
        method: cell.marked(("tied",) if method in methods else () for methods in tied)
        for method, cell in cells.items()
    }


def significance_note(rankings: Iterable[Ranking | None]) -> list[str]:
    """Return how differences were tested, or why none was.

    Args:
        rankings: The order of methods in each column.
    """
    known = [found for found in rankings if found]
    pairs = [pair for found in known for pair in found.pairs]
    if not pairs:
        sizes = [[each.n for each in found.methods] + [each.finite for each in found.unranked] for found in known]
        some = [found for found in sizes if sum(map(bool, found)) > 1]
        if not some:
            return []
        few = max(map(max, some)) < MINIMUM_N
        why = f"that takes {MINIMUM_N} seeds" if few else "no two methods have a number of every seed"
        return [f"Differences are not tested: {why}."]
    tests = dict.fromkeys(pair.comparison.test for pair in pairs if not isinstance(pair.corrected_p, str))
    if not tests:
        return [f"Differences are not tested: that takes {MINIMUM_N} seeds."]
    few = any(pair.corrected_p == "n < 5" for pair in pairs)
    return [
        f"Tests: {' and '.join(tests)}, Holm's correction over all pairs of a column, alpha = {ALPHA:g}"
        f"{f'; none below {MINIMUM_N} seeds' if few else ''}."
    ]
