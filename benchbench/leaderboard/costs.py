"""What runs cost, in the currencies that a reader of the site can choose from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchbench.leaderboard.merge import Entry
from benchbench.reporting import currencies
from benchbench.stats import Ranking, mean, pareto_front
from benchbench.values import Cost


@dataclass(frozen=True)
class Currency:
    """What costs are counted in.

    Attributes:
        name: Its name in pages.
        label: Its name in words.
    """

    name: currencies.Currency
    label: str

    def of(self, cost: Cost) -> float:
        """Return a cost in this currency."""
        return currencies.spent(cost, self.name)


CURRENCIES = (
    Currency("gc", currencies.GC_PAPER),
    Currency("gradients", "gradients"),
    Currency("steps", "steps"),
    Currency("seconds", "seconds"),
)
"""The currencies a reader can choose from, the one that is shown first in front."""


def mean_costs(runs: Sequence[Entry]) -> dict[str, float]:
    """Return the mean cost of a finished run, by currency; empty where none has finished."""
    spent = [run.stored.result.cost for run in runs if run.finished and run.stored]
    return {currency.name: mean(map(currency.of, spent)) for currency in CURRENCIES} if spent else {}


def fronts(ranking: Ranking, costs: Mapping[str, Mapping[str, float]]) -> dict[str, tuple[str, ...]]:
    """Return the ranked methods that no other one beats in quality and cost, by currency.

    Args:
        ranking: The methods with their means.
        costs: Mean cost by method and currency.
    """
    return {
        currency.name: pareto_front(
            {each.name: (costs[each.name][currency.name], each.mean) for each in ranking.methods},
            lower_is_better=ranking.lower_is_better,
        )
        for currency in CURRENCIES
    }
