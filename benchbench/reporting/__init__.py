"""Reports: from the rows of tracking to tables, and from tables to text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from benchbench.problems import BadInputError, Problem, nearest_name
from benchbench.reporting.accuracy import accuracy_table, best_epoch_table
from benchbench.reporting.caveats import code_notes, without_impossible
from benchbench.reporting.cost import cost_summary_table, cost_table
from benchbench.reporting.csv_text import to_csv
from benchbench.reporting.html import html_page, to_html
from benchbench.reporting.joint import join
from benchbench.reporting.latex import to_latex
from benchbench.reporting.markdown import to_markdown
from benchbench.reporting.matched import matched_table
from benchbench.reporting.over_workloads import workloads_table
from benchbench.reporting.pareto import pareto_table
from benchbench.reporting.ranking import ranking_table
from benchbench.reporting.robustness import sweep_table
from benchbench.reporting.sharpness import sharpness_table
from benchbench.reporting.speedup import speedup_table
from benchbench.reporting.table import Table
from benchbench.reporting.targets import profile_table, targets_table
from benchbench.reporting.terminal import to_terminal
from benchbench.reporting.tuning import marked, tuning_table
from benchbench.values import Row, Suite

__all__ = [
    "BUILDERS",
    "FROM_RECORDS",
    "Table",
    "html_page",
    "joint_tables",
    "tables",
    "to_csv",
    "to_html",
    "to_latex",
    "to_markdown",
    "to_terminal",
]

Builder = Callable[[Suite, Sequence[Row]], Table]

BUILDERS: Mapping[str, tuple[Builder, ...]] = {
    "accuracy": (accuracy_table, best_epoch_table),
    "ranking": (ranking_table,),
    "workloads": (workloads_table,),
    "robustness": (sweep_table,),
    "matched": (matched_table,),
    "targets": (targets_table,),
    "speedup": (speedup_table,),
    "profile": (profile_table,),
    "pareto": (pareto_table,),
    "cost": (cost_table,),
    "cost-summary": (cost_summary_table,),
    "sharpness": (sharpness_table,),
    "tuning": (tuning_table,),
}
"""Names that a suite can list under `tables`, and the tables that it gets for each."""

FROM_RECORDS = frozenset({"matched", "targets", "speedup", "profile"})
"""Those that need what the runs recorded after every epoch."""


def tables(suite: Suite, rows: Sequence[Row]) -> list[Table]:
    """Return the tables that the suite names, in its order.

    Args:
        suite: The suite; it decides which runs, methods and workloads are shown, and in which order.
        rows: What is known of its runs, in any order; runs may be missing.

    Returns:
        The tables.

    Raises:
        BadInputError: The suite names a table that does not exist.
    """
    problems = [
        Problem(
            f"no such table; there are {', '.join(BUILDERS)}",
            field="tables",
            value=name,
            nearest=nearest_name(name, BUILDERS),
        )
        for name in suite.tables
        if name not in BUILDERS
    ]
    if problems:
        raise BadInputError(problems)
    rows, left_out = without_impossible(rows)
    of_each = [marked(suite, build(suite, rows)) for name in suite.tables for build in BUILDERS[name]]
    notes = [*left_out, *code_notes(rows)]
    return [table.model_copy(update={"notes": (*table.notes, *notes)}) for table in of_each]


def joint_tables(suites: Sequence[Suite], rows: Sequence[Sequence[Row]]) -> list[Table]:
    """Return tables over the workloads of several suites, where methods with equal labels share a row.

    Args:
        suites: The suites, of which there must be at least one.
        rows: What is known of the runs of each.

    Raises:
        BadInputError: A suite names a table that does not exist.
    """
    return tables(join(suites), [row for known in rows for row in known])
