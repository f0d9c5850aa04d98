"""Small image data sets, read by torchvision's loaders from the files that their authors publish."""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchbench.workloads.images import REMEDIES, DatasetInfo
from benchbench.workloads.images.tensors import TensorImages

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class _File:
    """A file of a data set, and its MD5 where torchvision knows one."""

    path: Path
    md5: str | None = None

    @property
    def damaged(self) -> bool:
        """True if the file is there, but not as it was published."""
        if not self.path.is_file():
            return False
        status = self.path.stat()
        return not _intact(self.path, self.md5, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _intact(path: Path, md5: str | None, size: int, _changed: int) -> bool:
    # Remembered as long as the file does not change: many workloads of a suite ask for the same one.
    from torchvision.datasets.utils import check_md5

    return _has_idx_size(path, size) if md5 is None else bool(check_md5(path, md5))


def _has_idx_size(path: Path, size: int) -> bool:
    """Return whether a file of MNIST's format is as long as its own header says (bytes; big-endian sizes)."""
    with path.open("rb") as file:
        header = file.read(4)
        dimensions = np.frombuffer(file.read(4 * header[3]), ">i4") if len(header) == 4 else np.empty(0)
    return bool(len(dimensions)) and size == 4 + 4 * len(dimensions) + int(np.prod(dimensions))


@dataclass(frozen=True)
class TorchvisionImages:
    """A data set of torchvision that fits into memory (`Dataset`).

    Attributes:
        loader: Name of torchvision's class.
        info: What is known of it without reading it.
    """

    loader: str
    info: DatasetInfo

    def missing(self, data: Path) -> str | None:
        """Return what is missing or damaged."""
        files = self._files(data)
        name = self.info.name
        how = f"`benchbench prepare SUITE` downloads it, {REMEDIES}"
        if absent := [file.path for file in files if not file.path.is_file()]:
            state = "not there" if len(absent) == len(files) else "incomplete"
            return f"{name} is {state}: no {absent[0]}; {how}"
        if damaged := [file.path for file in files if file.damaged]:
            return f"{name} is damaged: {damaged[0]} is not as it was published; {how}"
        return None

    def prepare(self, data: Path) -> None:
        """Download what is missing or damaged, through torchvision, which verifies it.

        Raises:
            ValueError: The data are still not as they were published.
        """
        if self.missing(data) is None:
            return
        print(f"downloading {self.info.name} into {self._root(data)}", file=sys.stderr)
        for file in self._files(data):
            if file.damaged:
                file.path.unlink()  # torchvision looks at some files' names only
        for part in (True, False):
            self._loaded(data, train=part, download=True)
        if still := self.missing(data):
            raise ValueError(still)

    def load(self, data: Path) -> tuple[TensorImages, TensorImages]:
        """Return the training images and the test images."""
        return self._images(data, train=True), self._images(data, train=False)

    def _images(self, data: Path, *, train: bool) -> TensorImages:
        loaded = self._loaded(data, train=train)
        pixels = torch.as_tensor(loaded.data)
        labels = torch.as_tensor(np.asarray(loaded.labels if self.loader == "SVHN" else loaded.targets))
        return TensorImages(_channels_first(pixels, self.info.channels), labels.long())

    def _loaded(self, data: Path, *, train: bool, download: bool = False) -> Any:
        part: dict[str, Any] = {"train": train}
        if self.loader == "SVHN":
            part = {"split": "train" if train else "test"}
        return self._class()(self._root(data), download=download, **part)

    def _class(self) -> Any:
        import torchvision.datasets

        return getattr(torchvision.datasets, self.loader)

    def _root(self, data: Path) -> Path:
        return data / "SVHN" if self.loader == "SVHN" else data

    def _files(self, data: Path) -> list[_File]:
        """Return the files that torchvision reads."""
        loader, root = self._class(), self._root(data)
        if self.loader == "SVHN":
            return [
                _File(root / loader.split_list[split][1], loader.split_list[split][2]) for split in ("train", "test")
            ]
        if self.loader.startswith("CIFAR"):
            meta = (loader.meta["filename"], loader.meta["md5"])
            listed = [*loader.train_list, *loader.test_list, meta]
            return [_File(root / loader.base_folder / name, md5) for name, md5 in listed]
        return [_File(root / self.loader / "raw" / name.removesuffix(".gz")) for name, _ in loader.resources]


def _channels_first(pixels: Tensor, channels: int) -> Tensor:
    """Return images as (n, channels, h, w): CIFAR has the channels last, the family of MNIST has none."""
    if pixels.dim() == 3:
        return pixels[:, None]
    return pixels if pixels.shape[1] == channels else pixels.permute(0, 3, 1, 2)


def cifar10() -> TorchvisionImages:
    """CIFAR-10: 32x32 colour photographs of ten kinds of things, 50,000 for training and 10,000 for test.

    Krizhevsky 2009, "Learning multiple layers of features from tiny images". Cropped from four pixels of zeros on each
    side and mirrored. Mean and deviation are those that the SASSHA paper's code uses.
    """
    mean, deviation = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
    return TorchvisionImages(
        "CIFAR10", DatasetInfo("CIFAR-10", 10, 3, 32, mean, deviation, 50_000, 10_000, padding=4, flip=True)
    )


def cifar100() -> TorchvisionImages:
    """CIFAR-100: 32x32 colour photographs of a hundred kinds of things, 50,000 for training and 10,000 for test.

    Krizhevsky 2009, "Learning multiple layers of features from tiny images". Cropped from four pixels of zeros on each
    side and mirrored. Mean and deviation are those that the SASSHA paper's code uses.
    """
    mean, deviation = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)
    return TorchvisionImages(
        "CIFAR100", DatasetInfo("CIFAR-100", 100, 3, 32, mean, deviation, 50_000, 10_000, padding=4, flip=True)
    )


def svhn() -> TorchvisionImages:
    """SVHN: 32x32 colour photographs of house numbers' digits, 73,257 for training and 26,032 for test.

    Netzer et al. 2011, "Reading digits in natural images with unsupervised feature learning"; without the `extra` ones.
    Cropped from four pixels of zeros on each side, never mirrored. Mean and deviation as commonly used.
    """
    mean, deviation = (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)
    return TorchvisionImages("SVHN", DatasetInfo("SVHN", 10, 3, 32, mean, deviation, 73_257, 26_032, padding=4))


def mnist() -> TorchvisionImages:
    """MNIST: 28x28 handwritten digits, 60,000 for training and 10,000 for test.

    LeCun et al. 1998, "Gradient-based learning applied to document recognition". Not augmented. Mean and deviation are
    those of PyTorch's own example.
    """
    return TorchvisionImages("MNIST", _like_mnist("MNIST", 0.1307, 0.3081))


def fashion_mnist() -> TorchvisionImages:
    """Fashion-MNIST: 28x28 pictures of clothes, ten classes, 60,000 for training and 10,000 for test.

    Xiao et al. 2017, "Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms". Not
    augmented. Mean and deviation as commonly used: those of the training pixels.
    """
    return TorchvisionImages("FashionMNIST", _like_mnist("Fashion-MNIST", 0.2860, 0.3530))


def kmnist() -> TorchvisionImages:
    """KMNIST: 28x28 handwritten Japanese characters, ten classes, 60,000 for training and 10,000 for test.

    Clanuwat et al. 2018, "Deep learning for classical Japanese literature". Not augmented. Mean and deviation as
    commonly used.
    """
    return TorchvisionImages("KMNIST", _like_mnist("KMNIST", 0.1918, 0.3483))


def _like_mnist(name: str, mean: float, deviation: float) -> DatasetInfo:
    return DatasetInfo(name, 10, 1, 28, (mean,), (deviation,), 60_000, 10_000)
