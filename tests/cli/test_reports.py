"""Reports, comparisons and exports on the command line."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import benchbench
from benchbench import api
from tests.helpers.command_line import call
from tests.helpers.suites import SGD, line, suite

SUITE = suite(
    name="NAME",
    title="<b>Lines</b> & more",
    seeds=[0, 1],
    workloads={"LABEL": line(group="Lines")},
    methods={"SGD": {"category": "First-order", **SGD}},
    tables=["accuracy", "cost"],
)

PUBLISHED = """
name: own
title: Own
source: a paper
n: 3
tables:
  - name: accuracy
    title: Table 1
    columns: [{label: line, metrics: [test/accuracy]}]
    rows: [{method: SGD, cells: ["50.00 ± 1.00"]}, {method: Other, cells: ["*"]}]
"""


@pytest.fixture
def ran(write_suite: Callable[..., Path], workplace: Path) -> Path:
    """A suite that has been run in the current folder."""
    path = write_suite(SUITE.replace("NAME", "lines").replace("LABEL", "line"), "lines.yaml")
    result = call("run", path, "--engine", "inline")
    assert result.exit_code == 0, result.output
    return path


def test_every_format_is_printed(ran: Path) -> None:
    texts = {}
    for form in ("terminal", "markdown", "latex", "html", "html-fragment", "csv", "json"):
        result = call("report", ran, "--format", form)
        assert result.exit_code == 0, result.output
        texts[form] = result.stdout
    assert texts["latex"].count(r"\begin{tabular}") == 3
    assert texts["html"].startswith("<!doctype html>")
    assert texts["html-fragment"].startswith("<figure")
    assert "&lt;b&gt;Lines&lt;/b&gt; &amp; more" in texts["html"]
    lines = list(csv.DictReader(io.StringIO(texts["csv"])))
    assert {line["table"] for line in lines} == {"accuracy", "best-epoch accuracy", "cost"}
    assert {line["row"] for line in lines} == {"SGD"}
    assert [table["name"] for table in json.loads(texts["json"])["tables"]] == [
        "accuracy",
        "best-epoch accuracy",
        "cost",
    ]


def test_results_that_cannot_be_believed_are_named(ran: Path, tmp_path: Path) -> None:
    runs = Path(".benchbench/runs").rename(tmp_path / "elsewhere")
    key = api.load_suite(ran).specs[0].key
    there = ("--runs-dir", runs, "--tracking-uri", f"sqlite:///{tmp_path}/none.db")
    for command in ("report", "export", "plan"):
        assert "warning" not in call(command, ran, *there).stderr
    whole = (runs / key / "result.json").read_text(encoding="utf-8")
    (runs / key / "result.json").write_text(whole.replace("0.", "1.", 1))
    for command in ("report", "export", "plan"):
        shown = call(command, ran, *there)
        assert shown.exit_code == 0
        assert f"warning: {runs / key}/result.json is damaged or was changed" in shown.stderr
    told = api.export(ran, workspace=api.Workspace(str(there[3]), runs))
    assert {record.outcome for record in told if record.seed == 0} == {"failed"}
    assert {record.outcome for record in told if record.seed == 1} == {"finished"}


def test_several_suites_get_tables_of_their_own_and_joint_ones(ran: Path, write_suite: Callable[..., Path]) -> None:
    other = write_suite(
        SUITE.replace("NAME", "second").replace("LABEL", "other line").replace("epochs: 2", "epochs: 3"), "second.yaml"
    )
    content = json.loads(call("report", ran, other, "--format", "json").stdout)
    assert [part["suite"] for part in content["suites"]] == ["lines", "second"]
    joint = content["tables"][0]
    assert [column["label"] for column in joint["columns"]] == ["line", "other line"]
    cells = joint["rows"][0]["cells"]
    assert cells[0]["figures"][0]["n"] == 2
    assert cells[1]["reason"] == "not run (0 of 2)"
    assert call("report", ran, other).stdout.count("Cost of training") == 3
    assert len(benchbench.report(ran, other)) == 9


def test_what_is_exported_can_be_imported_and_is_marked(ran: Path, tmp_path: Path) -> None:
    for form in ("csv", "json"):
        path = tmp_path / f"results.{form}"
        path.write_text(call("export", ran, "--format", form).stdout, encoding="utf-8")
        result = call("report", ran, "--import", path, "--format", "json")
        accuracy = json.loads(result.stdout)["tables"][0]
        own, imported = accuracy["rows"]
        assert (own["headers"][-1], imported["headers"][-1]) == ("SGD", "SGD (imported)")
        assert own["cells"] == imported["cells"]


def test_imported_workloads_without_a_place_are_named(ran: Path, tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("method,workload,seed,metric,value\nA,elsewhere,0,test/accuracy,0.5\n", encoding="utf-8")
    result = call("report", ran, "--import", path)
    assert result.exit_code == 0
    assert "no suite has the workload elsewhere" in result.stderr
    assert "elsewhere" not in result.stdout


def test_results_are_compared_with_published_ones(ran: Path, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(PUBLISHED, encoding="utf-8")
    result = call("compare", ran, "--with", path)
    assert result.exit_code == 0, result.output
    assert "50.00 ± 1.00" in result.stdout
    assert "not published" in result.stdout
    (table,) = json.loads(call("compare", ran, "--with", path, "--format", "json").stdout)["tables"]
    assert table == benchbench.compare(ran, str(path)).model_dump(mode="json")


def test_the_bundled_suite_meets_the_published_tables(workplace: Path) -> None:
    (table,) = json.loads(call("compare", "cifar", "--with", "sassha-paper", "--format", "json").stdout)["tables"]
    accuracy = [row for row in table["rows"] if row["headers"][0] == "accuracy"]
    assert len(accuracy) == 4 * 8  # every method on the four workloads of the suite
    assert {row["cells"][-1]["remark"] for row in accuracy} == {"not run"}


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("compare", "digits", "--with", "sasha-paper"), "sassha-paper"),
        (("compare", "digits"), "--with"),
        (("report", "digits", "--import", "nowhere.csv"), "cannot be read"),
        (("report", "digits", "--format", "word"), "html"),
        (("report",), "SUITE"),
        (("export", "nowhere.yaml"), "nowhere.yaml"),
    ],
)
@pytest.mark.usefixtures("workplace")
def test_bad_input_says_what_is_wrong(arguments: tuple[str, ...], part: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert part in result.stderr


def test_the_schema_of_results_is_printed() -> None:
    assert "records" in json.loads(call("schema", "--results").stdout)["properties"]


def test_published_tables_are_printed_in_every_format(tmp_path: Path) -> None:
    result = call("published", "sassha-paper", "--format", "latex")
    assert result.exit_code == 0, result.output
    assert result.stdout.count(r"\begin{tabular}") == 5
    own = tmp_path / "own.yaml"
    own.write_text(PUBLISHED)
    assert "50.00 ± 1.00" in call("published", own).stdout
    assert "did you mean 'sassha-paper'?" in call("published", "sasha-paper").stderr


def test_tables_of_whole_courses_come_from_folders_or_else_from_the_store(
    write_suite: Callable[..., Path], workplace: Path
) -> None:
    text = SUITE.replace("NAME", "lines").replace("epochs: 2", "epochs: 2, target: 0.0")
    text = text.replace("LABEL", "line").replace("[accuracy, cost]", "[matched, targets, profile, pareto, ranking]")
    path = write_suite(text, "lines.yaml")
    first = call("run", path, "--engine", "inline")
    assert first.exit_code == 0, first.output
    assert "within 1x" in first.stdout
    report = call("report", path, "--format", "csv")
    steps = [line for line in csv.DictReader(io.StringIO(report.stdout)) if line["table"] == "targets"]
    assert {line["column"]: line["n"] for line in steps}["steps"] == "2"
    shutil.rmtree(workplace / ".benchbench")
    assert call("report", path, "--format", "csv").stdout == report.stdout
