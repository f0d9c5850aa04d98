"""Workloads: data, model and loss; what a workload must offer to the trainer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from benchbench import values
from benchbench.values import Metrics
from benchbench.workloads.streams import Streams

DATA = Path("data")
"""Default folder of data sets, below the current one."""


@dataclass(frozen=True)
class Setup:
    """The harness's part of a workload: device, random streams, batch size and folder of data.

    Attributes:
        device: Where model and data must be.
        batch_size: Examples per step.
        streams: The run's random streams; a workload draws from no other source.
        protocol: With `holdout`, a part of the training data becomes the split `validation`; with `paper`, there is no
            such split.
        data: The folder in which data sets lie.
        synthetic: Whether to make up data that can be learnt, of the same shapes, instead.
        drop_last: Whether an epoch leaves out a last batch that is smaller than the others.
    """

    device: torch.device
    batch_size: int
    streams: Streams
    protocol: values.Protocol = "holdout"
    data: Path = DATA
    synthetic: bool = False
    drop_last: bool = False

    def steps(self, examples: int) -> int:
        """Return the number of batches of an epoch over so many examples.

        Raises:
            ValueError: There is none.
        """
        steps = examples // self.batch_size if self.drop_last else -(-examples // self.batch_size)
        if not steps:
            raise ValueError(f"{examples} training examples make no batch of {self.batch_size}")
        return steps

    def kept(self, order: Tensor) -> Tensor:
        """Return the examples of an epoch, in their order, without those that `drop_last` leaves out."""
        return order[: self.steps(len(order)) * self.batch_size]


class Task(Protocol):
    """A workload set up for one run.

    A task whose parameters must not all be treated alike also has a method `parameters()`, which returns what goes to
    the optimizer: parameters or parameter groups. Without it, that is all parameters of the model. One whose parameters
    have other roles than `benchbench.optim.roles` finds has `roles`: roles by name or pattern. One whose data are not
    decided by the spec alone also has `environment`: plain text by name that becomes part of the result's.
    With `examples_per_epoch`, the number of training examples, the size of the last batch is known beforehand.
    With `tokens_per_epoch`, the result's environment says how many tokens were trained on per second.

    Sharpness is measured on what `fixed_batches(examples)` yields: training examples, not augmented, in a mixed order
    that is the same for every run; the first `examples` of them, or all for `None`; in batches of `Setup.batch_size`
    that `loss` takes. Without it, the batches of epoch 1 are taken.

    Attributes:
        model: The network. It trains in the modes that its parts are handed out in; if all are in evaluation mode, as
            loaders of pretrained weights leave them, all are set to training mode.
        steps_per_epoch: Number of batches that `batches` yields.
        selection_metric: Metric that chooses the best epoch, such as `accuracy`.
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
        """Return metrics by name on a split, `loss` and the selection metric among them.

        The harness has set the model to evaluation mode, and puts modes and buffers back afterwards.

        Args:
            split: `test`, or with the protocol `holdout` also `validation`.
        """
        ...


def as_number(name: str, value: object) -> float:
    """Return a metric's value as a float.

    Args:
        name: Its name, for the message.
        value: A number, or a tensor or an array with one entry.

    Raises:
        TypeError: It is something else.
    """
    try:
        entries = value.numel() if isinstance(value, Tensor) else getattr(value, "size", 1)
        if entries == 1 and not isinstance(value, str | bytes):
            return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):  # foreign objects, for which the message below holds too
        pass
    raise TypeError(f"the metric {name!r} must be one number, got {type(value).__name__} {str(value)[:40]}")


def set_training_mode(model: nn.Module) -> None:
    """Set a model to training mode; the parts that its author has frozen stay in evaluation mode.

    Loaders of pretrained weights hand models out in evaluation mode as a whole: such a model is set to training mode.
    """
    if not any(module.training for module in model.modules()):
        model.train()


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Set a model to evaluation mode inside; afterwards each of its parts has the mode that it had before."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def fixed_order(count: int) -> Tensor:
    """Return the numbers below `count` in a mixed order, the same for every run, as a tensor on the CPU."""
    return torch.randperm(count, generator=Streams(0).generator("fixed order"))


def nothing_missing(_data: Path, **_parameters: Any) -> str | None:
    """Say that a workload needs nothing that could be missing."""
    return None


def unknown_examples(_setup: Setup, **_parameters: Any) -> int | None:
    """Return `None`: the number of training examples is not known without reading them."""
    return None


def nothing_to_prepare(_data: Path, **_parameters: Any) -> None:
    """Prepare nothing."""


@dataclass(frozen=True)
class Workload:
    """A workload as it is registered.

    Attributes:
        build: `build(setup, *, name=default, ...) -> Task`; its keyword-only parameters can be set in a suite, and
            its docstring is shown by `benchbench show`.
        missing: Called as `missing(data, **keywords)`, with the data folder and the same keyword arguments, before
            any run starts; returns in one line what is missing, where it was looked for and, after `; `, how to
            bring it, or `None`.
        prepare: Called in the same way by `benchbench prepare`: downloads what is missing, and verifies it.
        synthetic: Whether it can make up its data. One that cannot is always run on its own.
        examples: Called as `examples(setup, **keywords)` before any run starts; returns the number of training
            examples, or `None` where they would have to be read to know it.
        trial: Whether `plan` and `run` may set it up and try it before the first run. They do so in their own process;
            leave it out for one that takes long to set up, or whose set-up has effects elsewhere.
    """

    build: Callable[..., Task]
    missing: Callable[..., str | None] = nothing_missing
    prepare: Callable[..., None] = nothing_to_prepare
    synthetic: bool = False
    examples: Callable[..., int | None] = unknown_examples
    trial: bool = True
