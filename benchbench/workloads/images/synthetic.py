"""Made-up images that can be learnt, computed from their indices: a smooth pattern per class, with noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from benchbench.workloads.images import DatasetInfo, Normalisation
from benchbench.workloads.images.tensors import TensorImages
from benchbench.workloads.streams import Streams
from benchbench.workloads.transfer import moved

_STREAMS = Streams(0)
"""The images are part of the data set: the same for every seed and every method."""

_COARSE = 4
"""Patterns are drawn at this size and enlarged, so that crops and small nets can still tell them apart."""

_CONTRAST = 40.0
"""Standard deviation of patterns and of noise, of pixels from 0 to 255."""

_PART = 256
"""Images that are computed at a time."""


class _Generator:
    """Computes made-up images on a device."""

    def __init__(self, info: DatasetInfo, device: torch.device) -> None:
        self._info = info
        self._device = device
        shape = (info.classes, info.channels, _COARSE, _COARSE)
        patterns = torch.randn(shape, generator=_STREAMS.generator("made-up patterns"))
        self._patterns = (127.5 + _CONTRAST * patterns).to(device)
        size = 2 * info.image_size
        noise = torch.randn((info.channels, size, size), generator=_STREAMS.generator("made-up noise"))
        self._noise = (_CONTRAST * noise).to(device)

    def pixels(self, indices: Tensor) -> Tensor:
        """Return images as uint8: the class's pattern, and a part of the noise that the index alone chooses.

        Args:
            indices: Of shape (n,), on the device.
        """
        size = self._info.image_size
        channel, row, column = self._noise.stride()
        shape = (size + 1, size + 1, self._info.channels, size, size)
        parts = self._noise.as_strided(shape, (row, column, channel, row, column))
        # Multiplied by primes, so that indices that follow each other get parts that lie apart.
        noise = parts[indices * 7919 % (size + 1), indices * 104729 // (size + 1) % (size + 1)]
        patterns = self._patterns[indices % self._info.classes]
        return (F.interpolate(patterns, size=(size, size), mode="bilinear") + noise).clamp_(0, 255).to(torch.uint8)


class _MadeUpSource:
    """Made-up images, computed batch by batch (`Source`); they are not augmented."""

    def __init__(self, indices: Tensor, info: DatasetInfo, device: torch.device) -> None:
        self._indices = indices
        self._device = device
        self._normalise = Normalisation(info, device)
        self._generator = _Generator(info, device)

    def training(self, order: Tensor, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
        return self._batches(self._indices[order], batch_size)

    def evaluation(self) -> Iterator[Tensor]:
        return self._batches(self._indices, _PART)

    def chosen(self, order: Tensor, batch_size: int) -> Iterator[Tensor]:
        return self._batches(self._indices[order], batch_size)

    def _batches(self, indices: Tensor, size: int) -> Iterator[Tensor]:
        [on_device] = moved([indices], self._device)
        for part in torch.split(on_device, size):
            yield self._normalise(self._generator.pixels(part))


@dataclass(frozen=True)
class MadeUpImages:
    """Made-up images of a data set's shape (`Images`).

    Attributes:
        indices: Which of all that can be made, of shape (n,).
        labels: Of shape (n,).
    """

    indices: Tensor
    labels: Tensor

    def take(self, chosen: Tensor) -> MadeUpImages:
        """Return the images with these indices."""
        return MadeUpImages(self.indices[chosen], self.labels[chosen])

    def source(self, info: DatasetInfo, device: torch.device, *, augment: bool) -> _MadeUpSource:
        """Return the images, to be computed batch by batch; they are not augmented."""
        return _MadeUpSource(self.indices, info, device)

    def computed(self, info: DatasetInfo, device: torch.device) -> TensorImages:
        """Return the images computed, as one tensor on the device."""
        generator = _Generator(info, device)
        pixels = torch.empty(
            (len(self.indices), info.channels, info.image_size, info.image_size), dtype=torch.uint8, device=device
        )
        [indices] = moved([self.indices], device)
        for part, target in zip(torch.split(indices, _PART), torch.split(pixels, _PART), strict=True):
            target.copy_(generator.pixels(part))
        return TensorImages(pixels, self.labels)


def made_up(info: DatasetInfo) -> tuple[MadeUpImages, MadeUpImages]:
    """Return made-up training and test images, as many as the data set has, the classes taking turns."""
    indices = torch.arange(info.train + info.test)
    images = MadeUpImages(indices, indices % info.classes)
    return images.take(indices[: info.train]), images.take(indices[info.train :])
