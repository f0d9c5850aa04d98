"""What the runs of a suite came to, sorted into the places of a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from benchbench.values import Frozen, Outcome, Row, RunResult, Suite

_UNFINISHED: tuple[Outcome, ...] = ("failed", "crashed", "timeout", "interrupted", "diverged")

NOTHING = "–"
"""Stands where there is nothing to show."""


class Runs(Frozen):
    """All runs of one method on one workload.

    Attributes:
        expected: How many the suite asks for.
        results: Results of those that ended, in the order of the suite.
    """

    expected: int
    results: tuple[RunResult, ...]

    @property
    def finished(self) -> list[RunResult]:
        """The results that a figure can be made of."""
        return [result for result in self.results if result.outcome == "finished"]

    def remark(self, n: int, usual_n: int, lacking: str = "") -> str:
        """Account for the runs that are not behind a figure, such as `(n=2; 1 diverged)`.

        Args:
            n: Number of runs behind the figure.
            usual_n: Number of runs behind a figure that needs no remark.
            lacking: What a finished run that is not behind the figure is without.

        Returns:
            The remark in parentheses, or an empty text if there is nothing to say.
        """
        losses = ", ".join(f"{count} {what}" for what, count in self._losses(n, lacking))
        number = f"n={n}" if n != usual_n and (losses or not self._missing) else ""
        parts = [part for part in (number, losses, self._missing) if part]
        return f"({'; '.join(parts)})" if parts else ""

    def absence(self, lacking: str = "") -> str:
        """Return why there is no figure, such as `diverged (3)`; `lacking` as in `remark`."""
        if not self.results:
            return f"not run (0 of {self.expected})" if self.expected else "not asked for"
        losses = ", ".join(f"{what} ({count})" for what, count in self._losses(0, lacking))
        return f"{losses}; {self._missing}" if self._missing else losses

    @property
    def _missing(self) -> str:
        ran = len(self.results)
        return f"{ran} of {self.expected} run" if ran < self.expected else ""

    def _losses(self, n: int, lacking: str) -> list[tuple[str, int]]:
        counts = Counter[str](result.outcome for result in self.results)
        losses = {what: counts[what] for what in _UNFINISHED} | {f"without {lacking}": counts["finished"] - n}
        return [(what, count) for what, count in losses.items() if count]


def count_seeds(suite: Suite) -> str:
    """Return how many seeds the suite has, in the words of a note."""
    return "n = 1 seed" if len(suite.seeds) == 1 else f"n = {len(suite.seeds)} seeds"


def gather(suite: Suite, rows: Sequence[Row]) -> dict[tuple[str, str], Runs]:
    """Return the runs of each (workload, method); the suite alone decides which runs belong there."""
    results = {row.spec.key: row.result for row in rows}
    found: dict[tuple[str, str], list[RunResult | None]] = {
        (workload, method.label): [] for workload in suite.workloads for method in suite.methods
    }
    for spec in suite.specs:
        found[spec.workload_label, spec.method].append(results.get(spec.key))
    return {
        place: Runs(expected=len(all_), results=tuple(result for result in all_ if result is not None))
        for place, all_ in found.items()
    }


def titled(suite: Suite, what: str) -> str:
    """Return the headline of a table, which says where the data are made up."""
    made_up = list(dict.fromkeys(spec.workload_label for spec in suite.specs if spec.synthetic))
    if not made_up:
        return f"{what} – {suite.title}"
    which = "" if len(made_up) == len(suite.workloads) else f" on {', '.join(made_up)}"
    return f"{what} – {suite.title} – SYNTHETIC DATA{which}"
