"""Workloads: data, model and loss; what a workload must offer to the trainer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from benchbench.streams import Streams
from benchbench.values import Metrics


@dataclass(frozen=True)
class Setup:
    """What the harness gives to every workload.

    Attributes:
        device: Where model and data shall lie.
        batch_size: Examples per step.
        streams: The run's random streams; a workload draws from no other source.
    """

    device: torch.device
    batch_size: int
    streams: Streams


class Task(Protocol):
    """A workload set up for one run.

    Attributes:
        model: The network; all its parameters go to the optimizer.
        steps_per_epoch: Number of batches that `batches` yields.
        selection_metric: Metric of the validation split that chooses the best epoch, such as `accuracy`.
        higher_is_better: Direction of that metric.
    """

    model: nn.Module
    steps_per_epoch: int
    selection_metric: str
    higher_is_better: bool

    def batches(self, epoch: int) -> Iterator[Any]:
        """Yield the batches of an epoch (from 1), the same ones for the same seed and epoch."""
        ...

    def loss(self, batch: Any) -> Tensor:
        """Return the training loss on a batch: a scalar with its graph, the mean over the examples."""
        ...

    def evaluate(self, split: str) -> Metrics:
        """Return metrics by name on the split `validation` or `test`, the model in evaluation mode."""
        ...


def nothing_missing(**_parameters: Any) -> str | None:
    """Say that a workload needs nothing that could be missing."""
    return None


@dataclass(frozen=True)
class Workload:
    """A workload as it is registered.

    Attributes:
        build: `build(setup, *, name=default, ...) -> Task`; its keyword-only parameters can be set in a suite, and
            its docstring is shown by `benchbench show`.
        missing: Called with the same keyword arguments before any run starts; returns what is missing (data that
            has to be brought, and how) in one line, or `None`.
    """

    build: Callable[..., Task]
    missing: Callable[..., str | None] = nothing_missing
