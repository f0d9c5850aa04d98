"""Cost at the targets of a suite: of each method on each workload, and the score that follows from all of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from benchbench.reporting.currencies import LABELS, Currency, curves
from benchbench.reporting.metrics import TIME_TO_TARGET, UNKNOWN_DIRECTION, Better, better, figure
from benchbench.reporting.results import ResultColumn, absence_notes, by_category, lay_out, method_table
from benchbench.reporting.runs import (
    Runs,
    SuiteRuns,
    all_results,
    all_runs,
    count_seeds,
    gather,
    selection_metric,
    titled,
)
from benchbench.reporting.table import Cell, Column, Table, amount_text, number_cell
from benchbench.reporting.tuning import CHOSEN_ON_TEST, not_ranked
from benchbench.stats import Hit, Score, performance_profile, score, time_to_target
from benchbench.values import Frozen, Row, RunResult, Suite

HISTORY = "a history"
"""The missing part of a run of which only the result is left."""

_SCORED: Sequence[Currency] = ("steps", "gradients", "gc", "flops", "seconds")
_TAUS = (1.0, 1.5, 2.0)


def targets_table(suite: Suite, rows: Sequence[Row]) -> Table:
    """Return the cost at which each method first reaches the targets that the suite names, in every currency.

    Args:
        suite: The suite.
        rows: What is known of its runs, with what they recorded.
    """
    runs = gather(suite, rows)
    places: list[ResultColumn] = []
    notes = _target_notes(
        suite,
        "Cost of the first evaluation that reaches the target: median over seeds, where a seed that misses it, fails "
        "or diverges before it counts as infinite. Runs are evaluated once per epoch.",
        f"{count_seeds(suite)}.",
    )
    known, reasons = goals(suite, runs)
    for workload in suite.targets:
        here = runs[workload]
        heading = suite.heading(workload).full_label
        if workload in reasons:
            notes.append(f"Left out: {heading}: {reasons[workload]}.")
            continue
        goal = known[workload]
        way = ", lower is better" if goal.better == "lower" else ""
        notes.append(f"Target in {heading}: {goal.metric} {figure(goal.metric, [goal.value]).value}{way}.")
        for currency, label in LABELS.items():
            hits = {method: hits_by_seed(found, goal, currency) for method, found in here.items()}
            if all(found is None for found in hits.values()):
                continue
            cells = {method: _cell(here[method], found) for method, found in hits.items()}
            metrics = (f"{TIME_TO_TARGET}{currency}",)
            places.append(ResultColumn(label=label, group=heading, metrics=metrics, cells=cells))
    title = titled(suite, "Cost at the target")
    return lay_out("targets", title, suite.methods, places, notes, unranked=not_ranked(suite))


def _target_notes(suite: Suite, *notes: str) -> list[str]:
    """Return notes and which workloads have no target, or how a suite without any gets one."""
    if not suite.targets:
        return [f"No workload of {suite.name} has a target: name one, such as `target: 0.95`."]
    without = [suite.heading(workload).full_label for workload in suite.workloads if workload not in suite.targets]
    return [*notes, *([f"Left out: {', '.join(without)}: no target."] if without else [])]


class Goal(Frozen):
    """A target to reach on a workload.

    Attributes:
        metric: The metric that is evaluated along the runs.
        better: Which way it is better.
        value: Its value to reach.
    """

    metric: str
    better: Better
    value: float


def goals(suite: Suite, runs: SuiteRuns) -> tuple[dict[str, Goal], dict[str, str]]:
    """Return the targets that a suite names, by workload, and why those of other workloads cannot be used."""
    found, reasons = {}, {}
    for workload, target in suite.targets.items():
        here = runs[workload].values()
        name = selection_metric(here)
        direction = better(name, all_results(here))
        if not name:
            ended = any(each.results for each in here)
            reasons[workload] = "no result says what its best epoch was chosen by" if ended else "no run has ended"
        elif direction is None:
            reasons[workload] = f"{name}: {UNKNOWN_DIRECTION}"
        else:
            found[workload] = Goal(metric=name, better=direction, value=target)
    return found, reasons


def hits_by_seed(runs: Runs, goal: Goal, currency: Currency) -> dict[int, Hit | None] | None:
    """Return when each seed reached a target, `None` for a miss; or `None` if cost was not measured in the currency.

    A run that broke has reached nothing. Seeds of which no history is left are not there: whether they reached the
    target, a diverged one before it diverged, is not known.
    """
    found = curves(runs, goal.metric, currency)
    if found is None:
        return None
    lower = goal.better == "lower"
    return {
        seed: time_to_target(points, goal.value, lower_is_better=lower) if run.conclusive else None
        for seed, run, points in zip(runs.seeds, runs.results, found, strict=True)
        if points or not _is_silent(run)
    }


def without_history(runs: Runs, metric: str) -> int:
    """Return of how many seeds it is not known whether they reached a value of a metric, for their history is lost."""
    return sum(
        _is_silent(run) and not any(metric in record.metrics for record in records)
        for run, records in zip(runs.results, runs.records, strict=True)
    )


def _is_silent(run: RunResult) -> bool:
    """Return whether a run without a history may have reached a target all the same."""
    return run.conclusive and (run.outcome == "finished" or run.epochs > 0)


def _cell(runs: Runs, hits: Mapping[int, Hit | None] | None) -> Cell:
    if not runs.results:
        return Cell(reason=runs.absence())
    if hits is None:
        return Cell(reason="not measured in this currency")
    if not hits:
        return Cell(reason=runs.absence(HISTORY))
    costs = [math.inf if hit is None else hit.cost for hit in hits.values()]
    reached = sum(map(math.isfinite, costs))
    median = statistics.median(costs)
    unknown = len(runs.results) - len(hits)
    share = f"{reached} of {len(costs)} seeds" + (f"; {unknown} without {HISTORY}" if unknown else "")
    if not math.isfinite(median):
        return Cell(reason=f"target reached by {share}")
    remark = "" if reached == runs.expected else f"({share})"
    return number_cell(amount_text(median), median, n=len(costs), remark=remark)


class Scores(Frozen):
    """AlgoPerf's score of each method over the workloads with a target.

    Attributes:
        of: The scores by currency, highest first. A currency is missing where some cost was not measured in it.
        unscored: Why a method has no score, by its label.
        notes: Why there are no scores at all, and on which methods they rest with fewer seeds than were asked for.
    """

    of: dict[Currency, tuple[Score, ...]]
    unscored: dict[str, str]
    notes: tuple[str, ...]


def scores(suite: Suite, runs: SuiteRuns, known: Mapping[str, Goal], currencies: Sequence[Currency]) -> Scores:
    """Return the scores of the methods that were run on all workloads with a target.

    Every seed is a study of one trial, but where results say which study they are a trial of. A method that was not run
    on one of the workloads has no score: whether it would have reached the target is not known. Nor has any method
    where a run has lost its history, for all scores depend on the best cost of a workload.

    Args:
        suite: The suite.
        runs: Its runs by workload and method.
        known: What has to be reached, by workload.
        currencies: What cost is counted in.
    """
    unranked = not_ranked(suite)
    lost, fewer = [], []
    unscored = dict.fromkeys(unranked, CHOSEN_ON_TEST)
    for method in (each.label for each in suite.methods if each.label not in unranked):
        missing = [workload for workload in known if not runs[workload][method].results]
        if missing:
            unscored[method] = f"not run on {', '.join(suite.heading(workload).full_label for workload in missing)}"
        for workload in known:
            here = runs[workload][method]
            where = f"{method} on {suite.heading(workload).full_label}"
            if without_history(here, known[workload].metric):
                lost.append(where)
            elif 0 < len(here.results) < here.expected:
                fewer.append(f"{where} ({len(here.results)} of {here.expected} run)")
    if lost:
        return Scores(
            of={}, unscored=unscored, notes=(f"No score: there are runs without {HISTORY}: {', '.join(lost)}.",)
        )
    held_out = {variant: base for variant, base in suite.held_out.items() if {variant, base} <= known.keys()}
    found: dict[Currency, tuple[Score, ...]] = {}
    for currency in currencies if known else ():
        hits = _all_hits(suite, runs, known, currency)
        if hits is not None:
            found[currency] = tuple(each for each in score(hits, held_out) if each.submission not in unscored)
    notes = [f"Scores rest on fewer seeds than asked for: {', '.join(fewer)}."] if fewer else []
    is_probed = any(run.gc_measured is not None for here in all_runs(runs) for run in here.results)
    notes += [
        f"No score in {LABELS[currency]}: not measured for every method."
        for currency in currencies
        if known and currency not in found and (is_probed or currency != "flops")
    ]
    return Scores(of=found, unscored=unscored, notes=tuple(notes))


def _all_hits(
    suite: Suite, runs: SuiteRuns, known: Mapping[str, Goal], currency: Currency
) -> dict[tuple[str, str, int, int], Hit | None] | None:
    """Return the hits of all seeds, or `None` if the cost of some run was not measured in the currency."""
    found: dict[tuple[str, str, int, int], Hit | None] = {}
    unranked = not_ranked(suite)
    for workload, goal in known.items():
        for method, here in runs[workload].items():
            if method in unranked:
                continue
            hits = hits_by_seed(here, goal, currency)
            if hits is None and here.results:
                return None
            studies = dict(zip(here.seeds, here.studies, strict=True))
            for seed, hit in (hits or {}).items():
                # Scores need positive costs; who pays nothing in a currency is the cheapest in it.
                found[method, workload, studies[seed], seed] = hit and Hit(index=hit.index, cost=max(hit.cost, 1e-9))
    return found


def profile_table(suite: Suite, rows: Sequence[Row]) -> Table:
    """Return AlgoPerf's score of each method over the workloads with targets, and parts of its performance profile.

    Args:
        suite: The suite.
        rows: What is known of its runs, with what they recorded.
    """
    runs = gather(suite, rows)
    methods = by_category(suite.methods)
    columns: list[Column] = []
    shares: dict[str, list[Cell]] = {method.label: [] for method in methods}
    notes = _target_notes(suite, _PROFILE_NOTE, _counted(suite))
    known, reasons = goals(suite, runs)
    notes += [f"No score: {suite.heading(workload).full_label}: {reason}." for workload, reason in reasons.items()]
    found = scores(suite, runs, {} if reasons else known, _SCORED)
    notes += found.notes
    for currency, scored in found.of.items():
        of_taus = performance_profile({each.submission: each.times for each in scored}, _TAUS)
        columns += [Column(label="score", group=LABELS[currency])]
        columns += [Column(label=f"within {tau:g}x", group=LABELS[currency]) for tau in _TAUS]
        values = {each.submission: (each.score, *of_taus[each.submission]) for each in scored}
        for method, cells in shares.items():
            shown = [number_cell(f"{value:.2f}", value) for value in values.get(method, ())]
            cells.extend(shown or [Cell(reason=found.unscored[method])] * (1 + len(_TAUS)))
    unscored = {(method, ""): cell.reason for method, cells in shares.items() for cell in cells if cell.reason}
    return method_table(
        "profile",
        titled(suite, "Score and performance profile"),
        methods,
        columns,
        shares,
        (*notes, *absence_notes(unscored, list(shares), {"": ""})),
    )


_PROFILE_NOTE = (
    "Score: AlgoPerf's, the area under the performance profile up to 4 times the best cost; 1 is the fastest "
    "everywhere. Within: share of the workloads on which the target is reached within so many times the best cost. "
    "Each seed counts as a study."
)


def _counted(suite: Suite) -> str:
    """Return how many workloads the shares are of, and which held-out variants decide about them."""
    variants = {variant: base for variant, base in suite.held_out.items() if variant in suite.targets}
    names = [
        f"{suite.heading(variant).full_label} of {suite.heading(base).full_label}" for variant, base in variants.items()
    ]
    held_out = f"; held-out variants, which count with their base: {', '.join(names)}" if names else ""
    return f"Workloads with targets: {len(suite.targets) - len(variants)}{held_out}. {count_seeds(suite)}."
