"""Boards: the methods on one workload, in as much of an order as the data support, with what they cost.

What is computed of results is computed by `reporting`, as for tables; boards put it where the site shows it.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from benchbench.leaderboard.merge import Entry
from benchbench.reporting.caveats import without_impossible
from benchbench.reporting.currencies import LABELS, Currency
from benchbench.reporting.matched import at_equal_cost
from benchbench.reporting.metrics import UNKNOWN_DIRECTION, Better, better, describe, figure, interval
from benchbench.reporting.pareto import mean_cost, pareto
from benchbench.reporting.ranking import Order, interval_text, letters, orders
from benchbench.reporting.runs import Runs, all_results, gather
from benchbench.reporting.table import NOTHING
from benchbench.reporting.targets import Goal, Scores, goals, scores
from benchbench.reporting.tuning import not_ranked
from benchbench.stats import MINIMUM_N, Ranking, mean
from benchbench.values import Method, Row, Suite
from benchbench.values.prices import unit_name

CURRENCIES: Mapping[Currency, str] = {name: LABELS[name] for name in ("gc", "gradients", "steps", "seconds")}
"""The currencies that a reader of the site can choose from and their names, the one that is shown first in front."""


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
        interval_text: The same as text, or why there is none.
        n: Seeds that gave a number.
        remark: What became of the other seeds, or empty.
        costs: Mean cost of a finished run, by currency.
        matched: Mean of the curve's metric at the largest cost that all finished runs of the board have used up, by
            currency; in the metric's own unit.
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
    interval_text: str
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
        """True if a lower value of the metric is better."""
        return self.better == "lower"


class Results:
    """The submitted results, in the form that `reporting` takes.

    Attributes:
        suite: Workloads and methods.
        entries: All runs, without numbers that no run can have measured.
        places: The same by workload and method.
        notes: What has been left out for that.
        runs: What they came to, by workload and method.
        orders: The order of the methods by workload and metric.
        goals: What has to be reached, by workload of which the suite names a target.
        unusable: Why the targets of other workloads cannot be used.
    """

    def __init__(self, suite: Suite, entries: Sequence[Entry]) -> None:
        self.suite = suite
        known = ((entry.spec, entry.stored) for entry in entries)
        rows, notes = without_impossible(
            [
                Row(spec=spec, result=stored.result, records=stored.records, study=stored.study)
                if stored
                else Row(spec=spec)
                for spec, stored in known
            ]
        )
        self.notes = tuple(notes)
        self.entries = [
            replace(entry, stored=replace(entry.stored, result=row.result, records=row.records))
            if entry.stored and row.result
            else entry
            for entry, row in zip(entries, rows, strict=True)
        ]
        self.runs = gather(suite, rows)
        self.orders = orders(suite, self.runs)
        self.goals, self.unusable = goals(suite, self.runs)
        self.places: dict[tuple[str, str], list[Entry]] = defaultdict(list)
        for entry in self.entries:
            self.places[entry.spec.workload_label, entry.spec.method].append(entry)


def boards(results: Results) -> list[Board]:
    """Return a board for every workload and every metric of it, in the suite's order."""
    return [
        _board(results, order, order.better, order.ranking)
        for order in results.orders
        if order.better is not None and order.ranking is not None
    ]


def left_out(results: Results) -> list[str]:
    """Return what has no board, and why, as sentences."""
    return [
        f"No board of {results.suite.heading(order.place.workload).full_label} by {order.metric}: {UNKNOWN_DIRECTION}."
        for order in results.orders
        if order.ranking is None
    ]


def board_scores(results: Results, found: Iterable[Board]) -> Scores:
    """Return the scores of the methods over the workloads with a target, by the currency that costs are counted in.

    Where the suite names no target, that of the workload's first board counts.
    """
    known, unusable = dict(results.goals), results.unusable
    if unusable:
        notes = [f"No score: {results.suite.heading(name).full_label}: {reason}." for name, reason in unusable.items()]
        return Scores(of={}, unscored={}, notes=tuple(notes))
    for board in found:
        if board.key not in known and board.target is not None and board.curve_better is not None:
            known[board.key] = Goal(metric=board.curve_metric, better=board.curve_better, value=board.target)
    return scores(results.suite, results.runs, known, list(CURRENCIES))


def curve_metric(metric: str, runs: Iterable[Runs]) -> str:
    """Return the metric of the curves that is nearest to that of the results; test data may be read once only.

    It is there where any run has measured it: what others lack is shown as lacking.
    """
    candidates = (metric, f"validation/{metric.partition('/')[2]}", "validation/loss", "train/loss")
    measured = {name for here in runs for records in here.records for name in (records[0].metrics if records else ())}
    return next((name for name in candidates if name in measured), "")


def curve_scale(metric: str) -> float:
    """Return what values of a curve's metric are multiplied with: the scale of the same metric of the test data."""
    return describe(f"test/{metric.partition('/')[2]}").scale


def _median_end(metric: str, runs: Iterable[Runs]) -> float | None:
    """Return the median over the methods of the mean that their curves end with: half of them end there or beyond it.

    Methods of which a run is missing, did not finish or left no curve are left out; `None` where no method is left.

    Args:
        metric: The metric of the curves.
        runs: Runs of each method on one workload.
    """
    ends = []
    for here in runs:
        last = [
            records[-1].metrics.get(metric, math.nan)
            for run, records in zip(here.results, here.records, strict=True)
            if run.outcome == "finished" and records
        ]
        if last and len(last) == here.expected and all(map(math.isfinite, last)):
            ends.append(mean(last))
    return statistics.median(ends) if ends else None


def _board(results: Results, order: Order, better_: Better, ranking: Ranking) -> Board:
    suite, workload, metric = results.suite, order.place.workload, order.metric
    methods = {method.label: method for method in suite.methods}
    here = {label: runs for label, runs in results.runs[workload].items() if runs.asked}
    curve = curve_metric(metric, here.values())
    at_budget = _matched(here, curve) if curve else {}
    compared = {method: runs for method, runs in here.items() if method not in not_ranked(suite)}
    fronts = {currency: pareto(compared, metric, currency, better_) for currency in CURRENCIES}
    ranked = [each.name for each in ranking.methods]
    unranked = sorted(here.keys() - set(ranked), key=lambda name: (methods[name].tuned_on == "test", name))
    lines = tuple(
        _line(
            results,
            order,
            ranking,
            methods[name],
            at_budget.get(name, {}),
            frozenset(currency for currency, names in fronts.items() if name in names),
        )
        for name in (*ranked, *unranked)
    )
    heading = suite.heading(workload)
    goal = results.goals.get(workload)
    return Board(
        key=workload,
        workload=heading.label,
        group=heading.group,
        metric=metric,
        better=better_,
        curve_metric=curve,
        curve_better=better(curve, all_results(here.values())) if curve else None,
        target=goal.value if goal and goal.metric == curve else _median_end(curve, here.values()) if curve else None,
        lines=lines,
        notes=tuple(_notes(ranking, lines)),
    )


def _matched(runs: Mapping[str, Runs], metric: str) -> dict[str, dict[str, float]]:
    """Return the mean at equal cost by method and currency; of methods of which every run has a value."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for currency in CURRENCIES:
        at_budget = at_equal_cost(runs, metric, currency)
        for method, by_seed in at_budget.values.items() if at_budget else ():
            values = [value for value in by_seed.values() if value is not None]
            if values and len(values) == runs[method].expected:
                found[method][currency] = mean(values)
    return found


def _line(
    results: Results,
    order: Order,
    ranking: Ranking,
    method: Method,
    matched: Mapping[str, float],
    front: frozenset[str],
) -> Line:
    workload, metric = order.place.workload, order.metric
    runs, entries = results.runs[workload][method.label], results.places[workload, method.label]
    ranked = next((each for each in ranking.methods if each.name == method.label), None)
    tuned = method.tuned.get(workload)
    values = runs.by_seed(metric).values()
    known = [value for value in values if value is not None and math.isfinite(value)]
    shown = figure(metric, known) if runs.is_whole(metric) else None
    found = interval(metric, known) if shown else "n < 2"
    outcomes = Counter("missing" if run.stored is None else run.stored.result.outcome for run in entries)
    finished = outcomes.pop("finished", 0)
    lost = [f"{count} {what}" for what, count in sorted(outcomes.items())]
    if (without := finished - len(known)) > 0:
        lost.append(f"{without} without a number")
    return Line(
        method=method.label,
        category=method.category,
        places=(ranked.first_place, ranked.last_place) if ranked else None,
        groups=letters(ranked.groups) if ranked else "",
        value=shown.mean if shown else None,
        text=shown.text if shown else "",
        interval=None if isinstance(found, str) else (found.low, found.high),
        interval_text=interval_text(metric, known) if shown else NOTHING,
        n=len(known),
        remark=", ".join(lost),
        costs={currency: cost for currency in CURRENCIES if (cost := mean_cost(runs, currency)) is not None},
        matched=matched,
        front=front,
        tuning=tuned.trials.gc + tuned.finals.gc if tuned else None,
        tuning_unit=unit_name(tuned.trials.unit) if tuned else "",
        on_test=method.tuned_on == "test",
        entries=tuple(sorted(entries, key=lambda run: run.spec.seed)),
    )


def _notes(ranking: Ranking, lines: Sequence[Line]) -> list[str]:
    notes = []
    entries = [entry for line in lines for entry in line.entries]
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
    if names := ", ".join(line.method for line in lines if line.on_test):
        notes.append(f"Without a place, for their settings were chosen on the test data: {names}.")
    devices = {entry.stored.result.environment.get("device", "") for entry in entries if entry.stored}
    if len(devices - {""}) > 1:
        notes.append("The runs were made on different hardware: their seconds cannot be compared.")
    if any(entry.spec.synthetic for entry in entries):
        notes.append("SYNTHETIC DATA: the numbers say nothing about how well anything trains.")
    return notes
