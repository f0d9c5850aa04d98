"""Everything that can be known of a suite is said before its first run, at the line where it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchbench import checks
from benchbench.problems import BadInputError
from tests.checks.suite_with_code import Write, problems


def test_a_good_suite_has_no_problems(write: Write) -> None:
    assert problems(write("{optimizer: adamw}", "{optimizer: AdamW, lr: 1, betas: [0, 0.9], foreach: null}")) == []


def test_what_the_command_line_sets_is_named(write: Write) -> None:
    (found,) = problems(write(), "methods.A.lr=-1")
    assert found.startswith("--set: methods.A.lr: adamw cannot be constructed: ")


def test_all_that_is_wrong_with_the_file_is_said_at_once_and_before_what_plugins_say(write: Write) -> None:
    path = write("{optimizer: adamw}", "{optimizer: adamw, lrr: 1, betas: .nan}\n  B: {lr: 1}\ntitel: x")
    with pytest.raises(BadInputError) as caught:
        checks.load(path, only=["seed=5"])
    assert [(problem.file, problem.line, problem.field) for problem in caught.value.problems] == [
        ("--only", None, "seed"),
        (str(path), 6, "methods.A.betas"),
        (str(path), 7, "methods.B.optimizer"),
        (str(path), 8, "titel"),
    ]


def test_only_what_is_selected_needs_its_plugins(write: Write) -> None:
    path = write("{optimizer: adamw}", "{optimizer: adamw}\n  B: {optimizer: not_installed}")
    assert len(checks.load(path, only=["method=A"]).specs) == 2
    with pytest.raises(BadInputError, match="unknown optimizer 'not_installed'"):
        checks.load(path)
    with pytest.raises(BadInputError, match="cannot be read"):
        checks.load(path.with_name("no.yaml"))


def test_the_bundled_digits_can_run() -> None:
    assert checks.load("digits").specs


def test_data_that_may_be_missing_are_no_problem(tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text(
        "name: x\nseeds: [0]\nworkloads:\n  w: {workload: image-classification, dataset: mnist, model: mlp, epochs: 1, "
        "batch_size: 8}\nmethods:\n  A: {optimizer: sgd, lr: 0.1}\n"
    )
    with pytest.raises(BadInputError, match="MNIST is not there"):
        checks.load(tmp_path / "suite.yaml", data=tmp_path)
    assert len(checks.load(tmp_path / "suite.yaml", data=tmp_path, may_be_missing=True).specs) == 1
