"""The share of a search's trials that come near its best one, as a table and through the command."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from benchbench.reporting.table import Table
from benchbench.tuning.best_of import search_robustness_table
from benchbench.values import RunResult, RunSpec
from tests.helpers.command_line import call
from tests.tuning.simulated_search import result, search, study

SPACE = {"lr": {"uniform": [0.0, 1.0]}}


def table_of(tuning: dict[str, object], answer: Callable[[RunSpec], RunResult], within: float = 5) -> Table:
    status, _ = search(study(SPACE, {"finalists": {"count": 1, "seeds": [7]}, **tuning}), answer)
    return search_robustness_table("Made up", [status], within)


def lr(spec: RunSpec) -> float:
    return float(str(spec.optimizer.parameters["lr"]))


def test_the_share_of_an_evenly_searched_space_is_shown() -> None:
    # Quasi-random trials lie evenly: about half of them below 0.5, where the accuracy is within 5 % of the best.
    table = table_of({"budget": {"trials": 32}}, lambda spec: result(spec, 0.8 if lr(spec) < 0.5 else 0.5))
    [line] = table.rows
    assert [cell.text for cell in line.cells[:3]] == ["32", "80.00", "50 %"]


def test_losses_and_trials_that_broke() -> None:
    def answer(spec: RunSpec) -> RunResult:
        if lr(spec) < 0.25:
            return result(spec, 0.0, outcome="diverged")
        loss = {"selection_metric": "validation/loss", "higher_is_better": False}
        value = 1.0 if lr(spec) < 0.5 else 1.04 if lr(spec) < 0.75 else 1.06
        return result(spec, value, **loss, final={"validation/loss": value})

    [line] = table_of({"budget": {"trials": 32}}, answer).rows
    assert (line.cells[1].text, line.cells[2].text) == ("1.000", "50 %")
    [line] = table_of({"budget": {"trials": 32}}, answer, within=10).rows
    assert line.cells[2].text == "75 %"


def test_a_sampler_that_learns_says_nothing_about_the_space() -> None:
    pytest.importorskip("optuna")
    table = table_of({"budget": {"trials": 12}, "sampler": "tpe"}, lambda spec: result(spec, lr(spec)))
    assert table.rows[0].cells[0].text == "*"
    assert any("tpe tries more where results are good" in note for note in table.notes)


SUITE = """
name: lines
seeds: [0]
tuning: {budget: {trials: TRIALS}, finalists: {count: 1, seeds: [7]}}
workloads:
  line: {workload: "STUBS:line", epochs: 1, batch_size: 8}
methods:
  One: {optimizer: sgd, search: {lr: {log_uniform: [1e-3, 1]}}}
"""


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize(
    ("trials", "shown"), [(10, r"10 +\S+ +\d+ % +(\d+ to \d+ %|no spread)"), (4, r"4 +\S+ +n < 10")]
)
def test_tune_shows_the_share_or_why_there_is_none(write_suite: Callable[..., Path], trials: int, shown: str) -> None:
    path = write_suite(SUITE.replace("TRIALS", str(trials)))
    ran = call("tune", path, "--engine", "inline", "--set", "robust_within=20")
    assert ran.exit_code == 0, ran.output
    assert "Robustness to what is searched" in ran.stdout
    assert "within 20 %" in ran.stdout
    assert re.search(rf"line +One +{shown}", ran.stdout), ran.stdout
