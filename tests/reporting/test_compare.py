import math

import pytest

from benchbench.reporting import joint_tables, published
from benchbench.reporting.compare import comparison
from benchbench.reporting.joint import join
from benchbench.reporting.published import Publication, PublishedColumn, PublishedRow, PublishedTable
from benchbench.reporting.table import Table
from benchbench.values import Heading, Suite
from tests.helpers.synthetic_rows import row, rows, spec, suite

COLUMNS = ["measured", "published", "difference", "z", "verdict"]


def publication(*printed: str, n: int = 3) -> Publication:
    names = "ABCD"
    table = PublishedTable(
        name="accuracy",
        title="Table 1",
        columns=(PublishedColumn(label="ResNet", group="CIFAR", metrics=("test/accuracy",), aliases=("digits",)),),
        rows=tuple(PublishedRow(method=names[i], cells=(text,)) for i, text in enumerate(printed)),
    )
    return Publication(name="paper", title="P", source="a paper", n=n, methods={"B": ("Bee",)}, tables=(table,))


def lines(table: Table) -> dict[str, list[str]]:
    assert [column.label for column in table.columns] == COLUMNS
    return {row.headers[-1]: [cell.text for cell in row.cells] for row in table.rows}


def test_z_is_the_difference_over_its_standard_error():
    table = comparison(suite({"A": ""}), rows("A", 0.90, 0.92, 0.94), publication("95.00 ± 1.00"))
    z = (92 - 95) / math.sqrt(2**2 / 3 + 1**2 / 3)
    assert table.rows[0].cells[3].figures[0].mean == pytest.approx(z)
    assert lines(table)["A"][:4] == ["92.00 ± 2.00", "95.00 ± 1.00", "-3.00", f"{z:+.2f}"]


def test_each_side_has_its_own_number_of_runs():
    table = comparison(suite({"A": ""}), rows("A", 0.90, 0.92, 0.94), publication("95.00 ± 1.00", n=12))
    z = (92 - 95) / math.sqrt(2**2 / 3 + 1**2 / 12)
    assert table.rows[0].cells[3].figures[0].mean == pytest.approx(z)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("92.00 ± 1.00", "agrees within 2 standard errors"),
        ("80.00 ± 1.00", "above"),
        ("99.00 ± 1.00", "below"),
        ("*", "not published"),
        ("92.00", "no standard error to judge by"),
    ],
)
def test_the_verdict_is_in_words(text, verdict):
    table = comparison(suite({"A": ""}), rows("A", 0.90, 0.92, 0.94), publication(text))
    assert lines(table)["A"][-1] == verdict


def test_what_was_not_run_is_no_disagreement():
    table = comparison(suite({"A": ""}), [], publication("92.00 ± 1.00"))
    assert lines(table)["A"] == ["*", "92.00 ± 1.00", "–", "–", "not run"]
    assert any("not run (0 of 3)" in note for note in table.notes)


def test_one_seed_has_no_standard_error():
    table = comparison(suite({"A": ""}, seeds=(0,)), [row("A", 0, 0.92)], publication("92.00 ± 1.00"))
    assert lines(table)["A"][-1] == "no standard error to judge by"


def test_labels_are_matched_by_the_mapping_and_strangers_are_listed():
    made = suite({"A": "", "Bee": "", "Own": ""}, workloads=("digits", "mlp"))
    table = comparison(made, rows("Bee", 0.9, 0.91, 0.92), publication("90.00 ± 1.00", "91.00 ± 1.00", "70.00 ± 1.00"))
    assert lines(table)["B"][0] == "91.00 ± 1.00"
    assert lines(table)["C"][-1] == "not run"
    assert "Workloads of the suite that are not published: mlp." in table.notes
    assert "Methods of the suite that are not published: Own." in table.notes


def test_a_published_workload_that_the_suite_lacks_is_listed():
    table = comparison(suite({"A": ""}, workloads=("mlp",)), [], publication("90.00 ± 1.00"))
    assert table.rows == ()
    assert "Published, not in the suite: CIFAR / ResNet." in table.notes


def test_the_best_epoch_can_be_compared():
    runs = [row("A", seed, 0.5, best=0.9 + seed / 100) for seed in range(3)]
    table = comparison(suite({"A": ""}), runs, publication("91.00 ± 1.00"), best_epoch=True)
    assert lines(table)["A"][0] == "91.00 ± 1.00"
    assert "best epoch" in table.title


def test_no_p_value_is_given():
    table = comparison(suite({"A": ""}), rows("A", 0.90, 0.92, 0.94), publication("95.00 ± 1.00"))
    assert not any("p =" in text for text in (*table.notes, *lines(table)["A"]))


def test_shipped_numbers_of_the_poster_match_a_suite_by_group_and_label():
    made = suite({"SGD": "", "SASSHA": ""}, workloads=("r20",))
    made = made.model_copy(update={"headings": {"r20": Heading(label="ResNet-20", group="CIFAR-10")}})
    table = comparison(made, rows("SGD", 0.92, 0.921, 0.919, workload="r20"), published.load("sassha-paper"))
    assert lines(table)["SGD"][1] == "92.03 ± 0.32"
    assert lines(table)["SASSHA"][1] == "92.98 ± 0.05"


def named(name: str, made: Suite) -> Suite:
    return made.model_copy(update={"name": name, "title": name})


def test_joint_tables_hold_the_workloads_of_all_suites_in_rows_by_method():
    first, second = named("one", suite({"A": "", "B": ""}, ("x",))), named("two", suite({"B": "", "C": ""}, ("y",)))
    table = joint_tables(
        [first, second], [rows("B", 0.9, 0.9, 0.9, workload="x"), rows("B", 0.8, 0.8, 0.8, workload="y")]
    )[0]
    assert [column.label for column in table.columns] == ["x", "y"]
    shown = {row.headers[-1]: [cell.text for cell in row.cells] for row in table.rows}
    assert shown == {"A": ["*", "*"], "B": ["90.00 ± 0.00", "80.00 ± 0.00"], "C": ["*", "*"]}
    assert any("not asked for" in note for note in table.notes)


def test_one_label_for_different_things_becomes_two_columns():
    first = named("one", suite({"A": ""}, ("x",)))
    longer = tuple(spec.model_copy(update={"epochs": 9}) for spec in first.specs)
    second = named("two", first.model_copy(update={"specs": longer}))
    assert join([first, second]).workloads == ("x (one)", "x (two)")
    assert join([first, named("three", first)]).workloads == ("x",)


def test_runs_of_a_shared_workload_are_not_counted_twice():
    first = suite({"A": ""}, ("x",))
    both = join([named("one", first), named("two", first)])
    assert len(both.specs) == 3
    assert {each.key for each in both.specs} == {spec("A", "x", seed).key for seed in range(3)}


def test_what_is_known_about_a_published_table_stands_below():
    made = suite({"Shampoo": ""}, workloads=("CIFAR-10 0%",))
    notes = comparison(
        made, rows("Shampoo", 0.9, 0.9, 0.9, workload="CIFAR-10 0%"), published.load("sassha-paper")
    ).notes
    assert any("(0.83) differs from that of the same result in Table 1 (0.24)" in note for note in notes)
    assert not any(note.startswith("language: ") for note in notes)
