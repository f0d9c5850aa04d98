"""The command line as a user meets it: output, errors and exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import BROKEN_OPTIMIZERS, benchbench
from tests.helpers.command_line import call
from tests.helpers.suites import SGD, line
from tests.helpers.suites import suite as small_suite

SUITE = small_suite(
    title="Lines | and *stars*",
    seeds=[0, 1, 2],
    workloads={"line": line()},
    methods={
        "SGD": {"category": "First-order", **SGD},
        "Bad": {"category": "Other", "optimizer": "STUBS:Exploding", "after": "AFTER"},
    },
    tables=["accuracy", "cost"],
)


@pytest.fixture
def suite(write_suite: Callable[..., Path]) -> str:
    return str(write_suite(SUITE.replace("AFTER", "99")))


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.usefixtures("workplace")
def test_run_prints_the_tables_on_standard_output_and_progress_elsewhere(suite: str) -> None:
    result = call("run", suite, "--engine", "inline")
    assert result.exit_code == 0, result.output
    assert "± " in result.stdout
    assert "GC (paper)" in result.stdout
    assert "finished" not in result.stdout
    assert "[6/6] Bad · line · seed 2: finished" in result.stderr
    assert call("report", suite).stdout == result.stdout


@pytest.mark.usefixtures("workplace")
def test_json_is_complete_and_parses(suite: str) -> None:
    result = call("run", suite, "--engine", "inline", "--json")
    content = json.loads(result.stdout)
    assert content["suite"] == "lines"
    assert len(content["runs"]) == 6
    assert {run["result"]["outcome"] for run in content["runs"]} == {"finished"}
    assert [table["name"] for table in content["tables"]]
    assert json.loads(call("report", suite, "--format", "json").stdout) == content


@pytest.mark.usefixtures("workplace")
def test_markdown_escapes_what_users_wrote(suite: str) -> None:
    call("run", suite, "--engine", "inline")
    text = call("report", suite, "--format", "markdown").stdout
    assert "Lines \\| and \\*stars\\*" in text
    assert "First-order" in text


@pytest.mark.usefixtures("workplace")
def test_a_divergence_is_a_result_and_a_failure_is_not(write_suite: Callable[..., Path]) -> None:
    diverging = str(write_suite(SUITE.replace("AFTER", "2")))
    result = call("run", diverging, "--engine", "inline")
    assert result.exit_code == 0
    assert "diverged (3)" in result.stdout
    failing = str(write_suite(SUITE.replace("STUBS:line", "STUBS:failing").replace("AFTER", "2"), "failing.yaml"))
    result = call("run", failing, "--engine", "inline")
    assert result.exit_code == 1
    assert "failed (3)" in result.stdout
    assert "this workload always fails" in result.stderr


def test_plan_shows_the_matrix_and_touches_nothing(suite: str, workplace: Path) -> None:
    (workplace / "mlflow.db").unlink()
    before = files(workplace)
    result = call("plan", suite)
    assert result.exit_code == 0
    assert files(workplace) == before
    lines = result.stdout.splitlines()
    # 3 runs of 2 epochs of 4 steps, one gradient each
    assert [line.split()[:6] for line in lines[2:4]] == [
        [*("line", name), "3", "3", "24", "0"] for name in ("SGD", "Bad")
    ]
    assert "6 runs, 6 to run: about " in lines[-1]
    single = call("plan", suite, "--runs")
    assert single.stdout.count("to run") == 7  # six rows and the summary


@pytest.mark.usefixtures("workplace")
def test_plan_needs_no_data(write_suite: Callable[..., Path]) -> None:
    path = str(write_suite(SUITE.replace("AFTER", "99").replace("STUBS:line", "STUBS:missing")))
    result = call("plan", path)
    assert result.exit_code == 0
    assert "6 runs, 6 to run" in result.stdout
    assert result.stdout.splitlines()[2].split()[4:] == ["?"] * 4
    assert "missing data: " in result.stderr
    assert "the data of this workload are not in /nowhere" in result.stderr


@pytest.mark.usefixtures("workplace")
def test_plan_knows_what_is_done(suite: str) -> None:
    call("run", suite, "--engine", "inline", "--only", "method=SGD,seed=1")
    rows = json.loads(call("plan", suite, "--json").stdout)["runs"]
    done = [(row["method"], row["seed"]) for row in rows if row["state"] == "done"]
    assert done == [("SGD", 1)]
    assert len(json.loads(call("plan", suite, "--json", "--only", "seed=0,seed=2").stdout)["runs"]) == 4
    forced = json.loads(call("plan", suite, "--json", "--force").stdout)["runs"]
    assert {row["state"] for row in forced} == {"to run"}


@pytest.mark.usefixtures("workplace")
def test_set_changes_a_value(suite: str) -> None:
    result = call(
        "run", suite, "--engine", "inline", "--json", "--set", "workloads.line.epochs=1", "--set", "seeds=[4]"
    )
    runs = json.loads(result.stdout)["runs"]
    assert {run["spec"]["epochs"] for run in runs} == {1}
    assert {run["spec"]["seed"] for run in runs} == {4}


BAD: dict[str, tuple[str, tuple[str, ...]]] = {
    "several problems of the file at once": (
        SUITE.replace("AFTER", ".inf").replace("epochs: 2", "epochs: 0"),
        ("suite.yaml:6: workloads.line.epochs", "methods.Bad.after"),
    ),
    "several problems with plugins at once": (
        SUITE.replace("AFTER", "2.5").replace("sgd, lr", "sgd, momentun"),
        (
            "suite.yaml:8: methods.SGD.momentun",
            "'momentum'",
            "methods.Bad.after",
        ),
    ),
    "negative learning rate": (
        SUITE.replace("AFTER", "2").replace("lr: 0.1", "lr: -0.1"),
        ("suite.yaml:8: methods.SGD.lr", "Invalid learning rate: -0.1"),
    ),
    "missing data": (
        SUITE.replace("AFTER", "2").replace("STUBS:line", "STUBS:missing"),
        ("suite.yaml:6: workloads.line", "are not in /nowhere: bring them there"),
    ),
    "not YAML": ("name: [", ("suite.yaml:1: not valid YAML: expected the node content",)),
    "empty": ("", ("suite.yaml: the file is empty",)),
}


@pytest.mark.parametrize(
    ("command", "name"), [*(("run", name) for name in BAD), *(("plan", name) for name in BAD if name != "missing data")]
)
def test_bad_input_is_one_line_per_problem_and_starts_nothing(
    name: str, command: str, workplace: Path, write_suite: Callable[..., Path]
) -> None:
    text, expected = BAD[name]
    path = write_suite(text)
    (workplace / "mlflow.db").unlink()
    before = files(workplace)
    result = call(command, str(path))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert all(line.startswith("error: ") for line in result.stderr.splitlines())
    for part in expected:
        assert part in result.stderr
    assert files(workplace) == before


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("run", "digitz"), "did you mean 'digits'?"),
        (("report", "nowhere.yaml"), "nowhere.yaml"),
        (("show", "sasha"), "did you mean 'sassha'?"),
        (("run", "digits", "--set", "workloads.digits-resnet9.epochs=1"), "did you mean 'digits-resnet8'?"),
        (("run", "digits", "--set", "workloads.UNKNOWN.epochs=1"), "no workloads.UNKNOWN; allowed: digits-resnet8"),
        (("run", "digits", "--only", "seed=7"), "--only"),
        (("run", "digits", "--tracking-uri", "nonsense://"), "tracking store nonsense:// cannot be used"),
        (("run", "digits", "--engine", "warp"), "--engine"),
    ],
)
def test_wrong_arguments_end_with_exit_code_2(arguments: tuple[str, ...], part: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert part in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


def test_everything_that_can_be_named_is_listed() -> None:
    optimizers = {row["name"]: row for row in json.loads(call("list", "optimizers", "--json").stdout)}
    assert {"sassha", "sam", "adahessian", "sophia_h", "shampoo", "sgd", "adamw"} <= set(optimizers)
    assert {row["status"] for row in optimizers.values()} == {"ok"}
    workloads = {row["name"] for row in json.loads(call("list", "workloads", "--json").stdout)}
    assert {"digits-resnet8", "digits-mlp", "image-classification"} <= workloads
    models = {row["name"] for row in json.loads(call("list", "models", "--json").stdout)}
    assert {"resnet20", "wrn-28-10", "vit-s-32"} <= models
    datasets = {row["name"] for row in json.loads(call("list", "datasets", "--json").stdout)}
    assert {"cifar10", "imagenet", "image-folder"} <= datasets
    suites = {row["name"]: row["runs"] for row in json.loads(call("list", "suites", "--json").stdout)}
    assert suites["digits"] == "24"


def test_a_broken_plugin_is_listed_with_its_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[benchbench.optimizers]\nbroken = broken_module:Optimizer\n")
    (tmp_path / "broken_module.py").write_text("import sys\nsys.exit('no')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    rows = {row["name"]: row["status"] for row in json.loads(call("list", "optimizers", "--json").stdout)}
    assert "SystemExit" in rows["broken"]
    assert rows["sgd"] == "ok"


def test_show_tells_parameters_defaults_docs_and_origin() -> None:
    text = call("show", "sassha").stdout
    assert "benchbench-harness 0.1.0" in text
    assert "lazy_hessian" in text
    assert "Algorithm 1" in text
    assert "width" in call("show", "digits-resnet8").stdout
    assert "width" in call("show", "resnet20").stdout
    assert "Krizhevsky" in call("show", "cifar10").stdout


@pytest.fixture
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchbench.checks import conformance

    monkeypatch.setitem(conformance.PROMISES, "survives NaN without harm to the process", lambda subject: "")


@pytest.mark.usefixtures("no_processes")
def test_check_prints_a_line_per_promise_and_fails_when_one_is_broken() -> None:
    kept = call("check", "sgd", "--set", "lr=0.1", "--set", "momentum=0.9")
    assert kept.exit_code == 0, kept.output
    assert {line.split()[0] for line in kept.stdout.splitlines()} == {"ok", "unknown"}
    broken = call("check", f"{BROKEN_OPTIMIZERS}:Climbing")
    assert broken.exit_code == 1
    [line] = [line for line in broken.stdout.splitlines() if line.startswith("FAIL")]
    assert "makes progress" in line
    verdicts = json.loads(call("check", f"{BROKEN_OPTIMIZERS}:SilentNeed", "--create-graph", "--json").stdout)
    assert {"promise", "grade", "reason"} == set(verdicts[0])
    assert "FAIL" not in {verdict["grade"] for verdict in verdicts}


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("sgdd",), "did you mean 'sgd'?"),
        (("sgd", "--set", "momentun=1"), "did you mean 'momentum'?"),
        (("sgd", "--set", "momentum=high"), '--set: momentum: must be float (got "high")'),
        (("sgd", "--set", "lr"), "--set: must have the form path.to.key=value (got lr)"),
        (("nowhere.py:Mine",), "nowhere.py cannot be read: No such file or directory"),
    ],
)
def test_what_cannot_be_checked_is_bad_input(arguments: tuple[str, ...], part: str) -> None:
    result = call("check", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert part in result.stderr
    assert result.stderr.startswith("error: ")


def test_the_schema_describes_the_bundled_suites() -> None:
    schema = json.loads(call("schema").stdout)
    assert schema["type"] == "object"
    assert {"name", "seeds", "workloads", "methods"} <= set(schema["properties"])


def test_the_installed_command_answers(tmp_path: Path) -> None:
    shown = benchbench("--version", cwd=tmp_path)
    assert (shown.returncode, shown.stdout) == (0, "benchbench 0.1.0\n")
    assert "Exit codes" in benchbench("--help", cwd=tmp_path).stdout
    assert not files(tmp_path)


@pytest.mark.slow
def test_outcomes_are_the_same_for_any_engine(workplace: Path, write_suite: Callable[..., Path]) -> None:
    path = str(write_suite(SUITE.replace("AFTER", "2")))

    def numbers(*arguments: str) -> list[Any]:
        runs = json.loads(call("run", path, "--json", "--force", *arguments).stdout)["runs"]
        return [(run["result"]["outcome"], run["result"]["final"]) for run in runs]

    assert numbers("--engine", "inline") == numbers("--engine", "local", "--slots", "2")


def test_a_great_many_problems_are_a_hundred_lines(workplace: Path) -> None:
    methods = "".join(f"  m{number}: {{optimizer: sgd, epochs: 0}}\n" for number in range(300))
    (workplace / "many.yaml").write_text(
        f"name: many\nseeds: [0]\nworkloads:\n  w: {{epochs: 1, batch_size: 1}}\nmethods:\n{methods}"
    )
    result = call("report", "many.yaml")
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert len(lines) == 101
    assert lines[-1] == "error: and 200 more"
