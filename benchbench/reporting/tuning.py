"""What the choice of hyperparameters has cost, and which rows were chosen on test data."""

from __future__ import annotations

from collections.abc import Sequence

from benchbench.reporting.metrics import figure
from benchbench.reporting.results import by_category, method_table
from benchbench.reporting.runs import NOTHING, titled
from benchbench.reporting.table import Cell, Column, Figure, Table
from benchbench.values import Budget, Method, Row, Suite, Tuned

ON_TEST_DATA = "‡"
"""What stands behind the name of a method whose settings were chosen on test data."""

_COLUMNS = ("budget", "trials", "broken", "GC", "seconds", "GC finals", "value")


def tuning_table(suite: Suite, rows: Sequence[Row]) -> Table:
    """Return what the search for each method's settings has used, from the provenance in the suite."""
    methods = by_category(suite.methods)
    return method_table(
        "tuning",
        titled(suite, "Cost of tuning"),
        methods,
        [
            Column(label=label, group=suite.heading(workload).full_label)
            for workload in suite.workloads
            for label in _COLUMNS
        ],
        {
            method.label: [cell for workload in suite.workloads for cell in _cells(method.tuned.get(workload))]
            for method in methods
        },
        _notes(suite),
    )


def _cells(tuned: Tuned | None) -> list[Cell]:
    if tuned is None:
        return [Cell(remark=NOTHING)] * len(_COLUMNS)
    numbers = (
        tuned.trials.runs,
        tuned.broken,
        tuned.trials.gc,
        tuned.trials.seconds,
        tuned.finals.gc,
    )
    value = Cell(remark=NOTHING) if tuned.value is None else Cell(figures=(figure(tuned.metric, [tuned.value]),))
    return [Cell(remark=budget_text(tuned.budget)), *map(_number, numbers), value]


def _number(value: float) -> Cell:
    return Cell(figures=(Figure(value=f"{value:,.0f}" if value >= 100 else f"{value:.3g}", mean=value),))


def budget_text(budget: Budget) -> str:
    """Return a budget with its unit."""
    units = {"gc": "GC", "seconds": "s", "trials": "trials"}
    return f"{budget.amount:,.6g} {units[budget.unit]}"


def _notes(suite: Suite) -> tuple[str, ...]:
    found = [tuned for method in suite.methods for tuned in method.tuned.values()]
    if not found:
        return ("No method of the suite says how it was tuned.",)
    without = [method.label for method in suite.methods if not method.tuned]
    samplers = ", ".join(dict.fromkeys(tuned.sampler for tuned in found))
    metrics = ", ".join(dict.fromkeys(tuned.metric for tuned in found))
    budgets = {budget_text(tuned.budget) for tuned in found}
    return (
        "GC, seconds: training of the trials; a gradient is 1 GC. GC finals: the best trials on other seeds, on top of "
        "the budget.",
        f"value: {metrics} of the winner after the final epoch, mean over the finalists' seeds; sampler: {samplers}.",
        *(["Not tuned here: " + ", ".join(without) + "."] if without else []),
        *(["The budgets differ: the rows have not had the same chances."] if len(budgets) > 1 else []),
    )


def marked(suite: Suite, table: Table) -> Table:
    """Return a table whose rows carry a mark where a method's settings were chosen on test data."""
    chosen = {method.label for method in suite.methods if tuned_on_test(suite, method)}
    if not any(row.headers[-1] in chosen for row in table.rows):
        return table
    rows = tuple(
        row.model_copy(update={"headers": (*row.headers[:-1], f"{row.headers[-1]} {ON_TEST_DATA}")})
        if row.headers[-1] in chosen
        else row
        for row in table.rows
    )
    note = f"{ON_TEST_DATA}: settings were chosen on the test data, which makes the result look better than it is."
    if not_ranked(suite):
        note += " These rows are not ranked with the others."
    return table.model_copy(update={"rows": rows, "notes": (*table.notes, note)})


CHOSEN_ON_TEST = "settings were chosen on the test data"
"""Why a method has no place."""


def not_ranked(suite: Suite) -> frozenset[str]:
    """Return the methods that are compared with no other one: chosen on test data, in a suite where others are not."""
    chosen = [method.label for method in suite.methods if tuned_on_test(suite, method)]
    return frozenset(chosen if len(chosen) < len(suite.methods) else ())


def tuned_on_test(suite: Suite, method: Method) -> bool:
    """Return whether a method was chosen on test data: said so, or untuned in a suite that reads them all along."""
    if method.tuned_on is not None:
        return method.tuned_on == "test"
    if method.tuned:
        return any(tuned.split == "test" for tuned in method.tuned.values())
    return suite.protocol == "paper"
