"""Optimizers of other packages, unchanged, from YAML alone."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import benchbench
from benchbench import api
from benchbench.problems import BadInputError
from benchbench.values import RunResult
from tests.conftest import REPOSITORY
from tests.helpers.suites import suite
from tests.training import small_tasks

PAGE = REPOSITORY / "docs" / "third_party.md"


@pytest.fixture
def train(write_suite: Callable[..., Path]) -> Callable[[str], RunResult]:
    text = suite(workloads={"digits-mlp": {"epochs": 2, "batch_size": 128}}, methods={"It": "METHOD"})

    def trained(method: str) -> RunResult:
        loaded = benchbench.load_suite(write_suite(text.replace("METHOD", method)))
        api.check(loaded)
        [spec] = loaded.specs
        return small_tasks.trained(spec)

    return trained


Train = Callable[[str], RunResult]


def test_an_optimizer_of_matrices_is_refused_before_the_run_or_has_a_companion(train: Train) -> None:
    with pytest.raises(BadInputError, match=r"methods.It.optimizer: muon refuses the parameters of digits-mlp: .*2D"):
        train("{optimizer: muon}")
    result = train(
        '{optimizer: "baselines.by_role:ByRole", matrices: {name: muon, lr: 0.05}, rest: {name: sgd, lr: 0.1}}'
    )
    assert result.final["test/accuracy"] > 0.5


def test_a_closure_may_be_called_many_times(train: Train) -> None:
    result = train("{optimizer: lbfgs, max_iter: 5, line_search_fn: strong_wolfe}")
    assert result.outcome == "finished"
    assert result.cost.gradients > 3 * result.cost.steps


def test_differentiating_gradients_has_to_be_declared(train: Train) -> None:
    pytest.importorskip("pytorch_optimizer")
    name = "optimizer: 'pytorch_optimizer:AdaHessian', lr: 0.03"
    with pytest.raises(BadInputError, match=r"methods.It.optimizer: .*set `create_graph: true`"):
        train(f"{{{name}}}")
    result = train(f"{{{name}, create_graph: true}}")
    assert result.final["train/loss"] < 2.2  # chance is 2.3
    assert result.cost.hvps == result.cost.steps


def test_the_two_steps_of_a_stranger_cost_two_gradients(train: Train) -> None:
    pytest.importorskip("pytorch_optimizer")
    result = train("{optimizer: 'pytorch_optimizer:SAM', base_optimizer: sgd, lr: 0.5}")
    assert result.cost.gradients == 2 * result.cost.steps
    assert result.final["train/loss"] < 1.8


def test_schedule_free_weights_are_judged_in_evaluation_mode(train: Train) -> None:
    pytest.importorskip("schedulefree")
    modes = train("{optimizer: 'schedulefree:SGDScheduleFree', lr: 1.0}")
    # The same method without modes: what is trained is what is judged.
    none = train("{optimizer: 'schedulefree:SGDScheduleFreeClosure', lr: 1.0}")
    assert modes.final["test/accuracy"] == none.final["test/accuracy"]
    assert modes.final["test/loss"] == pytest.approx(none.final["test/loss"], rel=1e-4)


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("third_party_script", REPOSITORY / "benchmarks" / "third_party.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize(("package", "least"), [("torch", 15), ("pytorch_optimizer", 125), ("schedulefree", 9)])
def test_most_of_them_run(package: str, least: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(package)
    script = load_script()
    for settings in script.SETTINGS.values():  # as the name stands for where this package is not installed
        if settings.get("optimizer") == "by_role":
            monkeypatch.setitem(settings, "optimizer", "baselines.by_role:ByRole")
    attempts = [script.attempt(target, tmp_path) for target in script.targets(script.PACKAGES[package])]
    failed = {each.target: each.message for each in attempts if each.result is None}
    assert len(attempts) - len(failed) >= least, failed


def test_the_page_states_what_it_was_made_with() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert "python benchmarks/third_party.py --write docs/third_party.md" in text
    rows = re.findall(r"^\| (\w+) [\d.]+ ((?:\| \d+ ){10})\|$", text, re.MULTILINE)
    counts = {name: [int(each) for each in cells.split("|")[1:]] for name, cells in rows}
    assert set(counts) >= {"torch", "schedulefree", "pytorch_optimizer"}
    grades = re.findall(r"\| (ok|differs|unknown|FAIL|refused) \|$", text, re.MULTILINE)
    for classes, train, diverge, fail, left, *checks in counts.values():
        assert classes == train + diverge + fail + left == sum(checks) + left
    assert len(grades) == sum(train + diverge for _, train, diverge, *_ in counts.values())


def test_the_script_writes_between_its_markers() -> None:
    script = load_script()
    page = script.written(PAGE.read_text(encoding="utf-8"), ["of today"])
    assert page.startswith("# Optimizers of other packages")
    assert f"{script.BEGIN}\n\nof today\n\n{script.END}" in page
    assert script.written(page, ["of today"]) == page


def test_an_optimizer_is_counted_as_the_worst_of_its_promises() -> None:
    script = load_script()
    kept, unknown = script.Verdict("a", "ok"), script.Verdict(script.CURVATURE, "unknown")
    assert script.Attempt("x:y", {}, verdicts=(kept, unknown)).grade == "ok"
    for grade in ("unknown", "differs", "FAIL"):
        assert script.Attempt("x:y", {}, verdicts=(kept, script.Verdict("b", grade))).grade == grade
    assert script.Attempt("x:y", {}, refusal="no").grade == "refused"
