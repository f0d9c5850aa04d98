import csv
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchbench.problems import BadInputError, printable
from benchbench.reporting import exchange, tables
from benchbench.reporting.exchange import Record
from benchbench.suite.schema import check_label
from tests.helpers.synthetic_rows import row, rows, suite
from tests.reporting.hostile_tables import TEXTS
from tests.reporting.test_curve_tables import run


def is_label(text: str) -> bool:
    try:
        return bool(check_label(text))
    except ValueError:
        return False


LABELS = TEXTS.filter(is_label)
VALUES = st.one_of(st.floats(allow_nan=False), st.none())


@pytest.mark.parametrize("form", ["csv", "json"])
@given(method=LABELS, workload=LABELS, value=VALUES, text=TEXTS)
def test_records_survive_a_file(tmp_path_factory, form, method, workload, value, text):
    record = Record(method=method, workload=workload, seed=1, metric="test/accuracy", value=value, source=text)
    write = exchange.to_csv if form == "csv" else exchange.to_json
    path = tmp_path_factory.getbasetemp() / f"results.{form}"
    path.write_text(write([record]) + "\n", encoding="utf-8", newline="")
    shown = printable(text) if form == "csv" else text
    assert exchange.read(path) == [record.model_copy(update={"source": shown})]


@pytest.mark.parametrize("form", ["csv", "json"])
def test_a_value_that_is_not_a_number_survives(tmp_path, form):
    record = Record(method="A", workload="x", seed=0, metric="test/accuracy", value=math.nan)
    path = tmp_path / f"results.{form}"
    path.write_text(exchange.to_csv([record]) if form == "csv" else exchange.to_json([record]), encoding="utf-8")
    (found,) = exchange.read(path)
    assert found.value is not None
    assert math.isnan(found.value)


@pytest.mark.parametrize("form", ["csv", "json"])
def test_imported_results_stand_beside_the_suites_own_and_are_marked(tmp_path, form):
    made = suite({"A": "First", "B": "Second"})
    runs = [*rows("A", 0.90, 0.92, 0.94), *(row("B", seed, outcome="diverged") for seed in range(3))]
    found = exchange.records(made, runs)
    path = tmp_path / f"results.{form}"
    path.write_text(exchange.to_csv(found) if form == "csv" else exchange.to_json(found), encoding="utf-8")
    extended, known = exchange.with_imported(made, runs, exchange.read(path))
    table = tables(extended, known)[0]
    shown = {line.headers: line.cells[0] for line in table.rows}
    assert list(shown) == [
        ("First", "A"), ("First", "A (imported)"), ("Second", "B"), ("Second", "B (imported)"),
    ]  # fmt: skip
    assert shown["First", "A (imported)"] == shown["First", "A"]
    assert shown["Second", "B (imported)"].reason == "diverged (3)"
    cost = tables(extended, known)[2]
    assert [cell.text for cell in cost.rows[1].cells[:3]] == [cell.text for cell in cost.rows[0].cells[:3]]


def test_whole_histories_survive_a_file_and_make_the_same_tables(tmp_path):
    made = suite({"cheap": "", "dear": ""}, seeds=(0, 1), tables=("targets", "matched", "profile"))
    made = made.model_copy(update={"targets": {"digits": 0.75}})
    runs = [run("cheap", seed, [0.5, 0.7, 0.8]) for seed in (0, 1)] + [
        run("dear", seed, [0.9, 0.95, 0.97], hvps=1000) for seed in (0, 1)
    ]
    path = tmp_path / "results.csv"
    path.write_text(exchange.to_csv(exchange.records(made, runs)), encoding="utf-8")
    read, again = exchange.as_suite(exchange.read(path))
    assert read.targets == {"digits": 0.75}
    for own, known in zip(
        tables(made, runs), tables(read.model_copy(update={"tables": made.tables}), again), strict=True
    ):
        assert known.rows == own.rows
        assert known.columns == own.columns
    extended, beside = exchange.with_imported(made, runs, exchange.read(path))
    targets = tables(extended, beside)[0]
    cells = {line.headers[-1]: [cell.text.strip("¹²") for cell in line.cells] for line in targets.rows}
    assert cells["cheap (imported)"] == cells["cheap"]
    assert cells["dear (imported)"] == cells["dear"]
    assert "GC (paper)" in [column.label for column in targets.columns]


def test_the_order_of_records_decides_nothing():
    made = suite({"cheap": "", "dear": ""}, seeds=(0, 1))
    runs = [run(method, seed, [0.5, 0.7, 0.8]) for method in ("cheap", "dear") for seed in (0, 1)]
    found = exchange.records(made, runs)
    forwards, backwards = ({row.spec.key: row for row in exchange.as_suite(each)[1]} for each in (found, found[::-1]))
    assert forwards == backwards
    assert {tuple(each.epoch for each in row.records) for row in backwards.values()} == {(1, 2, 3)}


def test_results_on_other_workloads_are_left_out():
    made = suite({"A": ""})
    stranger = Record(method="A", workload="elsewhere", seed=0, metric="test/accuracy", value=0.5)
    assert exchange.with_imported(made, [], [stranger]) == (made, [])


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("r.csv", "method,workload,seed,value\nA,x,zero,0.5\n", "r.csv:2"),
        ("r.csv", "method,workload,seed,colour\nA,x,0,red\n", "colour"),
        ("r.csv", "", "has no records"),
        ("r.csv", "method,workload,seed,metric,value\nA,x,0,m,1\nA,x,0,m,2\n", "two records of one value"),
        ("r.json", "{", "JSON"),
        ("r.json", json.dumps({"format": "other/1", "records": []}), "format"),
        ("r.json", json.dumps({"records": [{"method": "A", "workload": "x", "seed": -1}]}), "seed"),
    ],
)
def test_a_bad_file_is_one_line_per_problem(tmp_path, name, text, part):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(BadInputError) as caught:
        exchange.read(tmp_path / name)
    assert part in str(caught.value.problems[0])
    assert "\n" not in str(caught.value.problems[0])


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(BadInputError, match="cannot be read"):
        exchange.read(tmp_path / "none.csv")


def test_one_value_in_two_files_is_a_problem(tmp_path: Path):
    record = Record(method="A", workload="x", seed=0, metric="test/accuracy", value=0.5)
    for name in ("one.csv", "two.csv"):
        (tmp_path / name).write_text(exchange.to_csv([record]), encoding="utf-8")
    with pytest.raises(BadInputError, match=r"two\.csv.*two records of one value"):
        exchange.read_all([tmp_path / "one.csv", tmp_path / "two.csv"])


def test_the_schema_describes_what_is_written():
    fields = exchange.json_schema()["$defs"]["Record"]["properties"]
    (written,) = json.loads(exchange.to_json([Record(method="A", workload="x", seed=0)]))["records"]
    assert set(fields) == set(written)


DIRECTED = "a\u202egnp\u202c\x07\x1b[2J"


def test_no_character_that_cannot_be_seen_is_printed(tmp_path):
    record = Record(
        method="A", workload="x", seed=0, metric="test/accuracy", value=0.5, source=DIRECTED, device=DIRECTED
    )
    for write in (exchange.to_csv, exchange.to_json):
        text = write([record])
        assert all(char.isprintable() or char == "\n" for char in text)
        assert "\\u202e" in text
    (tmp_path / "r.json").write_text(exchange.to_json([record]), encoding="utf-8")
    assert exchange.read(tmp_path / "r.json") == [record]


FORMULAS = (
    "=HYPERLINK(1)",
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "'=1",
    "＝1",
    "-x",
    "\t=1",
    "-1.5",
    "+3 %",
    "-inf",
    "'",
)


@pytest.mark.parametrize("text", FORMULAS)
def test_no_text_of_a_file_is_a_formula_and_all_are_read_back(tmp_path, text):
    labels = {"method": text, "workload": text} if is_label(text) else {"method": "A", "workload": "x"}
    record = Record(**labels, seed=0, metric="test/accuracy", value=-1.5, source=text, train_seconds=0.5)
    path = tmp_path / "r.csv"
    path.write_text(exchange.to_csv([record]), encoding="utf-8")
    with path.open(newline="", encoding="utf-8") as file:
        [line] = csv.DictReader(file)
    assert line["value"] == "-1.5"
    for cell in line.values():
        assert cell[:1] not in tuple("=@\t\r＝") and (cell[:1] not in ("+", "-") or float(cell.removesuffix(" %")))
    assert exchange.read(path) == [record.model_copy(update={"source": printable(text)})]
