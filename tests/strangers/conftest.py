"""A suite with one workload that takes milliseconds, and optimizers from a file next to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.command_line import call

TASK = """
import torch
from torch import nn
from benchbench.workloads import Setup, Workload
from benchbench.workloads.classification import Split, TensorClassification


def split(n, seed):
    x = torch.randn(n, 5, generator=torch.Generator().manual_seed(seed))
    return Split(x, (x.sum(1) > 0).long())


def build(setup: Setup):
    model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 2))
    return TensorClassification(setup, model, split(24, 1), {"validation": split(8, 2), "test": split(8, 3)})


small = Workload(build)
"""


@dataclass(frozen=True)
class Outcome:
    """What a command printed, and the results of its runs by method."""

    exit_code: int
    stdout: str
    stderr: str
    results: dict[str, dict[str, Any]]

    @property
    def errors(self) -> list[str]:
        return [line for line in self.stderr.splitlines() if line.startswith("error: ")]


Command = Callable[..., Outcome]


@pytest.fixture
def command(workplace: Path) -> Command:
    """A function that writes optimizers and a suite with methods, and runs a command on it."""
    (workplace / "task.py").write_text(TASK)

    def run(code: str, methods: dict[str, Any], *arguments: str, workload: dict[str, Any] | None = None) -> Outcome:
        (workplace / "mine.py").write_text("import torch\n" + code)
        entry = {"workload": "task.py:small", "epochs": 2, "batch_size": 8, **(workload or {})}
        suite = {"name": "strangers", "seeds": [0], "workloads": {"small": entry}, "methods": methods}
        (workplace / "suite.yaml").write_text(json.dumps(suite))  # JSON is YAML
        chosen = arguments or ("run", "suite.yaml", "--engine", "inline", "--json")
        done = call(*chosen)
        printed = json.loads(done.stdout) if done.stdout.startswith("{") else {}
        results = {each["spec"]["method"]: each["result"] for each in printed.get("runs", [])}
        return Outcome(done.exit_code, done.stdout, done.stderr, results)

    return run
