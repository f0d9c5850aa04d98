"""Results of the runs of a suite, sorted into the cells of a table."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Literal

from benchbench.values import EpochRecord, Frozen, Outcome, Row, RunResult, RunSpec, Suite

_UNFINISHED: tuple[Outcome, ...] = ("failed", "crashed", "timeout", "interrupted", "diverged")


Epoch = Literal["final", "best"]
"""After which epoch results count: the last one, or the one that did best by the run's selection metric."""


class Runs(Frozen):
    """All runs of one method on one workload.

    Attributes:
        asked: The seeds that the suite asks for.
        usual: How many it asks for of any method on the workload: a figure that rests on so many needs no remark.
        results: Results of those that ended, in the order of the suite.
        seeds: Their seeds.
        records: What they recorded after each epoch, empty where it is not known.
        studies: Which study each is a trial of; its seed where it is a study of its own.
    """

    asked: tuple[int, ...]
    usual: int
    results: tuple[RunResult, ...]
    seeds: tuple[int, ...]
    records: tuple[tuple[EpochRecord, ...], ...]
    studies: tuple[int, ...]

    @property
    def expected(self) -> int:
        """Number of runs that the suite asks for."""
        return len(self.asked)

    @cached_property
    def finished(self) -> list[RunResult]:
        """The results that a figure can be made of."""
        return [result for result in self.results if result.outcome == "finished"]

    def values(self, name: str, after: Epoch = "final") -> list[float]:
        """Return the values of a metric in the finished runs that have it."""
        found = (run.final if after == "final" else run.best for run in self.finished)
        return [each[name] for each in found if name in each]

    def is_whole(self, name: str) -> bool:
        """Return whether every seed that was asked for gave a number after the final epoch."""
        values = self.by_seed(name).values()
        return 0 < len(values) == self.expected and all(each is not None and math.isfinite(each) for each in values)

    def by_seed(self, name: str, after: Epoch = "final") -> dict[int, float | None]:
        """Return the values of a metric by seed, `None` for a run that broke, diverged, is missing or is without it."""
        return dict.fromkeys(self.asked) | {
            seed: (run.final if after == "final" else run.best).get(name) if run.outcome == "finished" else None
            for seed, run in zip(self.seeds, self.results, strict=True)
        }

    def remark(self, n: int, lacking: str = "") -> str:
        """Account for the runs that are not behind a figure, such as `(n=2; 1 diverged)`.

        Args:
            n: Number of runs behind the figure.
            lacking: What a finished run that is not behind the figure is without.

        Returns:
            The remark in parentheses, or an empty text if there is nothing to say.
        """
        losses = ", ".join(f"{count} {what}" for what, count in self._losses(n, lacking))
        number = f"n={n}" if n != self.usual and (losses or not self._missing) else ""
        parts = [part for part in (number, losses, self._missing) if part]
        return f"({'; '.join(parts)})" if parts else ""

    def absence(self, lacking: str = "", n: int = 0) -> str:
        """Return why there is no figure, such as `diverged (3)`.

        Args:
            lacking: What a finished run that cannot be behind a figure is without.
            n: Number of runs that could have been behind it.
        """
        if not self.results:
            return f"not run (0 of {self.expected})" if self.expected else "not asked for"
        losses = ", ".join(f"{what} ({count})" for what, count in self._losses(n, lacking))
        return "; ".join(part for part in (losses, self._missing) if part)

    @property
    def _missing(self) -> str:
        ran = len(self.results)
        return f"{ran} of {self.expected} run" if ran < self.expected else ""

    def _losses(self, n: int, lacking: str) -> list[tuple[str, int]]:
        counts = Counter[str](result.outcome for result in self.results)
        losses = {what: counts[what] for what in _UNFINISHED} | {f"without {lacking}": counts["finished"] - n}
        return [(what, count) for what, count in losses.items() if count]


MEAN_AND_STD = "Mean ± sample standard deviation (ddof = 1)"
"""Begins the note on figures with a spread."""

SuiteRuns = Mapping[str, Mapping[str, Runs]]
"""The runs of a suite by label of the workload and label of the method, both in the suite's order."""


def all_results(runs: Iterable[Runs]) -> list[RunResult]:
    """Return the results of several methods as one list."""
    return [run for here in runs for run in here.results]


def all_runs(runs: SuiteRuns) -> list[Runs]:
    """Return the runs of all workloads as one list."""
    return [here for of_workload in runs.values() for here in of_workload.values()]


def selection_metric(all_runs: Iterable[Runs]) -> str:
    """Return the metric that chose the best epoch of runs on one workload, empty where none has ended."""
    return next((run.selection_metric for runs in all_runs for run in runs.results if run.selection_metric), "")


def count_seeds(suite: Suite) -> str:
    """Return how many seeds the suite has, in the words of a note; of a joint one, on which workloads."""
    workloads: dict[int, list[str]] = {}
    for workload, n in _usual(suite).items():
        workloads.setdefault(n, []).append(suite.heading(workload).full_label)
    if len(workloads) < 2:
        n = next(iter(workloads), len(suite.seeds))
        return f"n = {n} {'seed' if n == 1 else 'seeds'}"
    return "; ".join(f"n = {n} on {', '.join(labels)}" for n, labels in workloads.items())


def _usual(suite: Suite) -> dict[str, int]:
    """Return the number of seeds by workload; results that were imported do not raise it."""
    counts = Counter((spec.workload_label, spec.method) for spec in suite.specs)
    most = dict.fromkeys(suite.workloads, 0)
    for (workload, _), n in counts.items():
        most[workload] = max(most[workload], n)
    return {workload: min(n, len(suite.seeds)) for workload, n in most.items()}


def gather(suite: Suite, rows: Sequence[Row]) -> SuiteRuns:
    """Return the runs of each workload and method; the suite alone decides which runs belong there."""
    known = {row.spec.key: row for row in rows}
    usual = _usual(suite)
    specs: dict[str, dict[str, list[RunSpec]]] = {
        workload: {method.label: [] for method in suite.methods} for workload in suite.workloads
    }
    for spec in suite.specs:
        specs[spec.workload_label][spec.method].append(spec)

    def runs(workload: str, wanted: Sequence[RunSpec]) -> Runs:
        ended = [
            (spec.seed, row.result, row.records, spec.seed if row.study is None else row.study)
            for spec in wanted
            if (row := known.get(spec.key)) is not None and row.result is not None
        ]
        seeds, results, records, studies = zip(*ended, strict=True) if ended else ((), (), (), ())
        return Runs(
            asked=tuple(spec.seed for spec in wanted),
            usual=usual[workload],
            results=results,
            seeds=seeds,
            records=records,
            studies=studies,
        )

    return {
        workload: {method: runs(workload, wanted) for method, wanted in of_methods.items()}
        for workload, of_methods in specs.items()
    }


def titled(suite: Suite, what: str) -> str:
    """Return the headline of a table, which says where the data are made up."""
    made_up = list(dict.fromkeys(spec.workload_label for spec in suite.specs if spec.synthetic))
    if not made_up:
        return f"{what} – {suite.title}"
    which = "" if len(made_up) == len(suite.workloads) else f" on {', '.join(made_up)}"
    return f"{what} – {suite.title} – SYNTHETIC DATA{which}"
