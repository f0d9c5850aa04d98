"""Record attempts: tests against a target, and of one method against another, at a known spread of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations

from benchbench.problems import BadInputError, Problem
from benchbench.reporting.metrics import figure
from benchbench.reporting.runs import Runs, gather, titled
from benchbench.reporting.table import BLANK, Cell, Column, Table, TableRow, number_cell
from benchbench.reporting.targets import Goal, goals
from benchbench.stats import Withheld, z_against_target, z_between
from benchbench.values import Frozen, Row, Suite


class RecordRule(Frozen):
    """The rule of record attempts.

    Attributes:
        sigma: Standard deviation of the metric of one run, known from elsewhere.
        margin: What `(target - mean) * sqrt(n)` has to be at least; likewise, of two methods, their difference divided
            by `sqrt(1 / n1 + 1 / n2)`.
        per_step: What a step less is worth in the metric; `None`: methods with other numbers of steps are not compared.
    """

    sigma: float
    margin: float
    per_step: float | None = None


def record_tables(suite: Suite, rows: Sequence[Row], rule: RecordRule) -> list[Table]:
    """Return which methods reach the targets of a suite by a rule of record attempts, and which beat which other ones.

    All runs of a method count, at their end, and all must have the same number of steps.

    Args:
        suite: The suite; those of its workloads count that have a target.
        rows: What is known of its runs.
        rule: The rule.

    Raises:
        BadInputError: No workload has a target that can be used.
    """
    runs = gather(suite, rows)
    known, reasons = goals(suite, runs)
    if not known:
        why = "; ".join(reasons.values()) or "no result names one"
        raise BadInputError([Problem(f"there is no target to test against: {why}", field="target")])
    attempts: list[TableRow] = []
    pairs: list[TableRow] = []
    for workload, goal in known.items():
        here = runs[workload]
        heading = suite.heading(workload).full_label
        attempts += [
            TableRow(headers=(heading, method), cells=_attempt(each, goal, rule))
            for method, each in here.items()
            if each.asked
        ]
        tested = {method: each for method, each in here.items() if not _obstacle(each, goal)}
        pairs += _pairs(heading, tested, goal, rule)
    targets = "; ".join(f"{goal.metric} {goal.value:g} on {suite.heading(w).full_label}" for w, goal in known.items())
    notes = (
        f"Targets: {targets}. All runs of a method count, at their last evaluation; σ = {rule.sigma:g} for one run.",
        f"margin: distance of the mean beyond the target, times √n; a record needs {rule.margin:g}. z: margin / σ.",
        "p: one-sided; from five runs on.",
    )
    compared = (
        f"margin: difference of the means and {rule.per_step or 0:g} for each step less, divided by √(1/n + 1/m); "
        f"{rule.margin:g} is needed. z: margin / σ. The pairs are not corrected for being many.",
    )
    columns = ("n", "steps", "mean", "margin", "z", "p", "verdict")
    return [
        Table(
            name="record",
            title=titled(suite, "Targets reached, at a known spread of runs"),
            headers=("Workload", "Method"),
            columns=tuple(Column(label=label) for label in columns),
            rows=tuple(attempts),
            notes=notes,
        ),
        Table(
            name="record pairs",
            title=titled(suite, "Methods that are better than others, at a known spread of runs"),
            headers=("Workload", "Method", "Than"),
            columns=tuple(Column(label=label) for label in ("difference", "steps less", "margin", "z", "p", "verdict")),
            rows=tuple(pairs),
            notes=compared,
        ),
    ]


def _steps(runs: Runs) -> list[int]:
    return sorted({run.cost.steps for run in runs.results})


def _obstacle(runs: Runs, goal: Goal) -> str:
    """Return why a method cannot be tested, or an empty text."""
    if not runs.is_whole(goal.metric):
        return f"not all runs: {runs.absence(goal.metric, len(runs.values(goal.metric)))}"
    return "" if len(_steps(runs)) == 1 else f"runs end at different steps: {', '.join(map(str, _steps(runs)))}"


def _attempt(runs: Runs, goal: Goal, rule: RecordRule) -> tuple[Cell, ...]:
    if obstacle := _obstacle(runs, goal):
        return (*[BLANK] * 6, Cell(remark=obstacle))
    values = runs.values(goal.metric)
    test = z_against_target(values, goal.value, rule.sigma, lower_is_better=goal.better == "lower")
    assert not isinstance(test.z, str)
    shown = figure("", values)
    # With the five decimals that such losses are compared in.
    mean, spread = f"{test.mean:.5f}", "" if shown.std is None else f"{shown.std:.5f}"
    return (
        number_cell(str(len(values)), len(values)),
        number_cell(f"{_steps(runs)[0]:,}", _steps(runs)[0]),
        Cell(figures=(shown.model_copy(update={"value": mean, "spread": spread}),)),
        *_tested(test.z, test.p, rule, "reached", "not shown"),
    )


def _pairs(heading: str, runs: Mapping[str, Runs], goal: Goal, rule: RecordRule) -> list[TableRow]:
    """Return a row per pair, the method first that the margin speaks for."""
    rows = []
    for first, second in permutations(runs, 2):
        one, two = runs[first], runs[second]
        fewer = _steps(two)[0] - _steps(one)[0]
        if fewer and rule.per_step is None:
            continue
        found = z_between(
            one.values(goal.metric),
            two.values(goal.metric),
            rule.sigma,
            lower_is_better=goal.better == "lower",
            head_start=(rule.per_step or 0.0) * fewer,
        )
        assert not isinstance(found.statistic, str)
        assert found.difference is not None
        if found.statistic > 0 or (found.statistic == 0 and first < second):
            cells = (
                number_cell(f"{found.difference:+.5f}", found.difference),
                number_cell(f"{fewer:,}", fewer),
                *_tested(found.statistic, found.p, rule, "better", "not shown"),
            )
            rows.append(TableRow(headers=(heading, first, second), cells=cells))
    return rows


def _tested(z: float, p: float | Withheld, rule: RecordRule, yes: str, no: str) -> tuple[Cell, ...]:
    margin = z * rule.sigma
    # To the resolution of results with twelve digits: 0.004 as the sum of other numbers is 0.004.
    is_enough = margin >= rule.margin * (1 - 1e-12)
    return (
        number_cell(f"{margin:.5f}", margin),
        number_cell(f"{z:.2f}", z),
        Cell(remark=p) if isinstance(p, str) else number_cell("< 0.0001" if p < 0.0001 else f"{p:.4f}", p),
        Cell(remark=yes if is_enough else no),
    )
