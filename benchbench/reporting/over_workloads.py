"""Comparison of methods over all workloads of a suite: average ranks, and tests over workloads."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from statistics import median

from benchbench.reporting.metrics import UNKNOWN_DIRECTION, describe
from benchbench.reporting.ranking import letters, orders, p_value
from benchbench.reporting.results import absence_notes
from benchbench.reporting.runs import SuiteRuns, count_seeds, gather, titled
from benchbench.reporting.significance import ALPHA
from benchbench.reporting.table import BLANK, NOTHING, Cell, Column, Table, TableRow, number_cell
from benchbench.reporting.tuning import CHOSEN_ON_TEST, tuned_on_test
from benchbench.stats import (
    MINIMUM_N,
    OverWorkloads,
    Withheld,
    bayesian_signed_rank,
    compare_over_workloads,
    holm,
    sign_test,
    signed_rank_test,
)
from benchbench.stats.over_workloads import DRAWS, LEAST_METHODS
from benchbench.values import Frozen, Row, Suite

ROPE = 1.0
"""Differences up to this many percent count as none in the Bayesian test."""


class WorkloadComparison(Frozen):
    """The methods of a suite over its workloads.

    Attributes:
        metrics: The metric of each workload that counts, by its label.
        scores: Mean over the seeds by method and workload, the higher the better: of a loss, with its sign changed.
        ranks: Average ranks, and what separates them.
        unranked: Why a method is not compared, by its label.
        left_out: Why a workload does not count, by its label.
    """

    metrics: dict[str, str]
    scores: dict[str, dict[str, float]]
    ranks: OverWorkloads
    unranked: dict[str, str]
    left_out: dict[str, str]

    def differences(self, first: str, second: str) -> list[float]:
        """Return how much better the first method is on each workload, in percent.

        Of metrics in % it is the difference in percentage points, of others the difference in percent of the larger
        of the two absolute values. Rounded to 9 decimals, so that rounding makes no two workloads different.
        """
        found = []
        for workload, name in self.metrics.items():
            metric, one, other = describe(name), self.scores[first][workload], self.scores[second][workload]
            larger = 1.0 if metric.unit == "%" else max(abs(one), abs(other))
            found.append(round(100 * (one - other) / larger, 9) if one != other else 0.0)
        return found


def over_workloads(suite: Suite, runs: SuiteRuns) -> WorkloadComparison:
    """Compare the methods of a suite over its workloads, each with its first metric after the final epoch.

    A method is compared if all its seeds on every workload gave a number. A workload on which no method has come to
    that does not count, nor does a held-out variant, which would count its base twice.

    Args:
        suite: The suite.
        runs: Its runs by workload and method.
    """
    metrics: dict[str, str] = {}
    left_out: dict[str, str] = {}
    known: dict[str, dict[str, float]] = {}
    for order in orders(suite, runs):
        workload = order.place.workload
        if workload in metrics or workload in left_out:
            continue  # a further metric of the same workload
        if workload in suite.held_out:
            left_out[workload] = f"held-out variant of {suite.heading(suite.held_out[workload]).full_label}"
        elif order.ranking is None:
            left_out[workload] = f"{order.metric}: {UNKNOWN_DIRECTION}"
        elif not order.ranking.methods:
            left_out[workload] = "no method has all its seeds there"
        else:
            sign = -1 if order.ranking.lower_is_better else 1
            metrics[workload] = order.metric
            # Means of other values may be equal but for rounding.
            known[workload] = {each.name: sign * float(f"{each.mean:.12g}") for each in order.ranking.methods}
    unranked = {
        method.label: CHOSEN_ON_TEST
        if tuned_on_test(suite, method)
        else f"not all seeds gave a number on {', '.join(lacking) or 'any workload'}"
        for method in suite.methods
        if (lacking := [suite.heading(each).full_label for each in known if method.label not in known[each]])
        or not known
    }
    scores = {
        method.label: {workload: known[workload][method.label] for workload in known}
        for method in suite.methods
        if method.label not in unranked
    }
    return WorkloadComparison(
        metrics=metrics,
        scores=scores,
        ranks=compare_over_workloads(scores, ALPHA),
        unranked=unranked,
        left_out=left_out,
    )


def workloads_table(suite: Suite, rows: Sequence[Row]) -> Table:
    """Return average ranks over the workloads, and what tests over workloads say against the best and a baseline.

    The baseline is that of the suite or else the first method that is compared, the best the one with the best average
    rank.
    """
    found = over_workloads(suite, gather(suite, rows))
    ranked = [each.name for each in found.ranks.methods]
    candidates = [suite.baseline] if suite.baseline else [method.label for method in suite.methods]
    baseline = next((label for label in candidates if label in found.scores), None)
    columns = [Column(label="average rank"), Column(label="groups"), Column(label="p", group="to the best")]
    columns += [Column(label=label, group=f"to {baseline}") for label in _AGAINST] if baseline else []
    against = _against(found, baseline, ranked) if baseline else {}
    to_best = _to_best(found, ranked)
    lines = [
        TableRow(
            headers=(each.name,),
            cells=(
                number_cell(f"{each.rank:.2f}", each.rank),
                Cell(remark=letters(each.groups) or NOTHING),
                p_value(to_best[each.name]) if each.name in to_best else BLANK,
                *against.get(each.name, (BLANK,) * len(_AGAINST)),
            ),
        )
        for each in found.ranks.methods
    ]
    lines += [
        TableRow(headers=(name,), cells=(Cell(reason=reason), *[BLANK] * (len(columns) - 1)))
        for name, reason in found.unranked.items()
    ]
    reasons = {(name, ""): reason for name, reason in found.unranked.items()}
    return Table(
        name="workloads",
        title=titled(suite, "Order of the methods over all workloads"),
        headers=("Method",),
        columns=tuple(columns),
        rows=tuple(lines),
        notes=(
            *_notes(suite, found, baseline),
            *(f"Left out: {suite.heading(each).full_label}: {why}." for each, why in found.left_out.items()),
            *absence_notes(reasons, [method.label for method in suite.methods], {"": ""}),
        ),
    )


_AGAINST = ("better–equal–worse", "sign p", "median", "Wilcoxon p", "P(better)", "P(equal)", "P(worse)")


def _to_best(found: WorkloadComparison, ranked: Sequence[str]) -> dict[str, float | Withheld]:
    """Return the p-values against the method with the best average rank, corrected over all pairs.

    Which method that is comes out of the data, so every pair could have been the one that is looked at.
    """
    pairs = list(combinations(ranked, 2))
    corrected = holm({pair: signed_rank_test(found.differences(*pair)) for pair in pairs})
    return {pair[1]: corrected[pair] for pair in pairs if pair[0] == ranked[0]}


def _against(found: WorkloadComparison, baseline: str, ranked: Sequence[str]) -> dict[str, tuple[Cell, ...]]:
    """Return the cells of each other method against the baseline, p-values corrected over these methods."""
    differences = {name: found.differences(name, baseline) for name in ranked if name != baseline}
    signs = {name: sign_test(of) for name, of in differences.items()}
    sign_p = holm({name: each.p for name, each in signs.items()})
    wilcoxon_p = holm({name: signed_rank_test(of) for name, of in differences.items()})
    cells = {}
    for name, of in differences.items():
        posterior = bayesian_signed_rank(of, ROPE)
        cells[name] = (
            Cell(remark=f"{signs[name].better}–{signs[name].equal}–{signs[name].worse}"),
            p_value(sign_p[name]),
            number_cell(f"{median(of):+.2f}", median(of)),
            p_value(wilcoxon_p[name]),
            *(
                [Cell(remark=posterior)] * 3
                if isinstance(posterior, str)
                else map(_probability, (posterior.better, posterior.equal, posterior.worse))
            ),
        )
    return cells


def _probability(value: float) -> Cell:
    return number_cell("> 0.99" if value > 0.99 else "< 0.01" if value < 0.01 else f"{value:.2f}", value)


def _notes(suite: Suite, found: WorkloadComparison, baseline: str | None) -> list[str]:
    n, ranks = found.ranks.workloads, found.ranks
    if not found.scores:
        return [
            f"Nothing is compared: no method has all its seeds on every workload that counts; {count_seeds(suite)}."
        ]
    names = ", ".join(dict.fromkeys(found.metrics.values()))
    notes = [
        f"Workloads: {n}. Values: mean over the seeds of {names} after the final epoch; {count_seeds(suite)}.",
        "Average rank: mean over the workloads of the rank on each, 1 for the best; equal values share a mean rank.",
    ]
    if len(found.scores) == 1:
        return notes
    if n < MINIMUM_N:
        return [*notes, f"Nothing is tested: that takes {MINIMUM_N} workloads (n counts them here)."]
    if isinstance(ranks.p, str) or isinstance(ranks.critical_difference, str):
        notes.append(f"No groups: Friedman's test and Nemenyi's take {LEAST_METHODS} methods.")
    else:
        p = "p < 0.001" if ranks.p < 0.001 else f"p = {ranks.p:.3f}"
        notes.append(
            f"That all methods are equal: {p} (Friedman's test in Iman and Davenport's form). Groups: Nemenyi's test "
            f"tells methods apart whose average ranks differ by {ranks.critical_difference:.2f} or more "
            f"(alpha = {ranks.alpha:g})."
        )
    return [
        *notes,
        "p: Wilcoxon's signed-rank test, and the sign test, over workloads; Holm's correction: to the best over all "
        f"pairs, to {baseline} over its pairs. Workloads on which two methods are equal are dropped.",
        f"median: of the differences from {baseline}, positive where the method is better, in percentage points where "
        "the metric is in %, else in percent of the larger value. Wilcoxon's and the Bayesian test weigh their sizes.",
        f"P: Bayesian signed-rank test; equal means within {ROPE:g} %; {DRAWS:,} draws with one seed.",
    ]
