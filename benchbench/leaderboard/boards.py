"""Boards: the methods on one workload, in as much of an order as the data support, with what they cost."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchbench.leaderboard.costs import fronts, mean_costs
from benchbench.leaderboard.curves import curve_metric, direction, matched, median_end
from benchbench.leaderboard.merge import Entry
from benchbench.reporting.metrics import UNKNOWN_DIRECTION, Better, figure, headline_metrics, interval
from benchbench.stats import MINIMUM_N, Ranking, rank
from benchbench.values import Method, Suite
from benchbench.values.prices import unit_name

_FALLBACK = "test/loss"


@dataclass(frozen=True)
class Line:
    """A method on a board. Numbers are in the unit in which the metric is shown.

    Attributes:
        method: Its label.
        category: What it is grouped under.
        places: First and last place that fit the data, or `None` where it is not ranked.
        groups: Letters of its tie groups.
        value: Mean over seeds after the final epoch; `None` where a seed gave no number.
        text: The same with its standard deviation.
        interval: 95 % interval of the mean, where there is one.
        n: Seeds that gave a number.
        remark: What became of the other seeds, or empty.
        costs: Mean cost of a finished run, by currency.
        matched: Mean of the curve's metric at the cost of the cheapest method of the board, by currency; in the
            metric's own unit.
        front: Currencies in which no other method is both better and cheaper.
        tuning: Gradient computations of the search for its settings, finalists included, where that is known.
        tuning_unit: The unit that they are counted in.
        on_test: Whether its settings were chosen on test data.
        entries: Its runs, by seed.
    """

    method: str
    category: str
    places: tuple[int, int] | None
    groups: str
    value: float | None
    text: str
    interval: tuple[float, float] | None
    n: int
    remark: str
    costs: Mapping[str, float]
    matched: Mapping[str, float]
    front: frozenset[str]
    tuning: float | None
    tuning_unit: str
    on_test: bool
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Board:
    """The methods on one workload by one metric.

    Attributes:
        key: What the workload goes by among all submissions.
        held_out_of: The key of the workload of which it is a held-out variant, or empty.
        workload: The workload's label.
        group: What it is grouped under, or empty.
        metric: The metric of the results.
        better: Which way it is better.
        curve_metric: The metric that was measured after every epoch, or empty where no curve is known.
        curve_better: Which way that one is better, if it is known.
        target: Value of the curve's metric that profiles ask for, in its own unit: the suite's, or else one that half
            of the methods end up at or beyond.
        lines: The methods: ranked ones in the order of their places, then the others.
        notes: What a reader must know.
    """

    key: str
    held_out_of: str
    workload: str
    group: str
    metric: str
    better: Better
    curve_metric: str
    curve_better: Better | None
    target: float | None
    lines: tuple[Line, ...]
    notes: tuple[str, ...]

    @property
    def label(self) -> str:
        """The workload with its group."""
        return f"{self.group} / {self.workload}" if self.group else self.workload

    @property
    def lower_is_better(self) -> bool:
        """Whether a lower value of the metric is better."""
        return self.better == "lower"


def boards(suite: Suite, entries: Sequence[Entry]) -> list[Board]:
    """Return a board for every workload and every metric of it, in the suite's order.

    Args:
        suite: Workloads and methods.
        entries: All runs.
    """
    by_workload: dict[str, dict[str, list[Entry]]] = defaultdict(lambda: defaultdict(list))
    for entry in entries:
        by_workload[entry.spec.workload_label][entry.spec.method].append(entry)
    methods = {method.label: method for method in suite.methods}
    return [
        _board(suite, workload, metric, better, by_method, methods)
        for workload, by_method in by_workload.items()
        for metric, better in _metrics(suite, workload, by_method).items()
        if better is not None
    ]


def left_out(suite: Suite, entries: Sequence[Entry]) -> list[str]:
    """Return what has no board, and why, as sentences.

    Args:
        suite: Workloads and methods.
        entries: All runs.
    """
    by_workload: dict[str, dict[str, list[Entry]]] = defaultdict(lambda: defaultdict(list))
    for entry in entries:
        by_workload[entry.spec.workload_label][entry.spec.method].append(entry)
    return [
        f"No board of {suite.heading(workload).full_label} by {metric}: {UNKNOWN_DIRECTION}."
        for workload, by_method in by_workload.items()
        for metric, better in _metrics(suite, workload, by_method).items()
        if better is None
    ]


def _metrics(suite: Suite, workload: str, by_method: Mapping[str, Sequence[Entry]]) -> dict[str, Better | None]:
    """Return the metrics of a workload that are asked for or known, and which way each is better."""
    results = [run.stored.result for runs in by_method.values() for run in runs if run.stored]
    wanted = suite.heading(workload).metrics or headline_metrics(results) or (_FALLBACK,)
    return {name: direction(name, by_method) for name in wanted}


def _board(
    suite: Suite,
    workload: str,
    metric: str,
    better: Better,
    by_method: Mapping[str, list[Entry]],
    methods: Mapping[str, Method],
) -> Board:
    values = {method: {run.spec.seed: _value(run, metric) for run in runs} for method, runs in by_method.items()}
    lower = better == "lower"
    on_test = sorted(method for method in values if methods[method].tuned_on == "test")
    ranking = rank({method: found for method, found in values.items() if method not in on_test}, lower_is_better=lower)
    curve = curve_metric(metric, by_method)
    costs = {method: mean_costs(runs) for method, runs in by_method.items()}
    on_front = fronts(ranking, costs)
    at_equal_cost = matched(by_method, curve, costs)
    names = [*(each.name for each in ranking.methods), *(each.name for each in ranking.unranked), *on_test]
    lines = tuple(
        _line(
            methods[name],
            workload,
            metric,
            values[name],
            ranking,
            by_method[name],
            costs[name],
            at_equal_cost[name],
            on_front,
        )
        for name in names
    )
    heading = suite.heading(workload)
    return Board(
        key=workload,
        held_out_of=suite.held_out.get(workload, ""),
        workload=heading.label,
        group=heading.group,
        metric=metric,
        better=better,
        curve_metric=curve,
        curve_better=direction(curve, by_method) if curve else None,
        target=_target(suite, workload, curve, by_method),
        lines=lines,
        notes=tuple(_notes(ranking, metric, by_method, on_test)),
    )


def _target(suite: Suite, workload: str, curve_metric: str, by_method: Mapping[str, Sequence[Entry]]) -> float | None:
    """Return the target that the suite names for the metric that chooses the best epoch, else where the curves end."""
    chosen_by = {run.stored.result.selection_metric for runs in by_method.values() for run in runs if run.stored}
    if workload in suite.targets and chosen_by == {curve_metric}:
        return suite.targets[workload]
    return median_end(curve_metric, by_method)


def _value(run: Entry, metric: str) -> float | None:
    return run.stored.result.final.get(metric) if run.finished and run.stored else None


def _line(
    method: Method,
    workload: str,
    metric: str,
    values: Mapping[int, float | None],
    ranking: Ranking,
    runs: Sequence[Entry],
    costs: Mapping[str, float],
    matched: Mapping[str, float],
    fronts: Mapping[str, tuple[str, ...]],
) -> Line:
    ranked = next((each for each in ranking.methods if each.name == method.label), None)
    tuned = method.tuned.get(workload)
    known = [value for value in values.values() if value is not None and math.isfinite(value)]
    is_whole = bool(known) and len(known) == len(values)
    shown = figure(metric, known) if is_whole else None
    found = interval(metric, known) if is_whole else "n < 2"
    return Line(
        method=method.label,
        category=method.category,
        places=(ranked.first_place, ranked.last_place) if ranked else None,
        groups=" ".join(_letter(number) for number in ranked.groups) if ranked else "",
        value=shown.mean if shown else None,
        text=shown.text if shown else "",
        interval=None if isinstance(found, str) else (found.low, found.high),
        n=len(known),
        remark=_remark(runs, len(values) - len(known)),
        costs=costs,
        matched=matched,
        front=frozenset(currency for currency, names in fronts.items() if method.label in names),
        tuning=tuned.trials.gc + tuned.finals.gc if tuned else None,
        tuning_unit=unit_name(tuned.trials.unit) if tuned else "",
        on_test=method.tuned_on == "test",
        entries=tuple(sorted(runs, key=lambda run: run.spec.seed)),
    )


def _letter(number: int) -> str:
    return chr(ord("a") + number - 1) if number <= 26 else str(number)


def _remark(runs: Sequence[Entry], lost: int) -> str:
    counts = Counter("missing" if run.stored is None else run.stored.result.outcome for run in runs)
    finished = counts.pop("finished", 0)
    parts = [f"{count} {what}" for what, count in sorted(counts.items())]
    without = lost - (len(runs) - finished)
    return ", ".join([*parts, *([f"{without} without a number"] if without > 0 else [])])


def _notes(
    ranking: Ranking, metric: str, by_method: Mapping[str, Sequence[Entry]], on_test: Sequence[str]
) -> list[str]:
    notes = []
    if any(each.n < MINIMUM_N for each in ranking.methods):
        notes.append(
            f"Fewer than {MINIMUM_N} seeds: no p-value is given, so these seeds cannot order the methods, and every "
            "place is possible. The rows are in alphabetical order."
        )
    elif ranking.methods:
        test = "paired t test" if ranking.pairs and ranking.pairs[0].comparison.test == "paired t" else "Welch t test"
        notes.append(
            f"Places are all those that fit the data ({test} of each pair, corrected together with Holm's method, "
            f"alpha = {ranking.alpha:g}). Methods that share a letter cannot be told apart."
        )
    if ranking.unranked:
        names = ", ".join(each.name for each in ranking.unranked)
        notes.append(f"Without a place, for runs diverged, failed or are missing: {names}.")
    if on_test:
        notes.append(f"Without a place, for their settings were chosen on the test data: {', '.join(on_test)}.")
    devices = {
        run.stored.result.environment.get("device", "") for runs in by_method.values() for run in runs if run.stored
    }
    if len(devices - {""}) > 1:
        notes.append("The runs were made on different hardware: their seconds cannot be compared.")
    if any(run.spec.synthetic for runs in by_method.values() for run in runs):
        notes.append("SYNTHETIC DATA: the numbers say nothing about how well anything trains.")
    return notes
