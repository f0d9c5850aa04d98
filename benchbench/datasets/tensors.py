"""Images that lie on the device as one tensor, and their augmentation by one indexed gather."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from benchbench.datasets import Traits, normalised

_EVALUATION_BATCH = 1024


@dataclass(frozen=True)
class Draws:
    """What is drawn for every position of an epoch, on the CPU.

    Attributes:
        top: First row of the crop, of shape (n,).
        left: First column of the crop, of shape (n,).
        mirrored: Whether the crop is mirrored, left to right; of shape (n,).
    """

    top: Tensor
    left: Tensor
    mirrored: Tensor

    def at(self, positions: slice) -> Draws:
        """Return what is drawn for these positions."""
        return Draws(self.top[positions], self.left[positions], self.mirrored[positions])


@dataclass(frozen=True)
class RandomCrop:
    """Crops of the original size from images with zeros around them, mirrored at random.

    Attributes:
        padding: Zeros on each side.
        flip: Whether half of the crops are mirrored, left to right.
    """

    padding: int = 0
    flip: bool = False

    def draws(self, count: int, generator: torch.Generator) -> Draws:
        """Draw for `count` positions."""
        top, left = torch.randint(0, 2 * self.padding + 1, (2, count), generator=generator)
        mirrored = torch.rand(count, generator=generator) < 0.5 if self.flip else torch.zeros(count, dtype=torch.bool)
        return Draws(top, left, mirrored)

    def pad(self, images: Tensor) -> Tensor:
        """Return images of shape (n, channels, h, w) with zeros around them, plainly laid out."""
        return F.pad(images, (self.padding,) * 4).contiguous()

    def cut(self, padded: Tensor, chosen: Tensor, draws: Draws) -> Tensor:
        """Return one crop for each of the chosen images.

        Args:
            padded: All images, as `pad` returns them.
            chosen: Indices of images, of shape (n,), on any device.
            draws: Where to cut, for each of them.

        Returns:
            Crops of shape (n, channels, h, w), plainly laid out. Permuted images would make the network run in the
            memory format channels-last, where strided 1x1 convolutions with few channels corrupt memory on CPUs (seen
            with torch 2.14).
        """
        device = padded.device
        crops = _windows(padded, self.padding)[chosen.to(device), draws.top.to(device), draws.left.to(device)]
        if self.flip:
            # Where the indices are found on the CPU, the device needs no synchronisation to know their number.
            mirrored = draws.mirrored.nonzero().flatten().to(device)
            crops.index_copy_(0, mirrored, crops.index_select(0, mirrored).flip(-1))
        return crops


def _windows(padded: Tensor, padding: int) -> Tensor:
    """Return a view of all crops of all images, (n, tops, lefts, channels, h, w), whose rows are copied as a whole."""
    image, channel, row, column = padded.stride()
    count, channels, height, width = padded.shape
    places = 2 * padding + 1
    size = (count, places, places, channels, height - 2 * padding, width - 2 * padding)
    return padded.as_strided(size, (image, row, column, channel, row, column))


class TensorSource:
    """Inputs that lie on the device (`Source`).

    Args:
        inputs: Of shape (n, ...) on the device; of shape (n, channels, h, w) where they are augmented.
        crop: How they are augmented, if at all.
        finish: Applied to every batch once it has been put together.
    """

    def __init__(
        self, inputs: Tensor, crop: RandomCrop | None = None, finish: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        self._inputs = inputs if crop is None else crop.pad(inputs)
        self._crop = crop
        self._finish = finish or torch.Tensor.contiguous

    def training(self, order: Tensor, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Yield augmented batches, see `Source`."""
        draws = self._crop and self._crop.draws(len(order), generator)
        on_device = order.to(self._inputs.device)
        for start in range(0, len(order), batch_size):
            part = slice(start, start + batch_size)
            if self._crop and draws:
                yield self._finish(self._crop.cut(self._inputs, on_device[part], draws.at(part)))
            else:
                yield self._finish(self._inputs[on_device[part]])

    def evaluation(self) -> Iterator[Tensor]:
        """Yield all inputs in their order, see `Source`."""
        for part in torch.split(self._uncropped(), _EVALUATION_BATCH):
            yield self._finish(part)

    def chosen(self, order: Tensor, batch_size: int) -> Iterator[Tensor]:
        """Yield inputs by their indices, see `Source`."""
        inputs = self._uncropped()
        for part in torch.split(order.to(inputs.device), batch_size):
            yield self._finish(inputs[part])

    def _uncropped(self) -> Tensor:
        padding = self._crop.padding if self._crop else 0
        return self._inputs[..., padding:-padding, padding:-padding] if padding else self._inputs


@dataclass(frozen=True)
class TensorImages:
    """Images in memory (`Images`).

    Attributes:
        pixels: Of type uint8 and shape (n, channels, size, size).
        labels: Of shape (n,).
    """

    pixels: Tensor
    labels: Tensor

    def take(self, chosen: Tensor) -> TensorImages:
        """Return the images with these indices."""
        return TensorImages(self.pixels[chosen.to(self.pixels.device)], self.labels[chosen])

    def source(self, traits: Traits, device: torch.device, *, augment: bool) -> TensorSource:
        """Return the images on the device, padded with zeros as uint8, so that zeros are what is normalised."""
        crop = RandomCrop(traits.padding, traits.flip) if augment and (traits.padding or traits.flip) else None
        return TensorSource(self.pixels.to(device), crop, partial(normalised, traits=traits))
