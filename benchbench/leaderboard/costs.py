"""The currencies that a reader of the site can choose from."""

from __future__ import annotations

from dataclasses import dataclass

from benchbench.reporting import currencies
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
