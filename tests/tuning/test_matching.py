"""Matched compute: epochs by what a step takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from benchbench import suite as suites
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
