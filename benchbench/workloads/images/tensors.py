"""Images that lie on the device as one tensor, and their augmentation by one indexed gather."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from benchbench.workloads.images import DatasetInfo, Normalisation
from benchbench.workloads.transfer import moved

_EVALUATION_BATCH = 1024


@dataclass(frozen=True)
class Draws:
    """Random draws for every position of an epoch, on the CPU.

    Attributes:
        top: First row of the crop, of shape (n,).
        left: First column of the crop, of shape (n,).
        mirrored: Whether the crop is mirrored, left to right; of shape (n,).
    """

    top: Tensor
    left: Tensor
    mirrored: Tensor

    def batches(self, size: int, device: torch.device) -> Iterator[Crops]:
        """Yield what is drawn for each batch; all of it goes to the device at once, when the first one is asked for."""
        # The host finds out here how many are mirrored. On the device, it would have to wait for the answer.
        places = [part.nonzero().flatten() for part in torch.split(self.mirrored, size)]
        top, left, mirrored = moved([self.top, self.left, torch.cat(places)], device)
        parts = (
            torch.split(top, size),
            torch.split(left, size),
            torch.split(mirrored, [len(each) for each in places]),
        )
        yield from map(Crops, *parts)


@dataclass(frozen=True)
class Crops:
    """Positions of the crops of a batch, on the device of the images.

    Attributes:
        top: First row, of shape (n,).
        left: First column, of shape (n,).
        mirrored: Places in the batch of the crops that are mirrored, left to right.
    """

    top: Tensor
    left: Tensor
    mirrored: Tensor


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

    def cut(self, padded: Tensor, chosen: Tensor, crops: Crops) -> Tensor:
        """Return one crop for each of the chosen images.

        Args:
            padded: All images, as `pad` returns them.
            chosen: Indices of images, of shape (n,), on their device.
            crops: Where to cut, for each of them.

        Returns:
            Crops of shape (n, channels, h, w), plainly laid out. Permuted images would make the network run in the
            memory format channels-last, where strided 1x1 convolutions with few channels corrupt memory on CPUs (seen
            with torch 2.14).
        """
        cut = _windows(padded, self.padding)[chosen, crops.top, crops.left]
        if self.flip:
            cut.index_copy_(0, crops.mirrored, cut.index_select(0, crops.mirrored).flip(-1))
        return cut


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
        device = self._inputs.device
        [on_device] = moved([order], device)
        chosen = torch.split(on_device, batch_size)
        if self._crop is None:
            for part in chosen:
                yield self._finish(self._inputs[part])
        else:
            draws = self._crop.draws(len(order), generator)
            for part, crops in zip(chosen, draws.batches(batch_size, device), strict=True):
                yield self._finish(self._crop.cut(self._inputs, part, crops))

    def evaluation(self) -> Iterator[Tensor]:
        """Yield all inputs in their order, see `Source`."""
        for part in torch.split(self._uncropped(), _EVALUATION_BATCH):
            yield self._finish(part)

    def chosen(self, order: Tensor, batch_size: int) -> Iterator[Tensor]:
        """Yield inputs by their indices, see `Source`."""
        inputs = self._uncropped()
        [on_device] = moved([order], inputs.device)
        for part in torch.split(on_device, batch_size):
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

    def source(self, info: DatasetInfo, device: torch.device, *, augment: bool) -> TensorSource:
        """Return the images on the device, padded with zeros as uint8, so that zeros are what is normalised."""
        crop = RandomCrop(info.padding, info.flip) if augment and (info.padding or info.flip) else None
        return TensorSource(self.pixels.to(device), crop, Normalisation(info, device))
