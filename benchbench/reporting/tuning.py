"""Cost of the choice of hyperparameters, and rows that were chosen on test data."""

from __future__ import annotations

from collections.abc import Sequence

from benchbench.reporting.metrics import figure
from benchbench.reporting.results import by_category, method_table
from benchbench.reporting.runs import titled
from benchbench.reporting.table import BLANK, Cell, Column, Table, amount_text, number_cell
from benchbench.values import Budget, Method, Row, Spent, Suite, Tuned
from benchbench.values.prices import ASSUMPTION, unit_name

ON_TEST_DATA = "‡"
"""Sign behind the name of a method whose settings were chosen on test data."""

_COLUMNS = ("budget", "trials", "broken", "gradients", "seconds", "finalists", "value")


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
        return [BLANK] * len(_COLUMNS)
    value = BLANK if tuned.value is None else Cell(figures=(figure(tuned.metric, [tuned.value]),))
    trials, finals = tuned.trials, tuned.finals
    over = over_budget(tuned.budget, trials)
    return [
        Cell(remark=budget_text(tuned)),
        _number(trials.runs),
        _number(tuned.broken),
        _number(trials.gc, unit_name(trials.unit), over if tuned.budget.counted_in == "gc" else ""),
        _number(trials.seconds, remark=over if tuned.budget.counted_in == "seconds" else ""),
        _number(finals.gc, unit_name(finals.unit)),
        value,
    ]


def _number(value: float, unit: str = "", remark: str = "") -> Cell:
    return number_cell(f"{amount_text(value)} {unit}".rstrip(), value, remark=remark)


def budget_text(tuned: Tuned) -> str:
    """Return the budget of a search with its unit."""
    budget = tuned.budget
    units = {"gc": unit_name(budget.unit or tuned.trials.unit), "seconds": "s", "trials": "trials"}
    return f"{budget.amount:,.6g} {units[budget.counted_in]}"


def over_budget(budget: Budget, trials: Spent) -> str:
    """Return by how much trials have used more than a budget in gradients or seconds, or an empty text."""
    used = {"gc": trials.gc, "seconds": trials.seconds, "trials": float(trials.runs)}[budget.counted_in]
    # What was written into a suite has a few digits only.
    if budget.counted_in == "trials" or used <= budget.amount * (1 + 1e-6):
        return ""
    return f"({used / budget.amount - 1:.1%} over)"


def finalists_note(finals: Sequence[Spent]) -> list[str]:
    """Return that the finalists of searches have not cost the same, where that is so."""
    amounts = sorted({float(f"{each.gc:.4g}") for each in finals if each.runs})
    if len(amounts) < 2:
        return []
    unit = next(unit_name(each.unit) for each in finals if each.runs)
    return [
        f"Finalists come on top of the budget and cost {amounts[0]:,.4g} to {amounts[-1]:,.4g} {unit}: the same number "
        "of runs, dearer ones for methods with dearer steps."
    ]


def _notes(suite: Suite) -> tuple[str, ...]:
    found = [tuned for method in suite.methods for tuned in method.tuned.values()]
    if not found:
        return ("No method of the suite says how it was tuned.",)
    without = [method.label for method in suite.methods if not method.tuned]
    samplers = ", ".join(dict.fromkeys(tuned.sampler for tuned in found))
    metrics = ", ".join(dict.fromkeys(tuned.metric for tuned in found))
    budgets = {budget_text(tuned) for tuned in found}
    assumed = [method.label for method in suite.methods if any(each.trials.assumed for each in method.tuned.values())]
    over = [
        method.label for method in suite.methods if any(over_budget(t.budget, t.trials) for t in method.tuned.values())
    ]
    return (
        "gradients, seconds: training of the trials; a gradient is 1 GC. finalists: the best trials on other seeds, on "
        "top of the budget.",
        *finalists_note([tuned.finals for tuned in found]),
        *([f"Over the budget, for a trial is never cut short: {', '.join(over)}."] if over else []),
        *([f"Operations not measured, {ASSUMPTION}: {', '.join(assumed)}."] if assumed else []),
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
