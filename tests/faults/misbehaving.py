"""Workloads that misbehave towards their machine; suites name them as `tests/faults/misbehaving.py:attribute`."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from benchbench.workloads import Setup, Workload
from tests.stubs import LineTask


class Hungry(LineTask):
    """Asks for more memory than its process may have."""

    def batches(self, epoch: int) -> Iterator[Tensor]:
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (used + 2**30, used + 2**30))
        yield torch.ones(2**33)


class Flooding(LineTask):
    """Prints a mebibyte with every batch."""

    def batches(self, epoch: int) -> Iterator[Tensor]:
        for number, batch in enumerate(super().batches(epoch)):
            print("x" * 2**20)
            print(f"batch {number} of epoch {epoch}", flush=True)
            yield batch


class Stubborn(LineTask):
    """Hears of no stop for an hour."""

    def loss(self, batch: Tensor) -> Tensor:
        time.sleep(3600)
        return super().loss(batch)


hungry = Workload(Hungry)


def _flooding(setup: Setup, *, steps: int = 4, pause: float = 0.0) -> LineTask:
    return Flooding(setup, steps, pause)


flooding = Workload(_flooding)
stubborn = Workload(Stubborn)
