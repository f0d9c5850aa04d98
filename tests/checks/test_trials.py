"""A workload that breaks a promise is named before the first run, by `check`, `plan` and `run` alike."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import Result

from benchbench.checks.conformance import workloads as conformance
from tests.helpers import command_line

TASKS = Path(__file__).with_name("broken_workloads.py")

BROKEN = {
    "undirected": "lacks `higher_is_better`: the direction of its selection metric: True if more is better, False if",
    "stepless": "`steps_per_epoch` must be the number of batches of an epoch, an integer from 1 (got '0')",
    "miscounting": "`steps_per_epoch` is 4, and batches(1) yields 3",
    "shuffled": "batch 1 of epoch 1 differs between two runs with the same seed: draw from `setup.streams`",
    "initialised": "two models with the same seed begin with different weights: draw from `setup.streams`",
    "seeding": "moves the global generator of NumPy: draw from `setup.streams`",
    "listing": "evaluate('validation') must return metrics by name, got list",
    "nothing": "evaluate('validation'): the metric 'accuracy' must be a number, got 'None'",
    "othermetric": "evaluate('validation') has no metric 'f1' (found loss, accuracy)",
    "testonly": "evaluate('validation'): KeyError: 'validation'",
    "training": "evaluate('validation') changes the weights",
    "differentiating": "loss(batch): TypeError: the closure must not call backward()",
    "vector": "loss(batch): TypeError: the closure must return the loss as a scalar",
    "infinite": "the loss of the first batch is inf at the initial weights",
    "unrelated": "its loss depends on no parameter of its model",
    "failing": "cannot be set up: RuntimeError: no such host",
    "normalised": "the last batch of an epoch has one example, on which the model does not train (ValueError: Expected",
    "standardised": "the last batch of an epoch has one example, on which the model does not train (its loss is nan)",
    "forgetful": "a fresh model with the state of the trained one has another loss",
}


def call(*arguments: str) -> Result:
    return command_line.call(*arguments, COLUMNS="1000")


def write(folder: Path, workload: str, method: str = "optimizer: sgd, lr: 0.1") -> str:
    path = folder / "suite.yaml"
    path.write_text(
        f"name: trial\nseeds: [0, 1]\nworkloads:\n  w: {{{workload}, epochs: 1}}\nmethods:\n  SGD: {{{method}}}\n"
    )
    return str(path)


@pytest.mark.parametrize("name", BROKEN)
def test_check_names_the_promise_that_is_broken(name: str) -> None:
    result = call("check", f"{TASKS}:{name}", "--json")
    assert result.exit_code == 1
    reasons = [each["reason"] for each in json.loads(result.stdout) if each["grade"] == "FAIL"]
    assert any(BROKEN[name] in reason for reason in reasons), reasons


@pytest.mark.parametrize("name", ["task", "dictionary"])
def test_what_is_right_passes(name: str) -> None:
    result = call("check", f"{TASKS}:{name}")
    assert result.exit_code == 0, result.stdout
    assert not [line for line in result.stdout.splitlines() if not line.startswith("ok")]


@pytest.mark.parametrize("name", ["undirected", "shuffled", "nothing", "normalised"])
@pytest.mark.parametrize("command", ["plan", "run"])
def test_plan_and_run_say_it_before_the_first_run(name: str, command: str, workplace: Path) -> None:
    path = write(workplace, f'workload: "{TASKS}:{name}", batch_size: 32')
    result = call(command, path)
    assert result.exit_code == 2
    lines = [line for line in result.stderr.splitlines() if BROKEN[name] in line]
    assert len(lines) == 1, result.stderr
    assert "suite.yaml:4: workloads.w." in lines[0]
    assert not (workplace / ".benchbench").exists()


def test_dropping_the_last_batch_is_the_remedy(workplace: Path) -> None:
    path = write(workplace, f'workload: "{TASKS}:normalised", batch_size: 32, drop_last: true')
    result = call("run", path, "--engine", "inline", "--json")
    assert result.exit_code == 0, result.stderr
    [file, _] = workplace.glob(".benchbench/runs/*/result.json")
    assert json.loads(file.read_text())["cost"]["steps"] == 2
    stubborn = call("plan", write(workplace, f'workload: "{TASKS}:stubborn", batch_size: 32, drop_last: true'))
    assert stubborn.exit_code == 2
    assert "`drop_last` is set, and a batch has 1 of 32 examples" in stubborn.stderr


@pytest.mark.parametrize(
    ("workload", "method", "said"),
    [
        ("batch_size: 16, accumulate: 16", "optimizer: sgd", "a part of a batch has one example"),
        ("batch_size: 22, accumulate: 11", "optimizer: sgd", "a part of the last batch of an epoch has one example"),
        ("batch_size: 13", "optimizer: sgd, accumulate: 13", "a part of a batch has one example"),
        ("batch_size: 13", "optimizer: sgd", ""),
        ("batch_size: 130, drop_last: true", "optimizer: sgd", "65 training examples make no batch of 130"),
    ],
)
def test_parts_of_one_example_are_refused(workload: str, method: str, said: str, workplace: Path) -> None:
    result = call("plan", write(workplace, f'workload: "{TASKS}:normalised", {workload}', method))
    assert result.exit_code == (2 if said else 0), result.stderr
    assert said in result.stderr


def test_a_network_of_ones_own_on_bundled_data_is_tried_where_a_batch_has_one_example(workplace: Path) -> None:
    (workplace / "mine.py").write_text(
        "from torch import nn\n"
        "def net(*, classes, channels, image_size):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(channels * image_size**2, 4), nn.BatchNorm1d(4),\n"
        "                         nn.Linear(4, classes))\n"
    )
    common = 'workload: image-classification, dataset: mnist, model: "mine.py:net", synthetic: true, examples: 33'
    result = call("plan", write(workplace, f"{common}, batch_size: 16"))
    assert result.exit_code == 2
    assert "workloads.w.batch_size: image-classification: the last batch of an epoch has one example" in result.stderr
    assert "set `drop_last: true`, or another `batch_size`" in result.stderr
    assert call("plan", write(workplace, f"{common}, batch_size: 16, drop_last: true")).exit_code == 0


def test_runs_that_keep_the_last_batch_have_the_keys_that_they_had(workplace: Path) -> None:
    keys = []
    for more in ("", ", drop_last: false", ", drop_last: true"):
        result = call("plan", write(workplace, f"workload: digits-mlp, batch_size: 64{more}"), "--json", "--runs")
        keys.append([run["key"] for run in json.loads(result.stdout)["runs"]])
    assert keys[0] == keys[1] != keys[2]


def test_what_comes_with_benchbench_is_not_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    monkeypatch.setattr(
        conformance, "verdicts", lambda spec, *args, **options: tried.append(spec.workload.target) or iter(())
    )
    assert call("plan", write(tmp_path, "workload: digits-mlp, batch_size: 32")).exit_code == 0
    assert tried == []
    foreign = "tests.helpers.stub_plugins:line"
    assert call("plan", write(tmp_path, f'workload: "{foreign}", batch_size: 8')).exit_code == 0
    assert tried == [foreign]
