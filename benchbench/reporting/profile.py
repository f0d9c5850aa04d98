"""The score that follows from the costs at the targets of several workloads, and its performance profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchbench.reporting.currencies import LABELS, Currency
from benchbench.reporting.results import absence_notes, by_category, method_table
from benchbench.reporting.runs import SuiteRuns, all_runs, count_seeds, gather, titled
from benchbench.reporting.table import Cell, Column, Table, number_cell
from benchbench.reporting.targets import (
    HISTORY,
    Goal,
    goals,
    hits_by_seed,
    no_target,
    without_history,
    without_target,
)
from benchbench.reporting.tuning import CHOSEN_ON_TEST, not_ranked
from benchbench.stats import Hit, Score, performance_profile, score
from benchbench.values import Frozen, Row, Suite

_SCORED: Sequence[Currency] = ("steps", "gradients", "gc", "flops", "seconds")
_TAUS = (1.0, 1.5, 2.0)


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
        for method in (each.label for each in suite.methods if each.label not in unranked):
            here = runs[workload][method]
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
    notes = [_PROFILE_NOTE, _counted(suite)] if suite.targets else [no_target(suite)]
    notes += without_target(suite)
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
