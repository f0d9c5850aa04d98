"""Speed-ups over a baseline: how many times less a method pays for a target, and how good it is along the way."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from benchbench.reporting.currencies import LABELS, Currency, curves
from benchbench.reporting.metrics import figure
from benchbench.reporting.results import ResultColumn, lay_out
from benchbench.reporting.runs import MEAN_AND_STD, Runs, count_seeds, gather, titled
from benchbench.reporting.table import BLANK, Cell, Table, number_cell
from benchbench.reporting.targets import HISTORY, Goal, goals, hits_by_seed
from benchbench.reporting.tuning import not_ranked
from benchbench.stats import Evaluation, Hit, Interval, mean, t_interval
from benchbench.values import Row, Suite

_CURRENCIES: Sequence[Currency] = ("steps", "gc", "flops", "seconds")

_NOTE = (
    "Cost of {baseline} at the target over that of the method: the geometric mean over the seeds that both have; in "
    "brackets its 95 % interval, Student's of the logarithms, from two seeds on. Above 1 is cheaper than {baseline}. "
    "It is given where both reach the target with each of these seeds. Runs are evaluated once per epoch, so that "
    "costs are those of whole epochs."
)


def speedup_table(suite: Suite, rows: Sequence[Row]) -> Table:
    """Return speed-ups over the suite's baseline at its targets, paired over seeds, and averages over the training.

    Args:
        suite: The suite.
        rows: What is known of its runs, with what they recorded.
    """
    runs = gather(suite, rows)
    baseline = suite.baseline or suite.methods[0].label
    if not any(method.label == baseline for method in suite.methods):
        note = f"The baseline {baseline} is not in this part of the suite."
        return lay_out("speedup", titled(suite, f"Speed-up over {baseline}"), suite.methods, [], [note])
    known, reasons = goals(suite, runs)
    columns: list[ResultColumn] = []
    notes = [_NOTE.format(baseline=baseline), f"{count_seeds(suite)}."]
    notes += [f"Left out: {suite.heading(workload).full_label}: {reason}." for workload, reason in reasons.items()]
    without = [suite.heading(each).full_label for each in suite.workloads if each not in suite.targets]
    notes += [f"Left out: {', '.join(without)}: no target."] if without else []
    for workload, goal in known.items():
        heading, here = suite.heading(workload).full_label, runs[workload]
        notes.append(f"Target in {heading}: {goal.metric} {figure(goal.metric, [goal.value]).value}.")
        for currency in _CURRENCIES:
            hits = {method: hits_by_seed(found, goal, currency) for method, found in here.items()}
            if any(found is not None for found in hits.values()):
                cells = {
                    method: _speedup(here[method], found, hits[baseline], baseline) for method, found in hits.items()
                }
                metrics = (f"speedup/{currency}",)
                columns.append(
                    ResultColumn(
                        label=LABELS[currency], group=heading, metrics=metrics, better=("higher",), cells=cells
                    )
                )
        columns.append(
            ResultColumn(
                label="anytime",
                group=heading,
                metrics=(goal.metric,),
                better=(goal.better,),
                cells={method: _anytime(found, here[baseline], goal) for method, found in here.items()},
            )
        )
    if known:
        notes.append(
            "anytime: the metric of the target averaged over the steps from the first evaluation to the last "
            f"(trapezoids), for methods with as many steps as {baseline}. {MEAN_AND_STD} of the seeds."
        )
    title = titled(suite, f"Speed-up over {baseline}")
    return lay_out("speedup", title, suite.methods, columns, notes, unranked=not_ranked(suite))


def _speedup(
    runs: Runs, hits: Mapping[int, Hit | None] | None, of_baseline: Mapping[int, Hit | None] | None, baseline: str
) -> Cell:
    if not runs.results:
        return Cell(reason=runs.absence())
    if hits is None or of_baseline is None:
        return Cell(reason="not measured in this currency")
    shared = sorted(hits.keys() & of_baseline.keys())
    if not shared:
        return Cell(reason=f"no seed with {HISTORY} in common with {baseline}")
    pairs = [(of_baseline[seed], hits[seed]) for seed in shared]
    logarithms = [math.log(base.cost / own.cost) for base, own in pairs if base and own and base.cost and own.cost]
    if len(logarithms) < len(pairs):
        by_base, by_own = (sum(pair[side] is not None for pair in pairs) for side in (0, 1))
        return Cell(
            reason=f"target reached with {by_own} of {len(pairs)} seeds, by {baseline} with {by_base} of {len(pairs)}"
        )
    ratio, interval = math.exp(mean(logarithms)), t_interval(logarithms)
    remark = ""
    if isinstance(interval, Interval):
        remark = f"[{math.exp(interval.low):.2f}, {math.exp(interval.high):.2f}]"
    if len(shared) < runs.expected:
        remark = f"{remark} ({len(shared)} of {runs.expected} seeds)".lstrip()
    return number_cell(f"{ratio:.2f}", ratio, n=len(shared), remark=remark)


def _anytime(runs: Runs, of_baseline: Runs, goal: Goal) -> Cell:
    found, others = curves(runs, goal.metric, "steps"), curves(of_baseline, goal.metric, "steps")
    if not runs.results:
        return Cell(reason=runs.absence())
    if not found or not others:
        return BLANK
    if len(runs.finished) < len(runs.results) or not all(len(points) > 1 for points in found):
        return Cell(reason=f"not every run has finished with {HISTORY} of two evaluations")
    if {points[-1].cost for points in found} != {points[-1].cost for points in others if points}:
        return Cell(reason="another number of steps")
    return Cell(figures=(figure(goal.metric, [average(points) for points in found]),))


def average(points: Sequence[Evaluation]) -> float:
    """Return the mean of a metric over the cost from its first evaluation to its last, by trapezoids."""
    parts = ((after.cost - before.cost) * (after.metric + before.metric) / 2 for before, after in pairwise(points))
    area = sum(parts)
    return area / (points[-1].cost - points[0].cost)
