"""Classification: cross-entropy and accuracy over data that lie on the device or are streamed to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchbench.values import Metrics
from benchbench.workloads import Setup, evaluation_mode, fixed_order
from benchbench.workloads.images import Source
from benchbench.workloads.images.tensors import RandomCrop, TensorSource
from benchbench.workloads.transfer import moved

Batch = tuple[Tensor, Tensor]
"""Inputs of shape (n, ...) and integer labels of shape (n,)."""


@dataclass(frozen=True)
class Labelled:
    """Inputs on their way to the device, and their labels of shape (n,)."""

    source: Source
    labels: Tensor


class Classification:
    """A classification task (`Task`).

    The order of an epoch and its augmentation come from the streams `order` and `augmentation` with the epoch as
    index; they are drawn for the whole epoch at once, per position in it. The last partial batch is kept unless
    `drop_last` is set.

    Args:
        setup: Device, batch size and random streams.
        model: Maps inputs to logits of shape (n, classes).
        train: Training data.
        held_out: Data of the other splits, `test` among them.
        constants: Metrics that are the same after every epoch and in every split.
    """

    selection_metric = "accuracy"
    higher_is_better = True

    def __init__(
        self,
        setup: Setup,
        model: nn.Module,
        train: Labelled,
        held_out: Mapping[str, Labelled],
        constants: Mapping[str, float] | None = None,
    ) -> None:
        self.model = model.to(setup.device)
        self._setup = setup
        self._train = train
        self._train_labels = train.labels.to(setup.device)
        self._held_out = {name: Labelled(each.source, each.labels.to(setup.device)) for name, each in held_out.items()}
        self._constants = dict(constants or {})
        self.examples_per_epoch = len(train.labels)
        self.steps_per_epoch = setup.steps(self.examples_per_epoch)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield the shuffled, augmented batches of an epoch."""
        streams, size = self._setup.streams, self._setup.batch_size
        # Drawn on the CPU, so that every device sees the same order.
        shuffled = torch.randperm(len(self._train_labels), generator=streams.generator("order", epoch))
        order = self._setup.kept(shuffled)
        inputs = self._train.source.training(order, size, streams.generator("augmentation", epoch))
        yield from zip(inputs, self._labels(order), strict=True)

    def fixed_batches(self, examples: int | None) -> Iterator[Batch]:
        """Yield training examples, not augmented, in the same order for every run (`Task`)."""
        order = fixed_order(len(self._train_labels))[:examples]
        inputs = self._train.source.chosen(order, self._setup.batch_size)
        yield from zip(inputs, self._labels(order), strict=True)

    def _labels(self, order: Tensor) -> tuple[Tensor, ...]:
        [on_device] = moved([order], self._setup.device)
        return torch.split(self._train_labels[on_device], self._setup.batch_size)

    def loss(self, batch: Batch) -> Tensor:
        """Return the mean cross-entropy of a batch."""
        inputs, labels = batch
        return F.cross_entropy(self.model(inputs), labels)

    @torch.no_grad()
    def evaluate(self, split: str) -> Metrics:
        """Return metrics of a held-out split.

        Returns:
            `loss` (mean cross-entropy), `accuracy` and, with more than ten classes, `top5_accuracy` (fractions).
        """
        data = self._held_out[split]
        with evaluation_mode(self.model):
            logits = torch.cat([self.model(inputs) for inputs in data.source.evaluation()])
        metrics = {
            "loss": F.cross_entropy(logits, data.labels).item(),
            "accuracy": (logits.argmax(1) == data.labels).double().mean().item(),
        }
        if logits.shape[1] > 10:
            hit = (logits.topk(5).indices == data.labels[:, None]).any(1)
            metrics["top5_accuracy"] = hit.double().mean().item()
        return metrics | self._constants


@dataclass(frozen=True)
class Split:
    """Inputs of shape (n, ...) and integer labels of shape (n,)."""

    inputs: Tensor
    labels: Tensor

    def joined_with(self, other: Split) -> Split:
        """Return this split followed by another."""
        return Split(torch.cat([self.inputs, other.inputs]), torch.cat([self.labels, other.labels]))


class TensorClassification(Classification):
    """A classification task over tensors, which lie on the device.

    Args:
        setup: Device, batch size and random streams.
        model: Maps inputs to logits of shape (n, classes).
        train: Training data.
        held_out: Data of the other splits, `test` among them.
        augment: How training images, of shape (n, channels, h, w), are cropped and mirrored, if at all.
    """

    def __init__(
        self,
        setup: Setup,
        model: nn.Module,
        train: Split,
        held_out: Mapping[str, Split],
        augment: RandomCrop | None = None,
    ) -> None:
        def on_device(split: Split, crop: RandomCrop | None = None) -> Labelled:
            return Labelled(TensorSource(split.inputs.to(setup.device), crop), split.labels)

        held = {name: on_device(split) for name, split in held_out.items()}
        super().__init__(setup, model, on_device(train, augment), held)
