"""Small tasks around a model, and a training of one, for tests of what the harness does with foreign models."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchbench.plugins.factories import Factories
from benchbench.runs.folder import RunFolder
from benchbench.training.steps import Training
from benchbench.training.trainer import run_in_folder
from benchbench.values import RunResult, RunSpec
from benchbench.workloads import DATA, Setup, Workload
from benchbench.workloads.classification import Split, TensorClassification
from tests.helpers.specs import run_spec

CPU = torch.device("cpu")


def split(count: int, seed: int) -> Split:
    """Eight numbers per example; the class is the sign of the first."""
    inputs = torch.randn(count, 8, generator=torch.Generator().manual_seed(seed))
    return Split(inputs, (inputs[:, 0] > 0).long())


def around(setup: Setup, model: nn.Module, task: type[TensorClassification] = TensorClassification) -> Any:
    return task(setup, model, split(96, 1), {"validation": split(40, 2), "test": split(40, 3)})


def workload(model: Callable[[], nn.Module], task: type[TensorClassification] = TensorClassification) -> Workload:
    return Workload(lambda setup: around(setup, model(), task))


def spec(target: str, optimizer: str = "sgd", epochs: int = 1, **parameters: Any) -> RunSpec:
    fields = {"epochs": epochs, "batch_size": 32, "execution": parameters.pop("execution", {})}
    return run_spec(optimizer, target, parameters={"lr": 0.1, **parameters}, **fields)


def training(target: str, optimizer: str = "sgd", **parameters: Any) -> Training:
    with torch.random.fork_rng(devices=[]):
        chosen = spec(target, optimizer, **parameters)
        return Training(chosen, Factories.of(chosen), CPU, DATA)


def trained(chosen: RunSpec, device: torch.device = CPU) -> RunResult:
    """Return the result of a run in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        result = run_in_folder(chosen, device, RunFolder(Path(folder)))
    assert result.conclusive, result.message
    return result


def here(file: str, name: str) -> str:
    """Return the target of a workload in a test's own file."""
    return f"{Path(file)}:{name}"
