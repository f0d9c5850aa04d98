"""Data sets: what a workload must know of one, and how its examples reach the device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class DatasetInfo:
    """Facts about an image data set that are known without reading it.

    Attributes:
        name: What it is called in messages.
        classes: Number of classes.
        channels: Channels of an image.
        image_size: Height and width in pixels, as the network sees them.
        mean: Mean per channel, of pixels in [0, 1], that is subtracted.
        deviation: Standard deviation per channel that is divided by.
        train: Number of training examples.
        test: Number of test examples.
        padding: Zeros on each side from which training images are cropped at random.
        flip: Whether training images are mirrored at random, left to right.
        streamed: Whether the images are too many to lie on the device.
    """

    name: str
    classes: int
    channels: int
    image_size: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    train: int
    test: int
    padding: int = 0
    flip: bool = False
    streamed: bool = False


class Source(Protocol):
    """Images on their way to a network, as batches of floats of shape (n, channels, size, size) on the device."""

    def training(self, order: Tensor, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Yield augmented batches.

        Args:
            order: Indices of the images, on the CPU.
            batch_size: Images per batch; the last one may have fewer.
            generator: On the CPU. Everything that the epoch needs is drawn from it at once, per position in the order.
        """
        ...

    def evaluation(self) -> Iterator[Tensor]:
        """Yield all images in their order, not augmented, in batches that suit the device."""
        ...

    def chosen(self, order: Tensor, batch_size: int) -> Iterator[Tensor]:
        """Yield images by their indices (on the CPU), not augmented; the last batch may have fewer."""
        ...


class Images(Protocol):
    """Labelled images, wherever they lie.

    Attributes:
        labels: Classes from 0, an integer tensor of shape (n,) on the CPU.
    """

    @property
    def labels(self) -> Tensor: ...  # noqa: D102

    def take(self, chosen: Tensor) -> Self:
        """Return the images with these indices."""
        ...

    def source(self, info: DatasetInfo, device: torch.device, *, augment: bool) -> Source:
        """Return the images on their way to `device`, augmented in training if `augment` is set."""
        ...


class Dataset(Protocol):
    """An image data set; its factory takes the parameters that a suite may set as keyword-only parameters.

    Attributes:
        info: What is known of it without reading it.
    """

    @property
    def info(self) -> DatasetInfo: ...  # noqa: D102

    def missing(self, data: Path) -> str | None:
        """Return in one line what is missing or damaged in the data folder, or `None`."""
        ...

    def prepare(self, data: Path) -> None:
        """Bring what is missing into the data folder and verify it."""
        ...

    def load(self, data: Path) -> tuple[Images, Images]:
        """Return the training images and the test images."""
        ...


REMEDIES = "`--data-dir` names another folder, `--synthetic` rehearses on made-up data"
"""Remedies for missing data, apart from downloading them."""


class Normalisation:
    """Maps pixels of 0 to 255, of shape (n, channels, h, w), to what a network wants.

    The arithmetic is that of torchvision's `ToTensor` and `Normalize`, to the bit.

    Args:
        info: Mean and deviation of each channel.
        device: Where the pixels lie. The constants are put there once: a copy per batch would be waited for.
    """

    def __init__(self, info: DatasetInfo, device: torch.device) -> None:
        self._mean, self._deviation = (
            torch.tensor(values, device=device)[:, None, None] for values in (info.mean, info.deviation)
        )

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return normalised pixels."""
        return pixels.to(torch.float32).div_(255).sub_(self._mean).div_(self._deviation)
