"""What figures are made of: a suite, the results of its runs, and what the runs left."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchbench.figures.averages import Curve, series
from benchbench.figures.values import Series
from benchbench.problems import BadInputError, Problem, nearest_name
from benchbench.reporting.currencies import Currency
from benchbench.reporting.metrics import headline_metrics
from benchbench.reporting.runs import Runs, all_results, gather, titled
from benchbench.tracking.histories import History
from benchbench.values import Method, Row, RunResult, Suite


@dataclass(frozen=True)
class FigureData:
    """What the figures of one workload are made of.

    Attributes:
        suite: The suite.
        workload: Label of the workload.
        runs: The workload's runs by label of the method.
        histories: What the runs left, by key.
        metrics: What the user wants to see; empty: what there is to see.
        currency: What training is counted in; `None`: what is usual for a kind.
    """

    suite: Suite
    workload: str
    runs: Mapping[str, Runs]
    histories: Mapping[str, History]
    metrics: tuple[str, ...] = ()
    currency: Currency | None = None

    def title(self, what: str) -> str:
        """Return the headline of a figure, which says where data are made up."""
        return titled(self.suite, f"{what}, {self.suite.heading(self.workload).full_label}")

    def styles(self) -> Iterable[tuple[int, Method, Runs]]:
        """Yield each method with its position in the suite and its runs."""
        for style, method in enumerate(self.suite.methods):
            yield style, method, self.runs[method.label]

    def left_by(self, runs: Runs) -> dict[str, History]:
        """Return what the finished and diverged runs of a method left, by key."""
        keys = [run.key for run in runs.results if run.conclusive]
        return {key: self.histories[key] for key in keys if key in self.histories}

    def all_histories(self) -> list[History]:
        """Return the histories of all methods, in the order of the suite."""
        return [history for runs in self.runs.values() for history in self.left_by(runs).values()]

    def series(self, curve: Callable[[History], Curve]) -> tuple[Series, ...]:
        """Return a series for each method that has points.

        Args:
            curve: The points of one run.
        """
        found = (
            series(
                style,
                method.label,
                runs,
                {key: curve(history) for key, history in self.left_by(runs).items()},
            )
            for style, method, runs in self.styles()
        )
        return tuple(each for each in found if each is not None)

    def final_metric(self) -> str | None:
        """Return the metric of results that is shown: the user's, the workload's or a known one."""
        held = {name for runs in self.runs.values() for run in runs.finished for name in run.final}
        named = self.suite.heading(self.workload).metrics
        usual = headline_metrics(all_results(self.runs.values()))
        return next((name for name in (*self.metrics, *named, *usual) if name in held), None)


def figure_data(
    suite: Suite,
    rows: Sequence[Row],
    histories: Mapping[str, History],
    metrics: Sequence[str] = (),
    currency: Currency | None = None,
) -> list[FigureData]:
    """Return what the figures of each workload of a suite are made of.

    Args:
        suite: The suite.
        rows: What is known of its runs.
        histories: What the runs left, by key.
        metrics: What the user wants to see; empty: what there is to see.
        currency: What training is counted in.

    Raises:
        BadInputError: A metric is in no result and in no history.
    """
    runs = gather(suite, rows)
    made = [
        FigureData(
            suite=suite,
            workload=workload,
            runs=runs[workload],
            histories=histories,
            metrics=tuple(dict.fromkeys(metrics)),
            currency=currency,
        )
        for workload in suite.workloads
    ]
    _check_metrics(metrics, made)
    return made


def lacking(data: FigureData, shown: Iterable[str]) -> list[str]:
    """Return a note that says which methods a figure does not show, and why, or nothing.

    Args:
        data: What the figure is made of.
        shown: Labels of the methods that it shows.
    """
    reasons: dict[str, list[str]] = defaultdict(list)
    for method in data.suite.methods:
        if method.label not in set(shown):
            reasons[data.runs[method.label].absence("such data")].append(method.label)
    if not reasons:
        return []
    parts = [f"{', '.join(methods)}: {reason}" for reason, methods in reasons.items()]
    return [f"Not shown: {'; '.join(parts)}."]


def values_of(runs: Runs, of: Callable[[RunResult], float | None]) -> list[float]:
    """Return a number of each finished run that has it."""
    found = (of(run) for run in runs.finished)
    return [value for value in found if value is not None]


def _check_metrics(metrics: Sequence[str], made: Sequence[FigureData]) -> None:
    known = {name for data in made for runs in data.runs.values() for run in runs.results for name in run.final}
    for history in (history for data in made for history in data.all_histories()):
        known |= {name for record in history.epochs for name in record.metrics}
        known |= {name for record in history.diagnostics for name in record.values}
    problems = [
        Problem(
            f"no run has this metric; there are {', '.join(sorted(known)) or 'none'}",
            file="--metric",
            value=name,
            nearest=nearest_name(name, known),
        )
        for name in metrics
        if name not in known
    ]
    if problems:
        raise BadInputError(problems)
