"""Boards: the methods on one workload, in as much of an order as the data support, with what they cost."""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchbench.leaderboard.merge import Entry
from benchbench.reporting.currencies import GC_PER_HVP
from benchbench.reporting.metrics import describe, figure, headline_metrics
from benchbench.stats import (
    MINIMUM_N,
    Evaluation,
    Hit,
    Ranking,
    Score,
    mean,
    metric_within,
    pareto_front,
    rank,
    score,
    t_interval,
    time_to_target,
)
from benchbench.values import Cost, EpochRecord, Suite

_FALLBACK = "test/loss"


@dataclass(frozen=True)
class Currency:
    """What costs are counted in.

    Attributes:
        name: Its name in pages.
        label: Its name in words.
        of: Its amount in a cost.
    """

    name: str
    label: str
    of: Callable[[Cost], float]


CURRENCIES = (
    Currency("gc", "gradient equivalents", lambda cost: cost.gradients + GC_PER_HVP * cost.hvps),
    Currency("gradients", "gradients", lambda cost: cost.gradients),
    Currency("steps", "steps", lambda cost: cost.steps),
    Currency("seconds", "seconds", lambda cost: cost.train_seconds),
)
"""The currencies a reader can choose from, the one that is shown first in front."""


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
        interval: 95 % t interval of the mean, where there is one.
        n: Seeds that gave a number.
        remark: What became of the other seeds, or empty.
        costs: Mean cost of a finished run, by currency.
        matched: Mean of the curve's metric at the cost of the cheapest method of the board, by currency; in the
            metric's own unit.
        front: Currencies in which no other method is both better and cheaper.
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
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Board:
    """The methods on one workload by one metric.

    Attributes:
        workload: The workload's label.
        group: What it is grouped under, or empty.
        metric: The metric of the results.
        curve_metric: The metric that was measured after every epoch, or empty where no curve is known.
        target: Value of the curve's metric that profiles ask for, in its own unit: half of the methods end up there or
            beyond it.
        lines: The methods: ranked ones in the order of their places, then the others.
        undecided: Whether there are too few seeds for any test.
        notes: What a reader must know.
    """

    workload: str
    group: str
    metric: str
    curve_metric: str
    target: float | None
    lines: tuple[Line, ...]
    undecided: bool
    notes: tuple[str, ...]

    @property
    def label(self) -> str:
        """The workload with its group."""
        return f"{self.group} / {self.workload}" if self.group else self.workload

    @property
    def lower_is_better(self) -> bool:
        """Whether a lower value of the metric is better."""
        return describe(self.metric).better == "lower"


def boards(suite: Suite, entries: Sequence[Entry]) -> list[Board]:
    """Return a board for every workload and every metric of it, in the suite's order.

    Args:
        suite: Workloads and methods.
        entries: All runs.
    """
    by_workload: dict[str, dict[str, list[Entry]]] = defaultdict(lambda: defaultdict(list))
    for entry in entries:
        by_workload[entry.spec.workload_label][entry.spec.method].append(entry)
    categories = {method.label: method.category for method in suite.methods}
    return [
        _board(suite, workload, metric, by_method, categories)
        for workload, by_method in by_workload.items()
        for metric in _metrics(suite, workload, by_method)
    ]


def scores(found: Sequence[Board]) -> dict[str, tuple[Score, ...]]:
    """Return the scores of the methods over all boards with a target, by the currency that costs are counted in.

    They are AlgoPerf's, with seeds in the place of studies. A method that has not been run on a workload misses there.

    Args:
        found: The boards.
    """
    reached = {
        (line.method, str(number), entry.spec.seed, 0): _reached(entry, board)
        for number, board in enumerate(found)
        if board.target is not None
        for line in board.lines
        for entry in line.entries
    }
    return {
        currency.name: score(
            {
                # Scores need positive costs; a method without any gradient pays nothing in some currencies.
                trial: Hit(index=record.epoch, cost=max(currency.of(record.cost), 1e-9)) if record else None
                for trial, record in reached.items()
            },
            {},
        )
        for currency in CURRENCIES
    }


def _metrics(suite: Suite, workload: str, by_method: Mapping[str, Sequence[Entry]]) -> list[str]:
    held = {name for runs in by_method.values() for run in runs if run.stored for name in run.stored.result.final}
    wanted = suite.heading(workload).metrics or headline_metrics(held)
    return [name for name in wanted if describe(name).better] or [_FALLBACK]


def _board(
    suite: Suite,
    workload: str,
    metric: str,
    by_method: Mapping[str, list[Entry]],
    categories: Mapping[str, str],
) -> Board:
    values = {method: {run.spec.seed: _value(run, metric) for run in runs} for method, runs in by_method.items()}
    lower = describe(metric).better == "lower"
    ranking = rank(values, lower_is_better=lower)
    curve_metric = _curve_metric(metric, by_method)
    costs = {method: _costs(runs) for method, runs in by_method.items()}
    fronts = _fronts(ranking, costs, lower_is_better=lower)
    matched = _matched(by_method, curve_metric, costs, lower_is_better=lower)
    names = [*(each.name for each in ranking.methods), *(each.name for each in ranking.unranked)]
    lines = tuple(
        _line(
            name, categories[name], metric, values[name], ranking, by_method[name], costs[name], matched[name], fronts
        )
        for name in names
    )
    heading = suite.heading(workload)
    return Board(
        workload=heading.label,
        group=heading.group,
        metric=metric,
        curve_metric=curve_metric,
        target=_target(curve_metric, by_method),
        lines=lines,
        undecided=any(line.n < MINIMUM_N for line in lines),
        notes=tuple(_notes(ranking, metric, by_method)),
    )


def _value(run: Entry, metric: str) -> float | None:
    return run.stored.result.final.get(metric) if run.finished and run.stored else None


def _line(
    name: str,
    category: str,
    metric: str,
    values: Mapping[int, float | None],
    ranking: Ranking,
    runs: Sequence[Entry],
    costs: Mapping[str, float],
    matched: Mapping[str, float],
    fronts: Mapping[str, tuple[str, ...]],
) -> Line:
    ranked = next((each for each in ranking.methods if each.name == name), None)
    known = [value for value in values.values() if value is not None and math.isfinite(value)]
    shown = figure(metric, known) if ranked else None
    interval = t_interval([describe(metric).scale * value for value in known]) if ranked else "n < 2"
    return Line(
        method=name,
        category=category,
        places=(ranked.first_place, ranked.last_place) if ranked else None,
        groups=" ".join(_letter(number) for number in ranked.groups) if ranked else "",
        value=shown.mean if shown else None,
        text=shown.text if shown else "",
        interval=None if isinstance(interval, str) else (interval.low, interval.high),
        n=len(known),
        remark=_remark(runs, len(values) - len(known)),
        costs=costs,
        matched=matched,
        front=frozenset(currency for currency, names in fronts.items() if name in names),
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


def _costs(runs: Sequence[Entry]) -> dict[str, float]:
    spent = [run.stored.result.cost for run in runs if run.finished and run.stored]
    return {currency.name: mean(map(currency.of, spent)) for currency in CURRENCIES} if spent else {}


def _fronts(
    ranking: Ranking, costs: Mapping[str, Mapping[str, float]], *, lower_is_better: bool
) -> dict[str, tuple[str, ...]]:
    return {
        currency.name: pareto_front(
            {each.name: (costs[each.name][currency.name], each.mean) for each in ranking.methods},
            lower_is_better=lower_is_better,
        )
        for currency in CURRENCIES
    }


def _curve_metric(metric: str, by_method: Mapping[str, Sequence[Entry]]) -> str:
    """Return the metric of the curves that is nearest to that of the results; test data may be read once only."""
    candidates = (metric, f"validation/{metric.partition('/')[2]}", "validation/loss", "train/loss")
    measured = [
        set(run.stored.records[0].metrics)
        for runs in by_method.values()
        for run in runs
        if run.stored and run.stored.records
    ]
    shared = set.intersection(*measured) if measured else set()
    return next((name for name in candidates if name in shared), "")


def falls(curve_metric: str, metric: str) -> bool:
    """Return whether a lower value is better for the metric of a curve."""
    return curve_metric.endswith("/loss") or (
        curve_metric.partition("/")[2] == metric.partition("/")[2] and describe(metric).better == "lower"
    )


def _curve(records: Sequence[EpochRecord], metric: str, currency: Currency) -> list[Evaluation]:
    return [
        Evaluation(index=record.epoch, cost=currency.of(record.cost), metric=record.metrics.get(metric, math.nan))
        for record in records
    ]


def _matched(
    by_method: Mapping[str, Sequence[Entry]],
    curve_metric: str,
    costs: Mapping[str, Mapping[str, float]],
    *,
    lower_is_better: bool,
) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {method: {} for method in by_method}
    if not curve_metric:
        return found
    for currency in CURRENCIES:
        budget = min((here[currency.name] for here in costs.values() if here), default=0.0)
        for method, runs in by_method.items():
            at_budget = [
                metric_within(
                    _curve(run.stored.records, curve_metric, currency),
                    budget,
                    pick="last",
                    lower_is_better=lower_is_better,
                )
                for run in runs
                if run.finished and run.stored and run.stored.records
            ]
            reached = [point.metric for point in at_budget if point]
            if reached and len(reached) == len(runs):
                found[method][currency.name] = mean(reached)
    return found


def curve_scale(metric: str) -> float:
    """Return what values of a curve's metric are multiplied with: the scale of the same metric of the test data."""
    return describe(f"test/{metric.partition('/')[2]}").scale


def _target(curve_metric: str, by_method: Mapping[str, Sequence[Entry]]) -> float | None:
    ends = []
    for runs in by_method.values():
        last = [
            run.stored.records[-1].metrics.get(curve_metric, math.nan)
            for run in runs
            if run.finished and run.stored and run.stored.records
        ]
        if last and len(last) == len(runs) and all(map(math.isfinite, last)):
            ends.append(mean(last))
    return statistics.median(ends) if ends and curve_metric else None


def _reached(entry: Entry, board: Board) -> EpochRecord | None:
    """Return the epoch after which a run had reached the target of its board."""
    if entry.stored is None or board.target is None:
        return None
    records = entry.stored.records
    curve = _curve(records, board.curve_metric, CURRENCIES[0])
    hit = time_to_target(curve, board.target, lower_is_better=falls(board.curve_metric, board.metric))
    return next(record for record in records if record.epoch == hit.index) if hit else None


def _notes(ranking: Ranking, metric: str, by_method: Mapping[str, Sequence[Entry]]) -> list[str]:
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
        notes.append("Methods without a place had runs that diverged, failed or are missing.")
    devices = {
        run.stored.result.environment.get("device", "") for runs in by_method.values() for run in runs if run.stored
    }
    if len(devices - {""}) > 1:
        notes.append("The runs were made on different hardware: their seconds cannot be compared.")
    if any(run.spec.synthetic for runs in by_method.values() for run in runs):
        notes.append("SYNTHETIC DATA: the numbers say nothing about how well anything trains.")
    return notes
