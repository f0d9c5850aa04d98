"""Every kind of table over two suites at once, with names and outcomes that make it hard."""

import itertools
import math
import random
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchbench.reporting import BUILDERS, joint_tables, to_latex
from benchbench.reporting.table import Table
from benchbench.values import Budget, Cost, EpochRecord, Heading, Memory, Method, Row, RunResult, Spent, Suite, Tuned
from tests.helpers.synthetic_rows import spec
from tests.reporting.test_latex import needs_pdflatex, pages_of

METRIC = "validation/accuracy"
TUNED = Tuned(budget=Budget(gc=1e4), trials=Spent(runs=9, gc=9e3, seconds=8.5), sampler="tpe", metric=METRIC, value=0.5)
METHODS = {"<script>": "One", "a&b": "One", "100%_|$ ρ=0.1": "Two", "lost": "Two"}


def tuned_on(label: str) -> Literal["test", "validation"]:
    return "test" if label.startswith("100%") else "validation"


def made(name: str, workloads: dict[str, str], seeds: int, methods: dict[str, str]) -> Suite:
    """A suite with a target for every workload; `workloads` gives the group of each."""
    return Suite(
        name=name,
        title=f"Suite {name} & more",
        seeds=tuple(range(seeds)),
        methods=tuple(
            Method(label=label, category=category, tuned=dict.fromkeys(workloads, TUNED), tuned_on=tuned_on(label))
            for label, category in methods.items()
        ),
        workloads=tuple(workloads),
        headings={label: Heading(label=label, group=group) for label, group in workloads.items()},
        targets=dict.fromkeys(workloads, 0.6),
        held_out={"x held out": "x"} if "x held out" in workloads else {},
        tables=tuple(BUILDERS),
        specs=tuple(spec(m, w, s) for w, m, s in itertools.product(workloads, methods, range(seeds))),
    )


SUITES = (
    made("first", {"x": "X", "x held out": "X", "y_1": ""}, 5, METHODS),
    made("second", {"z": "Z"}, 3, {"a&b": "One", "new": "Two"}),
)


def row(suite: Suite, position: int) -> Row:
    """A run whose numbers follow from its place in the suite; all of `lost` diverge, and one of another method."""
    this = suite.specs[position]
    level = 0.5 + 0.05 * list(METHODS | {"new": ""}).index(this.method) + 0.01 * math.sin(position)
    records = tuple(
        EpochRecord(
            epoch=epoch,
            metrics={METRIC: level * epoch / 2, "train/loss": 1 / epoch},
            cost=Cost(steps=10 * epoch, gradients=20 * epoch, hvps=epoch, train_seconds=epoch * (1 + level)),
        )
        for epoch in (1, 2)
    )
    lost = this.method == "lost" or position == 7
    measured = {"test/accuracy": level, "test/loss": 1 - level, "sharpness/lambda_max": 3e4 * level,
                "sharpness/trace": level, "sharpness/average_rise": 3e-7 * level}  # fmt: skip
    result = RunResult(
        key=this.key,
        outcome="diverged" if lost else "finished",
        selection_metric=METRIC,
        epochs=2,
        final={} if lost else measured | records[-1].metrics,
        best={} if lost else measured,
        best_epoch=2,
        cost=records[-1].cost,
        gc_measured=2.2,
        memory=Memory(parameters=10, state=20, host_peak=10**8),
        environment={"device": "cpu", "concurrent_runs": "2"},
    )
    return Row(spec=this, result=result, records=records)


ROWS = tuple(tuple(row(suite, position) for position in range(len(suite.specs))) for suite in SUITES)


def by_name() -> dict[str, Table]:
    return {table.name: table for table in joint_tables(SUITES, ROWS)}


def test_every_kind_has_figures_of_both_suites():
    for name, table in by_name().items():
        shown = [*(row.headers[0] for row in table.rows), *(column.full_label for column in table.columns)]
        assert name in ("profile", "workloads") or {"x", "z"} <= {label.lower()[0] for label in shown}, name
        figures = any(cell.figures for line in table.rows for cell in line.cells)
        # No method has all seeds on all workloads, and none sweeps anything.
        assert figures != (name in ("workloads", "robustness")), name


def test_the_number_of_seeds_is_stated_by_workload():
    stated = "n = 5 on X / x, X / x held out, y_1; n = 3 on Z / z"
    for name, table in by_name().items():
        assert name == "tuning" or stated in " ".join(table.notes), name


def test_a_spread_is_said_to_be_which():
    for name, table in by_name().items():
        spread = any(figure.spread for line in table.rows for cell in line.cells for figure in cell.figures)
        assert spread == any("ddof = 1" in note for note in table.notes), name


def test_a_test_that_some_columns_are_too_thin_for_says_so():
    for name in ("accuracy", "ranking"):
        assert any(
            note.startswith("Tests: ") and note.endswith("none below 5 seeds.") for note in by_name()[name].notes
        )


def test_what_is_missing_in_all_columns_of_a_group_is_named_by_the_group():
    notes = by_name()["targets"].notes
    assert (
        "*: not asked for: <script> on Z / z; 100%_|$ ρ=0.1 on Z / z; lost on Z / z; new on X / x, X / x held out, y_1."
        in notes
    )


def test_every_absent_figure_is_explained_by_a_note():
    for name, table in by_name().items():
        reasons = {cell.reason for line in table.rows for cell in line.cells} - {""}
        assert all(any(reason in note for note in table.notes) for reason in reasons), name


def test_the_score_is_given_in_every_currency():
    groups = [group for group, _ in by_name()["profile"].column_groups]
    assert groups == ["steps", "gradients", "GC (paper)", "GC (FLOPs)", "seconds"]
    counted = "Workloads with targets: 3; held-out variants, which count with their base: X / x held out of X / x."
    assert any(note.startswith(counted) for note in by_name()["profile"].notes)


def test_a_currency_that_was_not_measured_for_all_has_no_score():
    unmeasured = [
        each.model_copy(update={"result": each.result.model_copy(update={"gc_measured": None})})
        if each.spec.method == "new"
        else each
        for each in ROWS[1]
    ]
    [table] = [table for table in joint_tables(SUITES, [ROWS[0], unmeasured]) if table.name == "profile"]
    assert "GC (FLOPs)" not in dict(table.column_groups)
    assert "No score in GC (FLOPs): not measured for every method." in table.notes


@settings(max_examples=10, deadline=None)
@given(st.randoms())
def test_the_order_of_rows_decides_nothing(source):
    shuffled = [source.sample(rows, len(rows)) for rows in ROWS]
    assert joint_tables(SUITES, shuffled) == joint_tables(SUITES, ROWS)


def test_the_order_of_suites_moves_columns_and_changes_no_figure():
    def figures(tables: list[Table]) -> set[tuple[str, str, str, str]]:
        return {
            (table.name, line.headers[-1], column.full_label, cell.text)
            for table in tables
            if table.name not in ("ranking", "speedup")  # over the first method, as the title says
            for line in table.rows
            for column, cell in zip(table.columns, line.cells, strict=True)
            if column.label != "relative"  # to the first method, as a note says
        }

    assert figures(joint_tables(SUITES[::-1], ROWS[::-1])) == figures(joint_tables(SUITES, ROWS))


@pytest.mark.parametrize("name", ["accuracy", "matched", "sharpness"])
def test_what_tests_do_not_tell_from_the_best_is_marked(name: str):
    close = []
    for position, each in enumerate(ROWS[0]):
        value = 0.9 + 0.01 * random.Random(position).random()
        final = dict.fromkeys(each.result.final, value)
        result = each.result.model_copy(update={"final": final, "best": final})
        records = tuple(record.model_copy(update={"metrics": {METRIC: value}}) for record in each.records)
        close.append(each.model_copy(update={"result": result, "records": records}))
    [table] = [table for table in joint_tables(SUITES[:1], [close]) if table.name == name]
    marks = {mark for line in table.rows for cell in line.cells for figure in cell.figures for mark in figure.marks}
    assert marks == {"best", "second", "tied"}


@needs_pdflatex
def test_every_kind_compiles_and_none_is_wider_than_the_line(tmp_path: Path):
    assert pages_of("\n\n".join(map(to_latex, joint_tables(SUITES, ROWS))), tmp_path).startswith(b"%PDF")
    log = (tmp_path / "tables.log").read_text(encoding="utf-8", errors="replace")
    assert "Missing character" not in log
    assert not [line for line in log.splitlines() if line.startswith("Overfull") and "alignment" in line]
    assert "resizebox" in (tmp_path / "tables.tex").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", BUILDERS)
def test_every_kind_is_there(name: str):
    assert any(name in table.name for table in joint_tables(SUITES, ROWS))
