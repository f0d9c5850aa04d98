import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from benchbench.reporting import tables, to_terminal
from benchbench.reporting.accuracy import accuracy_table
from benchbench.reporting.table import Cell, Column, Figure, Table, TableRow
from tests.helpers.synthetic_rows import PAPER, row, rows, suite

SIX = ("cifar10-resnet20", "cifar10-resnet32", "cifar100-resnet32", "cifar100-wrn", "in-resnet50", "in-vit-s")
SMALL = Table(
    name="small",
    title="Title",
    headers=("Category", "Method"),
    columns=(Column(label="x"),),
    rows=(
        TableRow(headers=("One", "A"), cells=(Cell(figures=(Figure(value="9.50", spread="10.25"),)),)),
        TableRow(
            headers=("One", "B"),
            cells=(Cell(figures=(Figure(value="100.00", spread="0.25", marks=("best",)),), remark="(n=2)"),),
        ),
        TableRow(headers=("Two", "C"), cells=(Cell(remark="diverged (3)"),)),
    ),
    notes=("A note.",),
)


def unstyled(text: str) -> str:
    return re.sub(r"\x1b\[[014]m", "", text)


def complete(workloads: tuple[str, ...]) -> list[Table]:
    runs = [row(m, s, 0.9 + i / 100, workload=w) for w in workloads for i, m in enumerate(PAPER) for s in range(3)]
    return tables(suite(PAPER, workloads), runs)


def test_the_whole_of_a_small_table():
    assert to_terminal(SMALL, color=False, width=80).splitlines() == [
        "Title",
        "",
        "Category  Method  x",
        "────────  ──────  ─────────────────────",
        "One       A         9.50 ± 10.25",
        "          B       100.00 ±  0.25¹ (n=2)",
        "────────  ──────  ─────────────────────",
        "Two       C       diverged (3)",
        "",
        "¹: best of its column.",
        "A note.",
    ]


@pytest.mark.parametrize("width", [None, 80])
@pytest.mark.parametrize("group", ["", "G"])
def test_a_table_without_rows_is_its_header(group: str, width: int | None) -> None:
    empty = Table(name="t", title="Title", headers=("Method",), columns=(Column(label="x", group=group),), rows=())
    header = ["Method  x", "──────  ─"]
    assert [line for line in to_terminal(empty, color=False, width=width).splitlines() if line][-2:] == header


def test_color_is_bold_type_instead_of_raised_digits():
    text = to_terminal(SMALL, color=True, width=80)
    assert "\x1b[1m100.00 ±  0.25\x1b[0m (n=2)" in text
    assert "¹" not in text
    assert "Bold: best of its column." in text
    plain = unstyled(text)
    assert plain.splitlines()[3] == "────────  ──────  ────────────────────"


def test_several_columns_of_a_workload_stand_under_its_name():
    text = to_terminal(complete(("digits", "mlp"))[2], color=False, width=None).splitlines()
    assert text[2].split() == ["digits", "mlp"]
    position = text[2].index("mlp")
    assert text[4][position:].startswith("grads")
    assert text[3][position - 2 : position] == "  "
    assert set(text[3][position:]) == {"─"}


def test_a_group_whose_name_is_wider_than_its_columns_makes_room():
    columns = (Column(label="a", group="a long name"), Column(label="b", group="c"))
    line = TableRow(headers=("M",), cells=(Cell(remark="1"), Cell(remark="2")))
    table = Table(name="t", title="t", headers=("Method",), columns=columns, rows=(line,))
    assert to_terminal(table, color=False, width=None).splitlines()[2:] == [
        "        a long name  c",
        "        ───────────  ─",
        "Method  a            b",
        "──────  ───────────  ─",
        "M       1            2",
    ]


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize("color", [True, False])
def test_no_line_is_wider_than_the_terminal(width, color):
    for table in complete(SIX):
        text = to_terminal(table, color=color, width=width)
        plain = unstyled(text)
        assert max(map(cell_len, plain.splitlines())) <= width


def test_a_wide_table_is_stacked_by_workload():
    cost = to_terminal(complete(SIX)[2], color=False, width=80)
    assert cost.count("Category") == 6  # one workload per part, all of its columns with it
    assert cost.count("GC (paper)  s/epoch") == 6
    assert cost.count("gradient computations per step") == 1
    assert to_terminal(complete(SIX)[2], color=False, width=None).count("Category") == 1


def test_a_group_is_kept_together_exactly_when_it_fits():
    (cost,) = complete(("digits",))[2:]
    lines = to_terminal(cost, color=False, width=None).splitlines()
    fits = max(len(line) for line in lines if line.startswith("─"))
    for width, parts in ((fits, 1), (fits - 1, 2)):
        text = to_terminal(cost, color=False, width=width)
        assert text.count("Category") == parts
        assert max(map(cell_len, text.splitlines())) <= width


def test_a_group_that_is_too_wide_alone_is_cut_between_its_columns():
    lines = to_terminal(complete(("digits",))[2], color=False, width=60).splitlines()
    assert max(map(cell_len, lines)) <= 60
    assert sum(line.startswith("Category") for line in lines) == 2
    assert sum(line.split() == ["digits"] for line in lines) == 2


def test_wide_characters_are_aligned():
    table = accuracy_table(suite({"確率的勾配": "一次", "B": "一次"}), rows("B", 0.1, 0.1, 0.1))
    lines = to_terminal(table, color=False, width=80).splitlines()
    starts = {cell_len(line[: line.index(text)]) for line, text in zip(lines[4:6], ("*", "10.00"), strict=True)}
    assert starts == {cell_len(lines[3].rpartition("  ")[0]) + 2}


def test_groups_with_wide_names_stand_above_their_columns():
    columns = (Column(label="a", group="数字"), Column(label="b", group="c"))
    line = TableRow(headers=("M",), cells=(Cell(remark="1"), Cell(remark="2")))
    table = Table(name="t", title="t", headers=("Method",), columns=columns, rows=(line,))
    assert to_terminal(table, color=False, width=None).splitlines()[2:5] == [
        "        数字  c",
        "        ────  ─",
        "Method  a     b",
    ]


def test_terminal_escapes_of_a_user_are_shown_not_obeyed():
    made = suite({"\x1b[31mred\x1b[0m": "a\nb", "\x01": "a\nb"}, ("w\x07", "\r"), title="t\x1b]0;x\x07")
    for table in tables(made, []):
        for width in (20, None):
            text = to_terminal(table, color=False, width=width)
            assert all(char.isprintable() or char == "\n" for char in text)
        assert "\\x1b[31mred\\x1b[0m" in text
        assert "a\\nb" in text


@given(st.lists(st.text(max_size=12), min_size=2, max_size=4, unique=True), st.text(min_size=1), st.text())
def test_a_table_keeps_its_lines_whatever_the_labels_are(labels, workload, category):
    made = suite(dict.fromkeys(labels, category), (workload,), title="Title")
    text = to_terminal(accuracy_table(made, []), color=False, width=None)
    lines = text.splitlines()
    assert len(lines) == 6 + len(labels)
    assert all(line.endswith("  *") for line in lines[4:-2])
    assert lines[-1] == "*: not run (0 of 3): all methods."
