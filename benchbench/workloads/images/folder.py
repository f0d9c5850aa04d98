"""Folders of images, one folder per class, and files of decoded ones next to them."""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchbench.files import naming
from benchbench.workloads.images import REMEDIES, DatasetInfo
from benchbench.workloads.images.streaming import DecodedImages, ImageFiles, Reader, StreamedImages

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, as torchvision's own models use them."""

_SPLITS = ("train", "val")


@dataclass(frozen=True)
class ImageFolder:
    """Images in `<path>/train/<class>/` and `<path>/val/<class>/` (`Dataset`); those in `val` are the test images.

    Attributes:
        path: The folder; a relative one starts in the data folder.
        info: What is known without reading it.
        resize: Length of the shorter side that images have before the centre is cut out.
        cache: Whether images are read from a file of decoded ones.
        archives: Whether torchvision can unpack ImageNet's archives where the folders are missing.
    """

    path: Path
    info: DatasetInfo
    resize: int
    cache: bool = False
    archives: bool = False

    def missing(self, data: Path) -> str | None:
        """Return what is missing."""
        if text := self._missing_files(data):
            return text
        for split in _SPLITS if self.cache else ():
            if not (path := self._cache_file(data, split)).is_file():
                return f"{self.info.name} has no cache: no {path}; `benchbench prepare SUITE` writes it"
        return None

    def prepare(self, data: Path) -> None:
        """Unpack ImageNet's archives where they lie in the folder, and write the cache if it is wanted.

        Raises:
            ValueError: There are no images.
        """
        root = data / self.path
        if self._missing_files(data) and self.archives and any(root.glob("ILSVRC2012_*.tar*")):
            from torchvision.datasets import ImageNet

            print(f"unpacking the archives of {self.info.name} in {root}", file=sys.stderr)
            for split in _SPLITS:
                ImageNet(root, split)
        if text := self._missing_files(data):
            raise ValueError(text)
        for split in _SPLITS if self.cache else ():
            path = self._cache_file(data, split)
            if not path.is_file():
                print(f"writing {path}", file=sys.stderr)
                _write_cache(path, [name for name, _ in self._listed(data, split)], self.resize)

    def count(self, data: Path) -> int:
        """Return the number of training images: that of ImageNet is known, others are counted."""
        return self.info.train if self.archives else len(self._listed(data, "train"))

    def load(self, data: Path) -> tuple[StreamedImages, StreamedImages]:
        """Return the training images and the test images."""
        train, test = (self._images(data, split) for split in _SPLITS)
        return train, test

    def _images(self, data: Path, split: str) -> StreamedImages:
        listed = self._listed(data, split)
        files = ImageFiles(tuple(name for name, _ in listed))
        reader: Reader = DecodedImages(str(self._cache_file(data, split))) if self.cache else files
        labels = torch.tensor([label for _, label in listed])
        return StreamedImages(reader, torch.arange(len(listed)), labels, self.resize)

    def _missing_files(self, data: Path) -> str | None:
        root = data / self.path
        how = f"put the images into {root}/train/CLASS/ and {root}/val/CLASS/"
        if self.archives:
            how += ", or ImageNet's archives beside them for `benchbench prepare SUITE` to unpack"
        if absent := [split for split in _SPLITS if not (root / split).is_dir()]:
            state = "not there" if len(absent) == len(_SPLITS) else "incomplete"
            return f"{self.info.name} is {state}: no {root / absent[0]}; {how}; {REMEDIES}"
        train, test = (self._classes(data, split) for split in _SPLITS)
        if train != test:
            return f"{root} has other classes in train than in val: {sorted({*train} ^ {*test})[0]!r} is in one only"
        if len(train) != self.info.classes:
            return f"{root} has {len(train)} classes instead of {self.info.classes}"
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
    images = StreamedImages(ImageFiles(tuple(names)), torch.arange(len(names)), torch.zeros(len(names)), resize)
    unscaled = DatasetInfo("", 0, 3, resize, (0.0,) * 3, (1 / 255,) * 3, 0, 0)
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        written = np.lib.format.open_memmap(unfinished, "w+", np.uint8, (len(names), 3, resize, resize))
        # What does not fit on the disk would end the process as soon as it is written through the memory.
        with naming(path), unfinished.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, unfinished.stat().st_size)
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
    info = DatasetInfo(
        path, classes, 3, image_size, _MEAN, _DEVIATION, 1000 * classes, 50 * classes, flip=True, streamed=True
    )
    return ImageFolder(Path(path), info, resize, cache)


def imagenet(*, path: str = "imagenet", cache: bool = False) -> ImageFolder:
    """ImageNet (ILSVRC 2012): 1,281,167 photographs of a thousand kinds of things for training, 50,000 for test.

    Russakovsky et al. 2015, "ImageNet large scale visual recognition challenge"; its validation images are the test
    images here. Training images are cropped at random and resized to 224 pixels, and mirrored; test images are resized
    to 256 pixels and cut in the middle.

    Args:
        path: The folder with `train/<class>/` and `val/<class>/`; a relative one starts in the data folder.
        cache: Read from files of decoded images, see `image-folder`: 252 GB for the training images.
    """
    info = DatasetInfo("ImageNet", 1000, 3, 224, _MEAN, _DEVIATION, 1_281_167, 50_000, flip=True, streamed=True)
    return ImageFolder(Path(path), info, 256, cache, archives=True)
