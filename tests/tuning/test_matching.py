"""Matched compute: epochs by what a step takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from benchbench import suite as suites
from benchbench.suite import yaml_source
from benchbench.tuning import writer
from benchbench.tuning.matching import matched_suite
from tests.helpers.command_line import call

SUITE = """
name: lines
seeds: [0]
tuning: {budget: {trials: 2}}
workloads:
  line:
    workload: "STUBS:line"
    epochs: 10
    batch_size: 8
    schedule: {name: multistep, milestones: [5, 8], warmup_epochs: 1}
  short: {workload: "STUBS:line", epochs: 1, batch_size: 8, schedule: {name: cosine}}
methods:
  Once: {optimizer: sgd, lr: 0.1}
  Twice: {optimizer: sam, base: sgd, search: {lr: {log_uniform: [0.01, 1]}}}
  Curved: {optimizer: adahessian}
  Seldom: {optimizer: sassha, lazy_hessian: 10}
"""


def match(path: Path, out: str = "matched.yaml") -> Result:
    return call("match", str(path), "--out", out)


@pytest.mark.usefixtures("workplace")
def test_epochs_and_milestones_follow_the_cost_of_a_step(write_suite: Callable[..., Path]) -> None:
    result = match(write_suite(SUITE))
    assert result.exit_code == 0, result.output
    found = {(spec.workload_label, spec.method): spec for spec in suites.load("matched.yaml").specs}
    epochs = {method: spec.epochs for (workload, method), spec in found.items() if workload == "line"}
    # 1, 2, 1 + 2 * 1 and 2 + 2 * 0.1 gradient equivalents a step
    assert epochs == {"Once": 10, "Twice": 5, "Curved": 3, "Seldom": 5}
    assert {spec.epochs for (workload, _), spec in found.items() if workload == "short"} == {1}
    halved = found["line", "Twice"].schedule["lr"].model_dump()
    assert (halved["milestones"], halved["warmup_epochs"]) == ((2.5, 4), 0.5)
    assert found["line", "Once"].schedule["lr"].model_dump()["milestones"] == (5, 8)
    assert suites.load("matched.yaml").spaces["line"].keys() == {"Twice"}


@pytest.mark.usefixtures("workplace")
def test_comments_are_kept_where_the_text_can_be_edited(write_suite: Callable[..., Path]) -> None:
    text = SUITE.replace("  Twice:", "  # two gradients a step\n  Twice:").replace(
        "epochs: 10", "epochs: 10   # of SGD"
    )
    result = match(write_suite(text))
    assert (result.exit_code, result.stderr) == (0, "written: matched.yaml\n")
    kept = Path("matched.yaml").read_text(encoding="utf-8")
    assert "  # two gradients a step\n  Twice: {optimizer: sam, base: sgd, search: " in kept
    assert "    epochs: 10   # of SGD\n" in kept
    edited = suites.load("matched.yaml")
    # No pair can be added to a mapping whose keys are written like that.
    result = match(
        write_suite(text.replace("Curved: {optimizer: adahessian}", "Curved:\n    ? optimizer\n    : adahessian"))
    )
    [warning, _] = result.stderr.splitlines()
    assert warning.startswith("warning: ")
    assert "suite.yaml: comments are not kept: " in warning
    assert "two gradients" not in Path("matched.yaml").read_text(encoding="utf-8")
    assert suites.load("matched.yaml") == edited


@pytest.mark.parametrize("name", suites.bundled())
def test_bundled_suites_are_matched_alike_with_and_without_their_comments(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = {(spec.workload_label, spec.method.partition(" (")[0]): spec for spec in suites.load(name).specs}
    prices = {pair: 1.0 + number % 3 for number, pair in enumerate(specs)}
    document, out, lost = yaml_source.read(suites.find(name)), tmp_path / "matched.yaml", list[str]()
    edited = matched_suite(document, specs, prices, out, lost.append)
    monkeypatch.setattr(writer, "edited", lambda text, content: None)
    dumped = matched_suite(document, specs, prices, out)
    assert (lost, edited == dumped) == ([], False)
    found = []
    for text in (edited, dumped):
        out.write_text(text, encoding="utf-8")
        found.append(suites.load(out))
    assert found[0] == found[1]


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("{optimizer: sgd, sweep: {lr: [0.1, 0.2]}}", "a swept method has no epochs of its own"),
        ('{optimizer: "STUBS:Idle"}', "what a step takes cannot be found out"),
        ("{optimizer: nothing}", "nothing"),
    ],
)
def test_what_cannot_be_matched_is_said_in_a_line(write_suite: Callable[..., Path], method: str, said: str) -> None:
    result = match(write_suite(SUITE.replace("{optimizer: sgd, lr: 0.1}", method)))
    assert result.exit_code == 2
    assert said in result.stderr
    assert not Path("matched.yaml").exists()


@pytest.mark.usefixtures("workplace")
def test_the_suite_itself_is_not_overwritten(write_suite: Callable[..., Path]) -> None:
    path = write_suite(SUITE)
    before = path.read_text()
    result = match(path, str(path))
    assert result.exit_code == 2
    assert "write to another file" in result.stderr
    assert path.read_text() == before
