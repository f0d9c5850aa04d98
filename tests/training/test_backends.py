"""What a suite asks of torch's backends, shown through the command."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from typer.testing import Result

from tests.helpers.command_line import call

PLUGIN = """
import torch

class Scattering(torch.optim.SGD):
    def step(self, closure=None):
        torch.zeros(3).put_(torch.tensor([0]), torch.ones(1))  # has no deterministic algorithm
        return super().step(closure)
"""

LACKING = "put_ does not have a deterministic implementation"

SUITE = """
name: scattered
title: Scattered
seeds: [0]
workloads:
  line: {workload: "STUBS:line", epochs: 1, batch_size: 8}
methods:
  Ours: {category: Other, optimizer: "PLUGIN:Scattering", lr: 0.1, deterministic: WANTED}
"""


@pytest.fixture
def run(write_suite: Callable[..., Path], workplace: Path) -> Callable[[str], Result]:
    def run(wanted: str) -> Result:
        (workplace / "ours.py").write_text(PLUGIN)
        suite = write_suite(SUITE.replace("PLUGIN", str(workplace / "ours.py")).replace("WANTED", wanted))
        return call("run", str(suite), "--engine", "inline", "--devices", "cpu", "--json")

    return run


@pytest.mark.parametrize(("wanted", "outcome"), [("true", "failed"), ("warn", "finished"), ("false", "finished")])
def test_an_operation_without_a_deterministic_algorithm(
    run: Callable[[str], Result], wanted: str, outcome: str
) -> None:
    warned = pytest.warns(UserWarning, match=LACKING) if wanted == "warn" else nullcontext()
    with warned:
        [found] = json.loads(run(wanted).stdout)["runs"]
    assert found["result"]["outcome"] == outcome
    if outcome == "failed":
        assert LACKING in found["result"]["message"]
    assert found["result"]["environment"].get("deterministic") == {"warn": "warn", "true": None, "false": None}[wanted]


@pytest.mark.parametrize("wanted", ["warning", "2", '"on "'])
def test_another_word_is_refused_in_one_line(run: Callable[[str], Result], wanted: str) -> None:
    refused = run(wanted)
    assert refused.exit_code == 2
    [line] = refused.stderr.strip().splitlines()
    assert "deterministic" in line
    assert "warn" in line
