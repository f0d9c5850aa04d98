"""Which way is better comes from the workload with its results, and every table knows it."""

from __future__ import annotations

import pytest

from benchbench.reporting import exchange, tables
from benchbench.reporting.table import Table
from benchbench.values import Cost, EpochRecord, Heading, Method, Row, Suite
from tests.helpers.synthetic_rows import row, suite

ALL = ("accuracy", "targets", "profile", "pareto", "matched", "ranking")


def run(
    method: str, curve: list[float], name: str = "rmse", lower: bool | None = True, workload: str = "digits"
) -> Row:
    """A run whose metric `name` came to these values, and that says which way it is better."""
    made = row(method, 0, workload=workload)
    records = tuple(
        EpochRecord(
            epoch=epoch,
            metrics={f"validation/{name}": value},
            cost=Cost(steps=10 * epoch, gradients=10 * epoch, train_seconds=float(epoch)),
        )
        for epoch, value in enumerate(curve, start=1)
    )
    assert made.result is not None
    result = made.result.model_copy(
        update={
            "selection_metric": f"validation/{name}",
            "higher_is_better": None if lower is None else not lower,
            "epochs": len(curve),
            "final": {f"test/{name}": curve[-1], **records[-1].metrics},
            "best": {f"test/{name}": curve[-1]},
            "cost": records[-1].cost,
        }
    )
    return made.model_copy(update={"result": result, "records": records})


def made_suite(*metrics: str, target: float = 0.5, workloads: tuple[str, ...] = ("digits",)) -> Suite:
    headings = {label: Heading(label=label, metrics=metrics) for label in workloads}
    targets = dict.fromkeys(workloads[:1], target)
    given = suite({"Good": "", "Bad": ""}, seeds=(0,), tables=ALL, workloads=workloads)
    return given.model_copy(update={"headings": headings, "targets": targets})


def by_name(given: Suite, rows: list[Row]) -> dict[str, Table]:
    return {table.name: table for table in tables(given, rows)}


def marks(table: Table, method: str) -> list[tuple[str, ...]]:
    (line,) = (line for line in table.rows if line.headers[-1] == method)
    return [figure.marks for cell in line.cells for figure in cell.figures]


SMALLER = [run("Good", [2.0, 0.4, 0.1]), run("Bad", [2.0, 2.0, 2.0])]


@pytest.mark.parametrize("metrics", [("test/rmse",), ()])
def test_lower_is_better_where_the_workload_says_so(metrics: tuple[str, ...]) -> None:
    found = by_name(made_suite(*metrics), SMALLER)
    assert marks(found["accuracy"], "Good") == [("best",)]
    assert marks(found["best-epoch accuracy"], "Bad") == [("second",)]
    assert "test/rmse: lower is better." in found["accuracy"].notes
    assert [cell.text or cell.reason for cell in found["targets"].rows[0].cells][:2] == ["2", "20"]
    assert [cell.reason for cell in found["targets"].rows[1].cells] == ["target reached by 0 of 1 seeds"] * 5
    assert "Target in digits: validation/rmse 0.5000, lower is better." in found["targets"].notes
    assert found["profile"].rows[0].cells[0].figures[0].mean == 1
    assert found["profile"].rows[1].cells[0].figures[0].mean == 0
    assert [cell.text for cell in found["pareto"].rows[0].cells] == ["0.1000", "30", "✓", "3", "✓"]
    assert [cell.text for cell in found["pareto"].rows[1].cells] == ["2.000", "30", "–", "3", "–"]
    assert all(each == ("best",) for each in marks(found["matched"], "Good"))
    assert [line.cells[4].text for line in found["ranking"].rows] == ["+1.900", "–"]


def test_a_workload_wins_over_what_a_name_suggests() -> None:
    """An `accuracy` that its workload wants small is not guessed at by its name."""
    found = by_name(made_suite(), [run("Good", [0.9, 0.1], "accuracy"), run("Bad", [0.9, 0.9], "accuracy")])
    assert marks(found["accuracy"], "Good") == [("best",)]
    assert "Acc: test/accuracy in %, lower is better." in found["accuracy"].notes
    assert found["targets"].rows[1].cells[0].reason


def test_the_same_name_may_mean_the_opposite_elsewhere() -> None:
    rows = [
        run("Good", [0.1], "score"), run("Bad", [0.9], "score"),
        run("Good", [0.9], "score", lower=False, workload="other"), run("Bad", [0.1], "score", False, "other"),
    ]  # fmt: skip
    found = by_name(made_suite(workloads=("digits", "other")), rows)
    assert marks(found["accuracy"], "Good") == [("best",), ("best",)]
    assert "test/score: lower is better in digits, higher is better in other." in found["accuracy"].notes


def test_a_direction_that_is_not_known_is_named_and_nothing_is_guessed() -> None:
    rows = [run("Good", [2.0, 0.1], lower=None), run("Bad", [2.0, 2.0], lower=None)]
    found = by_name(made_suite("test/rmse"), rows)
    reason = "no result says which way is better (`higher_is_better` of the workload)"
    assert marks(found["accuracy"], "Good") == marks(found["accuracy"], "Bad") == [()]
    assert any("neither way is marked as better" in note for note in found["accuracy"].notes)
    assert f"Left out: digits: validation/rmse: {reason}." in found["targets"].notes
    assert f"No score: digits: validation/rmse: {reason}." in found["profile"].notes
    assert f"No front in digits: test/rmse: {reason}." in found["pareto"].notes
    assert f"digits: validation/rmse: {reason}, so nothing is marked or tested." in found["matched"].notes
    assert f"Left out: digits: test/rmse: {reason}." in found["ranking"].notes


def test_results_that_contradict_each_other_have_no_direction() -> None:
    found = by_name(made_suite("test/rmse"), [run("Good", [0.1]), run("Bad", [2.0], lower=False)])
    assert marks(found["accuracy"], "Good") == marks(found["accuracy"], "Bad") == [()]


def test_another_metric_of_the_workload_is_not_taken_for_the_one_it_speaks_of() -> None:
    def with_mae(made: Row, value: float) -> Row:
        assert made.result is not None
        final = {**made.result.final, "test/mae": value}
        return made.model_copy(update={"result": made.result.model_copy(update={"final": final})})

    rows = [with_mae(run("Good", [0.1]), 0.1), with_mae(run("Bad", [2.0]), 2.0)]
    found = by_name(made_suite("test/mae", "test/rmse"), rows)
    assert marks(found["accuracy"], "Good") == [(), ("best",)]
    assert any(note.startswith("Left out: digits: test/mae: no result says") for note in found["ranking"].notes)
    assert {line.headers[0].rpartition(": ")[2] for line in found["ranking"].rows} == {"test/rmse"}


def test_a_workload_that_a_table_leaves_out_is_named() -> None:
    rows = [*SMALLER, run("Good", [0.1], workload="other"), run("Bad", [0.2], workload="other")]
    found = by_name(made_suite(workloads=("digits", "other")), rows)
    assert "Left out: other: no target." in found["targets"].notes
    assert "Left out: other: no target." in found["profile"].notes
    without = [rows[0], rows[1], rows[2].model_copy(update={"records": ()}), rows[3].model_copy(update={"records": ()})]
    found = by_name(made_suite(workloads=("digits", "other")), without)
    assert "Left out: other: no finished run has left a curve." in found["matched"].notes


def test_the_direction_survives_export_and_import() -> None:
    given = made_suite("test/rmse")
    records = exchange.records(given, SMALLER)
    assert {record.metric: record.better for record in records} == {"test/rmse": "", "validation/rmse": "lower"}
    alone = suite({"Own": ""}, seeds=(0,)).model_copy(update={"headings": given.headings})
    joint, rows = exchange.with_imported(alone, [], records)
    [table] = tables(joint.model_copy(update={"tables": ("ranking",)}), rows)
    assert [line.headers[1] for line in table.rows if line.cells[4].text == "+1.900"] == ["Bad (imported)"]


def test_rows_that_were_chosen_on_test_data_are_not_ranked_with_others() -> None:
    given = made_suite("test/rmse")
    cheat = Method(label="Good", tuned_on="test")
    given = given.model_copy(update={"methods": (cheat, Method(label="Bad", tuned_on="validation"))})
    found = by_name(given, SMALLER)
    assert marks(found["accuracy"], "Good ‡") == [()]
    assert marks(found["accuracy"], "Bad") == [("best",)]
    assert found["profile"].rows[0].cells[0].reason == "settings were chosen on the test data"
    assert [cell.text for cell in found["pareto"].rows[0].cells][2] == "–"
    assert [cell.text for cell in found["pareto"].rows[1].cells][2] == "✓"
    last = found["ranking"].rows[-1]
    assert (last.headers[1], last.cells[0].reason) == ("Good ‡", "settings were chosen on the test data")
    assert last.cells[2].figures[0].value == "0.1000"
    assert found["ranking"].rows[0].cells[0].text == "1"
    assert any("not ranked with the others" in note for note in found["accuracy"].notes)


def test_where_all_rows_were_chosen_on_test_data_they_are_marked_among_themselves_and_have_no_place() -> None:
    given = made_suite("test/rmse").model_copy(update={"protocol": "paper"})
    found = by_name(given, SMALLER)
    assert marks(found["accuracy"], "Good ‡") == [("best",)]
    assert {line.cells[0].reason for line in found["ranking"].rows} == {"settings were chosen on the test data"}
