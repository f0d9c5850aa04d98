"""A workload that sleeps instead of computing, for suites that measure engines: `benchmarks/sleepers.py:sleeper`."""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from benchbench.values import Metrics
from benchbench.workloads import Setup, Workload

PAUSE = 0.05
"""Seconds of a step; an epoch has one."""


class Sleeper:
    """A line that is fitted in its sleep."""

    selection_metric = "loss"
    higher_is_better = False
    steps_per_epoch = 1

    def __init__(self, setup: Setup) -> None:
        self.model: nn.Module = nn.Linear(1, 1).to(setup.device)

    def batches(self, epoch: int) -> Iterator[Tensor]:
        """Yield one batch after a pause."""
        time.sleep(PAUSE)
        yield torch.full((1, 1), float(epoch))

    def loss(self, batch: Tensor) -> Tensor:
        """Return the squared output."""
        return self.model(batch).square().mean() * 1e-6

    def evaluate(self, split: str) -> Metrics:
        """Return a constant."""
        return {"loss": 1.0}


def build(setup: Setup) -> Sleeper:
    """Sleep."""
    return Sleeper(setup)


sleeper = Workload(build, trial=False)
