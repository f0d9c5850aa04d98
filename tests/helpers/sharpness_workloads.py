"""Workloads for tests of sharpness, named in suites as `FILE:attribute`."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from benchbench.workloads import Setup, Workload
from benchbench.workloads.classification import Split, TensorClassification


def splits() -> dict[str, Split]:
    """Return noise of three dimensions in two classes: 20 examples for training, 8 for the rest."""
    generator = torch.Generator().manual_seed(0)
    return {
        name: Split(torch.randn(count, 3, generator=generator), torch.randint(0, 2, (count,), generator=generator))
        for name, count in (("train", 20), ("validation", 8), ("test", 8))
    }


def build_small(setup: Setup, *, norm: bool = False) -> TensorClassification:
    """Classify with one layer of eight weights; `norm` puts batch norm and dropout before it."""
    before = [nn.BatchNorm1d(3), nn.Dropout(0.5)] if norm else []
    parts = splits()
    return TensorClassification(setup, nn.Sequential(*before, nn.Linear(3, 2)), parts.pop("train"), parts)


class Deadly(TensorClassification):
    """Kills the own process when its sharpness is measured for the first time."""

    marker: Path

    def fixed_batches(self, examples: int | None) -> Iterator[tuple[Tensor, Tensor]]:
        if not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        yield from super().fixed_batches(examples)


def build_deadly(setup: Setup, *, marker: str) -> Deadly:
    """Die while being measured, once."""
    parts = splits()
    task = Deadly(setup, nn.Linear(3, 2), parts.pop("train"), parts)
    task.marker = Path(marker)
    return task


small = Workload(build_small)
deadly = Workload(build_deadly, trial=False)
