"""Images too many for memory: decoded, cropped and resized by worker processes while the network trains."""

from __future__ import annotations

import functools
import math
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as MapDataset

from benchbench.devices import use
from benchbench.workloads.images import DatasetInfo, Normalisation

_EVALUATION_BATCH = 256
_MOST_WORKERS = 16


class Reader(Protocol):
    """Reads images by their position."""

    def __call__(self, position: int) -> Any:
        """Return an image of three channels: from PIL, or a uint8 tensor."""
        ...


@dataclass(frozen=True)
class ImageFiles:
    """Reads image files."""

    paths: tuple[str, ...]

    def __call__(self, position: int) -> Any:
        """Return an image of PIL."""
        from torchvision.datasets.folder import pil_loader

        return pil_loader(self.paths[position])


@dataclass(frozen=True)
class DecodedImages:
    """Reads images that have been decoded before, from a file of NumPy that is mapped into memory."""

    path: str

    def __call__(self, position: int) -> Tensor:
        """Return a uint8 tensor of shape (3, height, width)."""
        return torch.from_numpy(_mapped(self.path)[position].copy())


@functools.lru_cache(maxsize=4)
def _mapped(path: str) -> Any:
    return np.load(path, mmap_mode="r")


class _Transformed(MapDataset[Tensor]):
    """Images by position and seed, as uint8 tensors of one size."""

    def __init__(self, reader: Reader, image_size: int, resize: int, augment: bool) -> None:
        from torchvision.transforms import v2

        self._reader = reader
        random = [v2.RandomResizedCrop(image_size), v2.RandomHorizontalFlip()]
        fixed = [v2.Resize(resize), v2.CenterCrop(image_size)]
        self._transform = v2.Compose([*(random if augment else fixed), v2.PILToTensor()])

    def __getitem__(self, item: tuple[int, int]) -> Tensor:
        position, seed = item
        # Whatever process this is in, the image depends on its own seed alone, and nothing else notices.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return self._transform(self._reader(position))  # type: ignore[no-any-return]


def _ignore_sigterm(_worker: int) -> None:
    """Leave SIGTERM to the run, which leaves a checkpoint and then ends its workers."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


class _Order:
    """The batches of an epoch, as lists of position and seed; set again for every epoch."""

    def __init__(self) -> None:
        self.positions = self.seeds = torch.empty(0, dtype=torch.long)
        self.batch_size = 1

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        parts = (torch.split(each, self.batch_size) for each in (self.positions, self.seeds))
        for positions, seeds in zip(*parts, strict=True):
            yield list(zip(positions.tolist(), seeds.tolist(), strict=True))

    def __len__(self) -> int:
        return math.ceil(len(self.positions) / self.batch_size)


class StreamedSource:
    """Images from worker processes (`Source`).

    Args:
        images: The images.
        info: What is known of the data set.
        device: Where batches must be.
        augment: Whether training images are cropped, resized and mirrored at random.
        workers: Processes that decode; by default as many as torch may use threads, up to 16. They change no number.
    """

    def __init__(
        self, images: StreamedImages, info: DatasetInfo, device: torch.device, augment: bool, workers: int | None = None
    ) -> None:
        self._images = images
        self._info = info
        self._device = device
        self._normalise = Normalisation(info, device)
        self._augment = augment
        self._workers = min(_MOST_WORKERS, torch.get_num_threads()) if workers is None else workers
        self._training_order = _Order()

    def training(self, order: Tensor, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Yield augmented batches, see `Source`."""
        self._training_order.positions = self._images.positions[order]
        self._training_order.seeds = torch.randint(2**62, (len(order),), generator=generator)
        self._training_order.batch_size = batch_size
        return self._moved(self._training_loader)

    def evaluation(self) -> Iterator[Tensor]:
        """Yield all images in their order, see `Source`."""
        return self._plain(self._images.positions, _EVALUATION_BATCH)

    def chosen(self, order: Tensor, batch_size: int) -> Iterator[Tensor]:
        """Yield images by their indices, see `Source`."""
        return self._plain(self._images.positions[order], batch_size)

    def _plain(self, positions: Tensor, batch_size: int) -> Iterator[Tensor]:
        order = _Order()
        order.positions = positions
        order.seeds = torch.zeros_like(positions)
        order.batch_size = batch_size
        return self._moved(self._loader(order, augment=False))

    @functools.cached_property
    def _training_loader(self) -> DataLoader[Tensor]:
        # Its processes stay from epoch to epoch: starting them takes seconds.
        return self._loader(self._training_order, augment=self._augment, persistent_workers=self._workers > 0)

    def _loader(self, order: _Order, *, augment: bool, persistent_workers: bool = False) -> DataLoader[Tensor]:
        images = self._images
        return DataLoader(
            _Transformed(images.reader, self._info.image_size, images.resize, augment),
            batch_sampler=order,
            num_workers=self._workers,
            pin_memory=use.pins_memory(self._device),
            persistent_workers=persistent_workers,
            generator=torch.Generator(),  # it would draw from the global one
            worker_init_fn=_ignore_sigterm,
        )

    def _moved(self, loader: DataLoader[Tensor]) -> Iterator[Tensor]:
        for pixels in loader:
            yield self._normalise(pixels.to(self._device, non_blocking=True))


@dataclass(frozen=True)
class StreamedImages:
    """Images on disk (`Images`).

    Attributes:
        reader: Reads an image by its position in the folder.
        positions: Of the images, of shape (n,).
        labels: Of shape (n,).
        resize: Length of the shorter side that images have before the centre is cut out.
    """

    reader: Reader
    positions: Tensor
    labels: Tensor
    resize: int

    def take(self, chosen: Tensor) -> StreamedImages:
        """Return the images with these indices."""
        return replace(self, positions=self.positions[chosen], labels=self.labels[chosen])

    def source(self, info: DatasetInfo, device: torch.device, *, augment: bool) -> StreamedSource:
        """Return the images on their way to the device."""
        return StreamedSource(self, info, device, augment)
