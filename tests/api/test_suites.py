"""A suite is read, then checked once by the function that starts its runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchbench import api, checks
from benchbench.problems import BadInputError
from tests.helpers.command_line import call
from tests.helpers.suites import line, suite

SUITE = suite(workloads={"w": line(epochs=1, steps=2)}, methods={"A": {"optimizer": "adamw"}})

COUNTED = """
from pathlib import Path

import torch

LOG = Path(__file__).with_name("log.txt")

class Counted(torch.optim.SGD):
    def __init__(self, params, lr=0.1):
        note("made")
        super().__init__(params, lr=lr)

    def step(self, closure=None):
        note("stepped")
        return super().step(closure)

def note(word):
    with LOG.open("a") as log:
        log.write(word + chr(10))
"""


def test_all_that_is_wrong_with_the_file_is_said_at_once_and_before_what_plugins_say(
    write_suite: Callable[..., Path],
) -> None:
    path = write_suite(
        SUITE.replace("{optimizer: adamw}", "{optimizer: adamw, lrr: 1, betas: .nan}\n  B: {lr: 1}\ntitel: x")
    )
    with pytest.raises(BadInputError) as caught:
        api.run(api.load_suite(path, only=["seed=5"]))
    assert [(problem.file, problem.line, problem.field) for problem in caught.value.problems] == [
        ("--only", None, "seed"),
        (str(path), 6, "methods.A.betas"),
        (str(path), 7, "methods.B.optimizer"),
        (str(path), 8, "titel"),
    ]


@pytest.mark.parametrize("start", [api.check, api.plan, api.run, api.measure])
def test_only_what_is_selected_needs_its_plugins(
    start: Callable[..., object], write_suite: Callable[..., Path], workplace: Path
) -> None:
    path = write_suite(SUITE.replace("{optimizer: adamw}", "{optimizer: adamw}\n  B: {optimizer: not_installed}"))
    with pytest.raises(BadInputError, match="unknown optimizer 'not_installed'"):
        start(api.load_suite(path))
    assert not (workplace / ".benchbench").exists()
    api.check(api.load_suite(path, only=["method=A"]))


@pytest.mark.parametrize("start", [api.run, api.measure])
def test_arguments_that_there_are_not_are_refused_before_anything_runs(
    start: Callable[..., object], write_suite: Callable[..., Path], workplace: Path
) -> None:
    path = write_suite(SUITE)
    for name in ("tracking_uri", "slot", "checked"):
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
            start(path, engine="inline", **{name: "sqlite:///elsewhere.db"})
    assert not list(workplace.glob(".benchbench/runs/*/result.json"))


def test_the_bundled_digits_can_run() -> None:
    api.check(api.load_suite("digits"))


def test_data_that_may_be_missing_are_no_problem(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(
        "name: x\nseeds: [0]\nworkloads:\n  w: {workload: image-classification, dataset: mnist, model: mlp, epochs: 1, "
        "batch_size: 8}\nmethods:\n  A: {optimizer: sgd, lr: 0.1}\n"
    )
    loaded, workspace = api.load_suite(path), api.Workspace(data=tmp_path)
    with pytest.raises(BadInputError, match="MNIST is not there"):
        api.check(loaded, workspace=workspace)
    assert [item.state for item in api.plan(loaded, workspace=workspace)] == ["to run"]


@pytest.mark.slow
def test_a_command_checks_its_suite_once(workplace: Path, write_suite: Callable[..., Path]) -> None:
    (workplace / "counted.py").write_text(COUNTED)
    path = write_suite(SUITE.replace("adamw", "counted.py:Counted"))
    log = workplace / "log.txt"

    def noted(action: Callable[[], object]) -> list[str]:
        log.write_text("")
        action()
        return log.read_text().split()

    def command(*arguments: str) -> list[str]:
        return noted(lambda: call(arguments[0], path, *arguments[1:]))

    loaded = api.load_suite(path)
    checking, remarking = noted(lambda: api.check(loaded)), noted(lambda: checks.remarks(loaded))
    assert {"made", "stepped"} <= {*checking}
    assert command("plan", "--runs") == checking + remarking
    trained = command("run", "--engine", "inline")
    assert trained[: len(checking + remarking)] == checking + remarking
    assert trained[len(checking + remarking) :] == ["made", "stepped", "stepped"]
    assert command("run", "--engine", "inline") == checking + remarking
    command("sharpness", "--engine", "inline")
    assert command("sharpness", "--engine", "inline") == checking + remarking
    assert command("status") + command("report") + command("collect") == []
