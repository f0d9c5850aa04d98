"""How soon each method reaches a target, and the score that follows over several workloads."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from benchbench.reporting.currencies import GC_FLOPS, GC_PAPER, Currency, curves
from benchbench.reporting.metrics import TIME_TO_TARGET, UNKNOWN_DIRECTION, Better, better, figure
from benchbench.reporting.results import Place, absence_notes, by_category, lay_out, method_table
from benchbench.reporting.runs import Runs, all_results, count_seeds, gather, selection_metric, titled
from benchbench.reporting.table import Cell, Column, Figure, Table
from benchbench.reporting.tuning import CHOSEN_ON_TEST, not_ranked
from benchbench.stats import Hit, performance_profile, score, time_to_target
from benchbench.values import Row, Suite

_LABELS: Mapping[Currency, str] = {
    "epochs": "epochs",
    "steps": "steps",
    "gradients": "gradients",
    "gc": GC_PAPER,
    "flops": GC_FLOPS,
    "seconds": "seconds",
}
_SCORED: Sequence[Currency] = ("steps", "gradients", "gc", "flops", "seconds")
_TAUS = (1.0, 1.5, 2.0)


def targets_table(suite: Suite, rows: Sequence[Row]) -> Table:
    """Return the cost at which each method first reaches the targets that the suite names, in every currency.

    Args:
        suite: The suite.
        rows: What is known of its runs, with what they recorded.
    """
    runs = gather(suite, rows)
    places: list[Place] = []
    cells: dict[tuple[str, str], Cell] = {}
    notes = [_no_target(suite)] if not suite.targets else [_TARGETS_NOTE, f"{count_seeds(suite)}."]
    notes += _without_target(suite)
    for workload, target in suite.targets.items():
        here = {method.label: runs[workload, method.label] for method in suite.methods}
        name = selection_metric(here.values())
        heading = suite.heading(workload).full_label
        direction = better(name, all_results(here.values()))
        if not name or direction is None:
            reason = f"{name}: {UNKNOWN_DIRECTION}" if name else "no run has ended"
            notes.append(f"Left out: {heading}: {reason}.")
            continue
        way = ", lower is better" if direction == "lower" else ""
        notes.append(f"Target in {heading}: {name} {figure(name, [target]).value}{way}.")
        for currency, label in _LABELS.items():
            hits = {method: _hits(found, name, target, currency, direction) for method, found in here.items()}
            if all(found is None for found in hits.values()):
                continue
            key = f"{workload}\n{currency}"  # a column of its own; labels have no line breaks
            places.append(Place(workload=key, label=label, group=heading, metrics=(f"{TIME_TO_TARGET}{currency}",)))
            for method, found in hits.items():
                cells[key, method] = _cell(here[method], found)
    title = titled(suite, "Cost at the target")
    return lay_out("targets", title, suite.methods, places, cells, notes, unranked=not_ranked(suite))


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
    notes = [_PROFILE_NOTE, _counted(suite)] if suite.targets else [_no_target(suite)]
    notes += _without_target(suite)
    lost = _lost(suite, runs)
    unranked = not_ranked(suite)
    undirected = _undirected(suite, runs)
    if undirected:
        notes.append(f"No score: {UNKNOWN_DIRECTION}: {', '.join(undirected)}.")
    if lost:
        notes.append(f"No score: there are runs without {_HISTORY}: {', '.join(lost)}.")
    for currency in _SCORED if suite.targets and not lost and not undirected else ():
        hits = _all_hits(suite, runs, currency)
        if hits is None:
            if any(run.gc_measured is not None for here in runs.values() for run in here.results):
                notes.append(f"No score in {_LABELS[currency]}: not measured for every method.")
            continue
        scored = {each.submission: each for each in score(hits, suite.held_out)}
        of_taus = performance_profile({name: each.times for name, each in scored.items()}, _TAUS)
        columns += [Column(label="score", group=_LABELS[currency])]
        columns += [Column(label=f"within {tau:g}x", group=_LABELS[currency]) for tau in _TAUS]
        for method, cells in shares.items():
            found = scored.get(method)
            values = (found.score, *of_taus[method]) if found else ()
            shown = [Cell(figures=(Figure(value=f"{value:.2f}", mean=value),)) for value in values]
            reason = CHOSEN_ON_TEST if method in unranked else _NOT_RUN
            cells.extend(shown or [Cell(reason=reason)] * (1 + len(_TAUS)))
    unscored = {(method, ""): cell.reason for method, cells in shares.items() for cell in cells if cell.reason}
    return method_table(
        "profile",
        titled(suite, "Score and performance profile"),
        methods,
        columns,
        shares,
        (*notes, *absence_notes(unscored, list(shares), {"": ""})),
    )


_TARGETS_NOTE = (
    "Cost of the first evaluation that reaches the target: median over seeds, where a seed that misses it, fails or "
    "diverges before it counts as infinite. Runs are evaluated once per epoch."
)
_PROFILE_NOTE = (
    "Score: AlgoPerf's, the area under the performance profile up to 4 times the best cost; 1 is the fastest "
    "everywhere. Within: share of the workloads on which the target is reached within so many times the best cost. "
    "Each seed counts as a study; a method that was not run on a workload has missed its target there."
)
_NOT_RUN = "not run"
_HISTORY = "a history"


def _counted(suite: Suite) -> str:
    """Return how many workloads the shares are of, and which held-out variants decide about them."""
    variants = {variant: base for variant, base in suite.held_out.items() if variant in suite.targets}
    names = [
        f"{suite.heading(variant).full_label} of {suite.heading(base).full_label}" for variant, base in variants.items()
    ]
    held_out = f"; held-out variants, which count with their base: {', '.join(names)}" if names else ""
    return f"Workloads with targets: {len(suite.targets) - len(variants)}{held_out}. {count_seeds(suite)}."


def _lost(suite: Suite, runs: Mapping[tuple[str, str], Runs]) -> list[str]:
    """Return the methods of which finished runs have no history, so that nobody knows when they reached a target."""
    found = []
    for workload in suite.targets:
        for method in suite.methods:
            here = runs[workload, method.label]
            known = zip(here.results, here.records, strict=True)
            if any(run.outcome == "finished" and not records for run, records in known):
                found.append(f"{method.label} on {suite.heading(workload).full_label}")
    return found


def _without_target(suite: Suite) -> list[str]:
    """Return which workloads are left out because they have no target, where others have one."""
    without = [suite.heading(workload).full_label for workload in suite.workloads if workload not in suite.targets]
    return [f"Left out: {', '.join(without)}: no target."] if without and suite.targets else []


def _undirected(suite: Suite, runs: Mapping[tuple[str, str], Runs]) -> list[str]:
    """Return the workloads with a target of which it is not known which way their metric is better."""
    found = []
    for workload in suite.targets:
        here = [runs[workload, method.label] for method in suite.methods]
        name = selection_metric(here)
        if name and better(name, all_results(here)) is None:
            found.append(suite.heading(workload).full_label)
    return found


def _no_target(suite: Suite) -> str:
    return f"No workload of {suite.name} has a target: name one, such as `target: 0.95`."


def _hits(
    runs: Runs, name: str, target: float, currency: Currency, direction: Better | None
) -> dict[int, Hit | None] | None:
    """Return when each seed reached a target, `None` for a miss; or `None` if cost was not measured in the currency.

    Seeds of which no history is left are not there: whether they reached it is not known.
    """
    found = curves(runs, name, currency)
    if found is None:
        return None
    lower = direction == "lower"
    return {
        seed: time_to_target(points, target, lower_is_better=lower) if run.conclusive else None
        for seed, run, points in zip(runs.seeds, runs.results, found, strict=True)
        if points or run.outcome != "finished"
    }


def _all_hits(
    suite: Suite, runs: Mapping[tuple[str, str], Runs], currency: Currency
) -> dict[tuple[str, str, int, int], Hit | None] | None:
    """Return the hits of all methods on all workloads with a target: every seed a study, with one trial.

    `None` if the cost of some runs was not measured in the currency, which is no miss.
    """
    found = {}
    unranked = not_ranked(suite)
    for workload, target in suite.targets.items():
        here = {method.label: runs[workload, method.label] for method in suite.methods if method.label not in unranked}
        name = selection_metric(here.values())
        direction = better(name, all_results(here.values()))
        for method, of_method in here.items():
            hits = _hits(of_method, name, target, currency, direction)
            if hits is None and of_method.results:
                return None
            for seed, hit in (hits or {}).items():
                # Scores need positive costs; who pays nothing in a currency is the cheapest in it.
                found[method, workload, seed, 0] = hit and Hit(index=hit.index, cost=max(hit.cost, 1e-9))
    return found


def _cell(runs: Runs, hits: Mapping[int, Hit | None] | None) -> Cell:
    if not runs.results:
        return Cell(reason=runs.absence())
    if hits is None:
        return Cell(reason="not measured in this currency")
    if not hits:
        return Cell(reason=runs.absence(_HISTORY))
    costs = [math.inf if hit is None else hit.cost for hit in hits.values()]
    reached = sum(map(math.isfinite, costs))
    median = statistics.median(costs)
    unknown = len(runs.results) - len(hits)
    share = f"{reached} of {len(costs)} seeds" + (f"; {unknown} without {_HISTORY}" if unknown else "")
    if not math.isfinite(median):
        return Cell(reason=f"target reached by {share}")
    remark = "" if reached == runs.expected else f"({share})"
    return Cell(figures=(Figure(value=_amount(median), mean=median, n=len(costs)),), remark=remark)


def _amount(cost: float) -> str:
    return f"{cost:,.0f}" if cost >= 100 else f"{cost:.3g}"
