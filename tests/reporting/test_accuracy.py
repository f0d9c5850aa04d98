import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchbench.reporting.accuracy import accuracy_table, best_epoch_table
from benchbench.reporting.table import Table
from benchbench.values import Heading, Row
from tests.helpers.synthetic_rows import PAPER, row, rows, suite

TWO = {"A": "First", "B": "First"}


def texts(table: Table, column: int = 0) -> dict[str, str]:
    """What stands in a column, or why nothing does, by method; the best in angle brackets, the second in round ones."""
    looks = {(): "{}", ("best",): "<{}>", ("second",): "({})"}
    shown = {}
    for line in table.rows:
        cell = line.cells[column]
        figures = " / ".join(looks[figure.marks].format(figure.text) for figure in cell.figures)
        shown[line.headers[-1]] = f"{figures} {cell.remark or cell.reason}".strip()
    return shown


def with_metrics(made: Row, metrics: dict[str, float]) -> Row:
    return made.model_copy(update={"result": made.result.model_copy(update={"final": metrics, "best": metrics})})


def test_a_cell_is_mean_and_sample_deviation_in_percent():
    table = accuracy_table(suite(TWO), [*rows("A", 0.90, 0.92, 0.94), *rows("B", 0.9753, 0.9753, 0.9753)])
    assert texts(table) == {"A": "(92.00 ± 2.00)", "B": "<97.53 ± 0.00>"}
    figure = table.rows[0].cells[0].figures[0]
    assert (figure.mean, figure.std, figure.n) == (pytest.approx(92), pytest.approx(2), 3)
    assert table.notes == (
        "Mean ± sample standard deviation (ddof = 1); n = 3 seeds.",
        "Differences are not tested: that takes 5 seeds.",
    )


def test_rows_are_grouped_by_category_in_the_order_of_the_suite():
    mixed = {"A": "Two", "B": "One", "C": "Two", "D": "One"}
    table = accuracy_table(suite(mixed), [])
    assert table.headers == ("Category", "Method")
    assert [line.headers for line in table.rows] == [("Two", "A"), ("Two", "C"), ("One", "B"), ("One", "D")]


def test_a_suite_without_categories_has_no_column_for_them():
    table = accuracy_table(suite({"A": "", "B": ""}), [])
    assert table.headers == ("Method",)
    assert [line.headers for line in table.rows] == [("A",), ("B",)]


def test_each_workload_has_a_column_and_a_best_of_its_own():
    made = suite(TWO, workloads=("x", "y"), seeds=(0,))
    table = accuracy_table(
        made, [row(m, 0, a, workload=w) for m, w, a in [("A", "x", 0.9), ("B", "x", 0.8), ("B", "y", 0.7)]]
    )
    assert [column.label for column in table.columns] == ["x", "y"]
    assert texts(table, 0) == {"A": "<90.00>", "B": "(80.00)"}
    assert texts(table, 1) == {"A": "not run (0 of 1)", "B": "<70.00>"}
    assert table.notes[0] == "One run each; n = 1 seed."


def test_what_looks_equal_is_equally_good():
    table = accuracy_table(suite({**TWO, "C": "First"}, seeds=(0,)), [
        row("A", 0, 0.97531), row("B", 0, 0.97529), row("C", 0, 0.97524),
    ])  # fmt: skip
    assert texts(table) == {"A": "<97.53>", "B": "<97.53>", "C": "(97.52)"}


@pytest.mark.parametrize(
    ("outcomes", "text"),
    [
        (["finished", "finished", "diverged"], "<97.10 ± 0.00> (n=2; 1 diverged)"),
        (["finished", "diverged", "failed"], "<97.10> (n=1; 1 failed, 1 diverged)"),
        (["finished", None, "finished"], "<97.10 ± 0.00> (2 of 3 run)"),
        (["finished", "diverged", None], "<97.10> (n=1; 1 diverged; 2 of 3 run)"),
        (["diverged"] * 3, "diverged (3)"),
        (["diverged", "failed", "diverged"], "failed (1), diverged (2)"),
        (["crashed", "timeout", "interrupted"], "crashed (1), timeout (1), interrupted (1)"),
        (["diverged", None, None], "diverged (1); 1 of 3 run"),
        ([None] * 3, "not run (0 of 3)"),
    ],
)
def test_no_run_is_dropped_in_silence(outcomes, text):
    runs = [row("A", i, 0.971, outcome=outcome) for i, outcome in enumerate(outcomes) if outcome]
    table = accuracy_table(suite(TWO), [*runs, *rows("B", 0.5, 0.5, 0.5)])
    assert texts(table)["A"] == text
    assert ("unless a cell says otherwise" in table.notes[0]) == text.startswith("<")


def test_a_run_without_a_result_is_a_run_that_is_missing():
    pending = row("A", 0).model_copy(update={"result": None})
    assert texts(accuracy_table(suite(TWO), [pending]))["A"] == "not run (0 of 3)"


def test_a_finished_run_without_the_metric_is_accounted_for():
    without = [row("A", 0), row("A", 1), *(row("B", seed) for seed in range(3))]
    table = accuracy_table(suite(TWO), [*without, row("A", 2, 0.5)])
    assert texts(table) == {"A": "<50.00> (n=1; 2 without test/accuracy)", "B": "without test/accuracy (3)"}


def test_a_best_with_fewer_seeds_is_marked_and_noted():
    table = accuracy_table(suite(TWO), [*rows("A", 0.9, 0.9), *rows("B", 0.8, 0.8, 0.8)])
    assert texts(table)["A"] == "<90.00 ± 0.00> (2 of 3 run)"
    assert "The best of digits, A, rests on 2 seeds, others on up to 3." in table.notes


@pytest.mark.parametrize(("value", "text"), [(math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf")])
def test_what_is_not_a_number_is_shown_and_never_best(value, text):
    table = accuracy_table(suite(TWO), [*rows("A", value, 0.9, 0.9), *rows("B", 0.1, 0.1, 0.1)])
    assert texts(table) == {"A": text, "B": "<10.00 ± 0.00>"}


def test_nothing_run_yet_is_a_table_too():
    table = accuracy_table(suite(PAPER), [])
    assert set(texts(table).values()) == {"not run (0 of 3)"}
    assert table.notes == ("*: not run (0 of 3): all methods.",)


def test_the_best_epoch_has_a_table_of_its_own():
    runs = [row("A", seed, 0.9, best=0.95) for seed in range(3)]
    final, best = accuracy_table(suite(TWO), runs), best_epoch_table(suite(TWO), runs)
    assert (texts(final)["A"], texts(best)["A"]) == ("<90.00 ± 0.00>", "<95.00 ± 0.00>")
    assert (final.name, best.name) == ("accuracy", "best-epoch accuracy")
    assert "final epoch" in final.title
    assert "best epoch" in best.title
    assert best.notes[-1] == (
        "The best epoch of a run is chosen by validation/accuracy on a part of the training data that is not trained "
        "on; the test data were read once, at the end."
    )


def test_a_best_epoch_chosen_on_the_test_data_is_called_optimistic():
    made = suite(TWO, seeds=(0,))
    specs = tuple(spec.model_copy(update={"protocol": "paper"}) for spec in made.specs)
    made = made.model_copy(update={"protocol": "paper", "specs": specs})
    note = best_epoch_table(made, []).notes[-1]
    assert "on the test data" in note
    assert "optimistic" in note


def test_made_up_data_are_named_in_the_title():
    made = suite(TWO, ("x", "y"), seeds=(0,))
    specs = tuple(spec.model_copy(update={"synthetic": spec.workload_label == "y"}) for spec in made.specs)
    assert accuracy_table(made, []).title == "Test accuracy (%) after the final epoch – Made by hand"
    title = accuracy_table(made.model_copy(update={"specs": specs}), []).title
    assert title.endswith("– SYNTHETIC DATA on y")


def test_columns_of_several_metrics_mark_each_of_them_and_say_which_way_is_better():
    made = suite(TWO, ("task", "text"), seeds=(0,))
    held = {"A": {"test/accuracy": 0.8, "test/f1": 0.7}, "B": {"test/accuracy": 0.7, "test/f1": 0.75}}
    runs = [with_metrics(row(method, 0, workload="task"), found) for method, found in held.items()]
    runs += [with_metrics(row(m, 0, workload="text"), {"test/perplexity": p}) for m, p in (("A", 20.0), ("B", 30.0))]
    table = accuracy_table(made, runs)
    assert [column.label for column in table.columns] == ["task Acc / F1", "text Perplexity"]
    assert texts(table, 0) == {"A": "<80.00> / (70.00)", "B": "(70.00) / <75.00>"}
    assert texts(table, 1) == {"A": "<20.00>", "B": "(30.00)"}
    assert any("Perplexity: test/perplexity, lower is better" in note for note in table.notes)


def test_a_suite_decides_which_metrics_are_shown():
    made = suite({"A": ""}, seeds=(0,))
    made = made.model_copy(update={"headings": {"digits": Heading(label="digits", metrics=("test/f1",))}})
    table = accuracy_table(made, [with_metrics(row("A", 0), {"test/accuracy": 0.8, "test/f1": 0.7})])
    assert texts(table) == {"A": "<70.00>"}
    assert "F1" in table.title


def test_runs_of_other_suites_do_not_get_in():
    stranger = row("A", 7, 0.99)
    assert texts(accuracy_table(suite(TWO), [stranger]))["A"] == "not run (0 of 3)"


def test_one_run_can_stand_under_two_labels():
    made = suite(TWO, seeds=(0,))
    same = [spec.model_copy(update={"optimizer": made.specs[0].optimizer}) for spec in made.specs]
    table = accuracy_table(made.model_copy(update={"specs": tuple(same)}), [row("A", 0, 0.9)])
    assert texts(table) == {"A": "<90.00>", "B": "<90.00>"}


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3), st.randoms())
def test_the_order_of_the_rows_does_not_matter(accuracies, random):
    runs = [*rows("A", *accuracies), *rows("B", 0.1, 0.2, 0.7)]
    shuffled = runs.copy()
    random.shuffle(shuffled)
    assert accuracy_table(suite(TWO), shuffled) == accuracy_table(suite(TWO), runs)


def test_a_table_survives_json():
    table = accuracy_table(suite(TWO), [*rows("A", math.nan, 0.9, 0.9), *rows("B", 0.1, 0.1)])
    assert repr(Table.model_validate_json(table.model_dump_json())) == repr(table)


def test_a_baseline_that_results_hold_is_stated():
    made = suite({"A": ""}, seeds=(0, 1))
    found = {"test/perplexity": 14.0, "test/unigram_perplexity": 26.604}
    table = accuracy_table(made, [with_metrics(row("A", seed), found) for seed in (0, 1)])
    assert texts(table) == {"A": "<14.00 ± 0.00>"}
    assert "To be beaten in digits: test perplexity by the frequencies of single tokens, 26.60." in table.notes
    without = accuracy_table(made, [with_metrics(row("A", seed), {"test/perplexity": 14.0}) for seed in (0, 1)])
    assert not [note for note in without.notes if "beaten" in note]
