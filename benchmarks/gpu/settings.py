"""Sizes of the measurements, and the runs that they make."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchbench.devices import use
from benchbench.plugins.factories import Factories
from benchbench.runs.folder import RunFolder
from benchbench.training.steps import Training
from benchbench.training.trainer import run_in_folder
from benchbench.values import RunResult, RunSpec
from benchmarks.pretend_cuda import METHODS

DATA = Path("data")
"""Nothing is read there: all images are made up."""


@dataclass(frozen=True)
class Scale:
    """Sizes of the measurements.

    Attributes:
        device: What is measured.
        batch_size: Images per step.
        examples: Images per epoch.
        epoch_examples: Images per epoch where seconds per epoch are measured.
        period: Steps that are timed at once; between two Hessians there are ten.
        rounds: How often variants take turns.
        methods: Optimizers that are measured one by one.
        most_runs: Runs at a time on one device.
        is_rehearsal: Whether this is the CPU, of which no figure says anything about a GPU.
    """

    device: torch.device
    batch_size: int = 256
    examples: int = 5120
    epoch_examples: int = 50_000
    period: int = 10
    rounds: int = 5
    methods: tuple[str, ...] = tuple(METHODS)
    most_runs: int = 4
    is_rehearsal: bool = False

    def spec(self, method: str, *, execution: dict[str, Any] | None = None, **changes: Any) -> RunSpec:
        """Return a run of a method on images of CIFAR-10's shape.

        Args:
            method: An entry of `METHODS`.
            execution: Settings of how gradients are computed.
            changes: `model`, `examples`, or any field of a spec.
        """
        model = changes.pop("model", "resnet20")
        images = {"dataset": "cifar10", "model": model, "examples": changes.pop("examples", self.examples)}
        return RunSpec.model_validate(
            {
                "suite": "gpu",
                "method": method,
                "workload_label": model,
                "workload": {"target": "image-classification", "parameters": images},
                "optimizer": {"target": method, "parameters": METHODS[method]},
                "epochs": 1,
                "batch_size": self.batch_size,
                "seed": 0,
                "synthetic": True,
                "protocol": "paper",
                "execution": execution or {},
                **changes,
            }
        )

    def training(self, method: str, **changes: Any) -> Steps:
        """Return a training of a run, ready to make steps."""
        spec = self.spec(method, **changes)
        return Steps(Training(spec, Factories.of(spec), self.device, DATA))

    def run(self, spec: RunSpec) -> RunResult:
        """Return the result of a run in a folder that is removed afterwards."""
        with tempfile.TemporaryDirectory() as folder:
            return run_in_folder(spec, self.device, RunFolder(Path(folder)))


def on(device: torch.device) -> Scale:
    """Return the scale of a device: on the CPU, a rehearsal."""
    if use.is_accelerator(device):
        return Scale(device)
    return Scale(
        device,
        batch_size=4,
        examples=16,
        epoch_examples=16,
        period=2,
        rounds=1,
        methods=("sgd", "sassha"),
        most_runs=2,
        is_rehearsal=True,
    )


class Steps:
    """A training whose batches never end.

    Args:
        training: The training.
    """

    def __init__(self, training: Training) -> None:
        self.training = training
        self._batches = self._endless()

    def _endless(self) -> Iterator[Any]:
        epoch = 1
        while True:
            yield from self.training.task.batches(epoch)
            epoch += 1

    def step(self) -> bool:
        """Make a step; return whether it had a Hessian-vector product."""
        before = self.training.ledger.hvps
        self.training.step(next(self._batches))
        return self.training.ledger.hvps > before

    def batch(self) -> Any:
        """Return the next batch."""
        return next(self._batches)


def timed(device: torch.device, work: Callable[[], object]) -> float:
    """Return the seconds that a device takes for some work, which has to be done at the end."""
    use.synchronise(device)
    started = time.perf_counter()
    work()
    use.synchronise(device)
    return time.perf_counter() - started
