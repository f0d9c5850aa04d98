"""Folders of images, too many for memory: decoded, cropped and resized by worker processes while the network trains."""

from __future__ import annotations

import functools
import hashlib
import math
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as MapDataset

from benchbench.datasets import REMEDIES, Traits, normalised

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, as torchvision's own models use them."""

_SPLITS = ("train", "val")
_EVALUATION_BATCH = 256
_MOST_WORKERS = 16


class _Reader(Protocol):
    def __call__(self, position: int) -> Any:
        """Return an image of three channels: from PIL, or a uint8 tensor."""
        ...


@dataclass(frozen=True)
class _Files:
    """Reads image files."""

    paths: tuple[str, ...]

    def __call__(self, position: int) -> Any:
        from torchvision.datasets.folder import pil_loader

        return pil_loader(self.paths[position])


@dataclass(frozen=True)
class _Cache:
    """Reads images that have been decoded before, from a file of NumPy that is mapped into memory."""

    path: str

    def __call__(self, position: int) -> Tensor:
        return torch.from_numpy(_mapped(self.path)[position].copy())


@functools.lru_cache(maxsize=4)
def _mapped(path: str) -> Any:
    return np.load(path, mmap_mode="r")


class _Transformed(MapDataset[Tensor]):
    """Images by position and seed, as uint8 tensors of one size."""

    def __init__(self, reader: _Reader, image_size: int, resize: int, augment: bool) -> None:
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
    """The batches of an epoch, as lists of position and seed; set anew for every epoch."""

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
        traits: What is known of the data set.
        device: Where batches shall lie.
        augment: Whether training images are cropped, resized and mirrored at random.
        workers: Processes that decode; by default as many as torch may use threads, up to 16. They change no number.
    """

    def __init__(
        self, images: StreamedImages, traits: Traits, device: torch.device, augment: bool, workers: int | None = None
    ) -> None:
        self._images = images
        self._traits = traits
        self._device = device
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
            _Transformed(images.reader, self._traits.image_size, images.resize, augment),
            batch_sampler=order,
            num_workers=self._workers,
            pin_memory=self._device.type == "cuda",
            persistent_workers=persistent_workers,
            generator=torch.Generator(),  # it would draw from the global one
            worker_init_fn=_ignore_sigterm,
        )

    def _moved(self, loader: DataLoader[Tensor]) -> Iterator[Tensor]:
        for pixels in loader:
            yield normalised(pixels.to(self._device, non_blocking=True), self._traits)


@dataclass(frozen=True)
class StreamedImages:
    """Images on disk (`Images`).

    Attributes:
        reader: Reads an image by its position in the folder.
        positions: Of the images, of shape (n,).
        labels: Of shape (n,).
        resize: Length of the shorter side that images have before the centre is cut out.
    """

    reader: _Reader
    positions: Tensor
    labels: Tensor
    resize: int

    def take(self, chosen: Tensor) -> StreamedImages:
        """Return the images with these indices."""
        return replace(self, positions=self.positions[chosen], labels=self.labels[chosen])

    def source(self, traits: Traits, device: torch.device, *, augment: bool) -> StreamedSource:
        """Return the images on their way to the device."""
        return StreamedSource(self, traits, device, augment)


@dataclass(frozen=True)
class ImageFolder:
    """Images in `<path>/train/<class>/` and `<path>/val/<class>/` (`Dataset`); those in `val` are the test images.

    Attributes:
        path: The folder; a relative one starts in the data folder.
        traits: What is known without reading it.
        resize: Length of the shorter side that images have before the centre is cut out.
        cache: Whether images are read from a file of decoded ones.
        archives: Whether torchvision can unpack ImageNet's archives where the folders are missing.
    """

    path: Path
    traits: Traits
    resize: int
    cache: bool = False
    archives: bool = False

    def missing(self, data: Path) -> str | None:
        """Return what is missing."""
        if text := self._missing_files(data):
            return text
        for split in _SPLITS if self.cache else ():
            if not (path := self._cache_file(data, split)).is_file():
                return f"{self.traits.name} has no cache: no {path}; `benchbench prepare SUITE` writes it"
        return None

    def prepare(self, data: Path) -> None:
        """Unpack ImageNet's archives where they lie in the folder, and write the cache if it is wanted.

        Raises:
            ValueError: There are no images.
        """
        root = data / self.path
        if self._missing_files(data) and self.archives and any(root.glob("ILSVRC2012_*.tar*")):
            from torchvision.datasets import ImageNet

            print(f"unpacking the archives of {self.traits.name} in {root}", file=sys.stderr)
            for split in _SPLITS:
                ImageNet(root, split)
        if text := self._missing_files(data):
            raise ValueError(text)
        for split in _SPLITS if self.cache else ():
            path = self._cache_file(data, split)
            if not path.is_file():
                print(f"writing {path}", file=sys.stderr)
                _write_cache(path, [name for name, _ in self._listed(data, split)], self.resize)

    def load(self, data: Path) -> tuple[StreamedImages, StreamedImages]:
        """Return the training images and the test images."""
        train, test = (self._images(data, split) for split in _SPLITS)
        return train, test

    def _images(self, data: Path, split: str) -> StreamedImages:
        listed = self._listed(data, split)
        files = _Files(tuple(name for name, _ in listed))
        reader: _Reader = _Cache(str(self._cache_file(data, split))) if self.cache else files
        labels = torch.tensor([label for _, label in listed])
        return StreamedImages(reader, torch.arange(len(listed)), labels, self.resize)

    def _missing_files(self, data: Path) -> str | None:
        root = data / self.path
        how = f"put the images into {root}/train/CLASS/ and {root}/val/CLASS/"
        if self.archives:
            how += ", or ImageNet's archives beside them for `benchbench prepare SUITE` to unpack"
        if absent := [split for split in _SPLITS if not (root / split).is_dir()]:
            state = "not there" if len(absent) == len(_SPLITS) else "incomplete"
            return f"{self.traits.name} is {state}: no {root / absent[0]}; {how}; {REMEDIES}"
        train, test = (self._classes(data, split) for split in _SPLITS)
        if train != test:
            return f"{root} has other classes in train than in val: {sorted({*train} ^ {*test})[0]!r} is in one only"
        if len(train) != self.traits.classes:
            return f"{root} has {len(train)} classes instead of {self.traits.classes}"
        return None

    def _classes(self, data: Path, split: str) -> list[str]:
        return sorted(entry.name for entry in os.scandir(data / self.path / split) if entry.is_dir())

    def _listed(self, data: Path, split: str) -> list[tuple[str, int]]:
        """Return the files of a split with their labels: classes and files in alphabetical order."""
        from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

        numbers = {name: number for number, name in enumerate(self._classes(data, "train"))}
        return make_dataset(str(data / self.path / split), numbers, IMG_EXTENSIONS)  # type: ignore[no-any-return]

    def _cache_file(self, data: Path, split: str) -> Path:
        """Return the cache's path, which the names and sizes of all images are part of."""
        root = data / self.path
        digest = hashlib.sha256()
        for name, _ in self._listed(data, split):
            digest.update(f"{Path(name).relative_to(root)} {Path(name).stat().st_size}\n".encode())
        return root / f"cache-{split}-{self.resize}-{digest.hexdigest()[:16]}.npy"


def _write_cache(path: Path, names: list[str], resize: int) -> None:
    """Write images, resized to a shorter side of `resize` pixels and cut to a square; all of them or nothing."""
    images = StreamedImages(_Files(tuple(names)), torch.arange(len(names)), torch.zeros(len(names)), resize)
    unscaled = Traits("", 0, 3, resize, (0.0,) * 3, (1 / 255,) * 3, 0, 0)
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        written = np.lib.format.open_memmap(unfinished, "w+", np.uint8, (len(names), 3, resize, resize))
        start = 0
        for pixels in images.source(unscaled, torch.device("cpu"), augment=False).evaluation():
            written[start : start + len(pixels)] = pixels.round().to(torch.uint8).numpy()
            start += len(pixels)
        written.flush()
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def image_folder(
    *, path: str, classes: int, image_size: int = 224, resize: int = 256, cache: bool = False
) -> ImageFolder:
    """Images in a folder of your own: `<path>/train/<class>/*` and `<path>/val/<class>/*` (the test images).

    Training images are cropped and resized at random (torchvision's `RandomResizedCrop`) and mirrored; test images are
    resized and cut in the middle. Made-up ones have 1,000 training and 50 test images per class.

    Args:
        path: The folder; a relative one starts in the data folder.
        classes: Number of classes.
        image_size: Height and width that the network sees.
        resize: Length of the shorter side that test images have before their centre is cut out.
        cache: Read from files of decoded images that `benchbench prepare` writes: all images resized to a shorter side
            of `resize` pixels and cut to a square, so training crops differ from those without a cache.
    """
    traits = Traits(
        path, classes, 3, image_size, _MEAN, _DEVIATION, 1000 * classes, 50 * classes, flip=True, streamed=True
    )
    return ImageFolder(Path(path), traits, resize, cache)


def imagenet(*, path: str = "imagenet", cache: bool = False) -> ImageFolder:
    """ImageNet (ILSVRC 2012): 1,281,167 photographs of a thousand kinds of things for training, 50,000 for test.

    Russakovsky et al. 2015, "ImageNet large scale visual recognition challenge"; its validation images are the test
    images here. Training images are cropped at random and resized to 224 pixels, and mirrored; test images are resized
    to 256 pixels and cut in the middle.

    Args:
        path: The folder with `train/<class>/` and `val/<class>/`; a relative one starts in the data folder.
        cache: Read from files of decoded images, see `image-folder`: 252 GB for the training images.
    """
    traits = Traits("ImageNet", 1000, 3, 224, _MEAN, _DEVIATION, 1_281_167, 50_000, flip=True, streamed=True)
    return ImageFolder(Path(path), traits, 256, cache, archives=True)
