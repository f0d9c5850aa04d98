"""Image classification with the whole data set lying on the device as one tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchbench.values import Metrics
from benchbench.workloads import Setup

Batch = tuple[Tensor, Tensor]
"""Inputs of shape (n, ...) and integer labels of shape (n,)."""

Augmentation = Callable[[Tensor, torch.Generator], Tensor]
"""Maps a batch of inputs to an augmented batch, drawing from the generator (on the inputs' device)."""

_EVALUATION_BATCH = 1024


@dataclass(frozen=True)
class Split:
    """Inputs of shape (n, ...) and integer labels of shape (n,)."""

    inputs: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> Split:
        """Return the split on `device`."""
        return Split(self.inputs.to(device), self.labels.to(device))

    def joined_with(self, other: Split) -> Split:
        """Return this split followed by another."""
        return Split(torch.cat([self.inputs, other.inputs]), torch.cat([self.labels, other.labels]))


def unchanged(inputs: Tensor, generator: torch.Generator) -> Tensor:
    """Augment nothing."""
    return inputs


def random_shift(pixels: int) -> Augmentation:
    """Return an augmentation that moves every image by up to `pixels` in each direction, zeros moving in.

    All images of a batch are shifted by one indexed gather.
    """

    def shift(images: Tensor, generator: torch.Generator) -> Tensor:
        count, channels, height, width = images.shape
        device = images.device
        padded = F.pad(images, (pixels, pixels, pixels, pixels))
        offsets = torch.randint(0, 2 * pixels + 1, (2, count, 1, 1, 1), generator=generator, device=device)
        image = torch.arange(count, device=device)[:, None, None, None]
        channel = torch.arange(channels, device=device)[:, None, None]
        rows = offsets[0] + torch.arange(height, device=device)[:, None]
        columns = offsets[1] + torch.arange(width, device=device)
        # The result is laid out plainly. Permuted images would make the network run in the memory format channels-last,
        # where strided 1x1 convolutions with few channels corrupt memory on CPUs (seen with torch 2.14).
        return padded[image, channel, rows, columns]

    return shift


class TensorClassification:
    """A classification task (`Task`) over data that lies on the device.

    The order of an epoch and its augmentation come from the streams `order` and `augmentation` with the epoch as
    index; the last partial batch is kept.

    Args:
        setup: Device, batch size and random streams.
        model: Maps inputs to logits of shape (n, classes).
        train: Training data.
        held_out: Data of the other splits, `test` among them.
        augment: Applied to every training batch.
    """

    selection_metric = "accuracy"
    higher_is_better = True

    def __init__(
        self,
        setup: Setup,
        model: nn.Module,
        train: Split,
        held_out: Mapping[str, Split],
        augment: Augmentation = unchanged,
    ) -> None:
        self.model = model.to(setup.device)
        self._setup = setup
        self._train = train.to(setup.device)
        self._held_out = {name: split.to(setup.device) for name, split in held_out.items()}
        self._augment = augment
        self.steps_per_epoch = -(-len(self._train.labels) // setup.batch_size)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield the shuffled, augmented batches of an epoch."""
        streams, device = self._setup.streams, self._setup.device
        # Drawn on the CPU, so that every device sees the same order.
        order = torch.randperm(len(self._train.labels), generator=streams.generator("order", epoch))
        draws = streams.generator("augmentation", epoch, device)
        for chosen in torch.split(order.to(device), self._setup.batch_size):
            yield self._augment(self._train.inputs[chosen], draws), self._train.labels[chosen]

    def loss(self, batch: Batch) -> Tensor:
        """Return the mean cross-entropy of a batch."""
        inputs, labels = batch
        return F.cross_entropy(self.model(inputs), labels)

    @torch.no_grad()
    def evaluate(self, split: str) -> Metrics:
        """Return `loss` (mean cross-entropy) and `accuracy` (a fraction) of a held-out split."""
        data = self._held_out[split]
        self.model.eval()
        logits = torch.cat([self.model(part) for part in torch.split(data.inputs, _EVALUATION_BATCH)])
        self.model.train()
        return {
            "loss": F.cross_entropy(logits, data.labels).item(),
            "accuracy": (logits.argmax(1) == data.labels).double().mean().item(),
        }
