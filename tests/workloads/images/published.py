"""Small data sets in the formats in which their authors publish them, written by the tests."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torchvision.datasets
from PIL import Image

IMAGES = 20
"""Images of each file: as many of every class as there are classes allow."""

_RANDOM = np.random.default_rng(0)


def pixels(*shape: int) -> np.ndarray:
    return _RANDOM.integers(0, 256, shape, dtype=np.uint8)


def labels(count: int, classes: int) -> list[int]:
    return [index % classes for index in range(count)]


def write_cifar(data: Path, monkeypatch: pytest.MonkeyPatch, *, classes: int = 10, images: int = IMAGES) -> np.ndarray:
    """Write CIFAR's pickled batches, and let torchvision know their checksums; return the test images."""
    loader = torchvision.datasets.CIFAR10 if classes == 10 else torchvision.datasets.CIFAR100
    folder = data / loader.base_folder
    folder.mkdir(parents=True)
    key = "labels" if classes == 10 else "fine_labels"
    written = pixels(0)

    def dump(name: str, content: object) -> str:
        blob = pickle.dumps(content)
        (folder / name).write_bytes(blob)
        return hashlib.md5(blob).hexdigest()

    for attribute in ("train_list", "test_list"):
        listed = []
        for name, _ in getattr(loader, attribute):
            written = pixels(images, 3072)
            listed.append([name, dump(name, {"data": written, key: labels(images, classes)})])
        monkeypatch.setattr(loader, attribute, listed)
    names = [str(number) for number in range(classes)]
    digest = dump(loader.meta["filename"], {loader.meta["key"]: names})
    monkeypatch.setattr(loader, "meta", {**loader.meta, "md5": digest})
    return written.reshape(-1, 3, 32, 32)


def write_svhn(data: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Write SVHN's MATLAB files, whose class of the digit 0 is called 10; return the test images."""
    folder = data / "SVHN"
    folder.mkdir(parents=True)
    listed, written = {}, pixels(0)
    for split in ("train", "test"):
        url, name, _ = torchvision.datasets.SVHN.split_list[split]
        written = pixels(32, 32, 3, IMAGES)
        digits = np.array([[each or 10] for each in labels(IMAGES, 10)], dtype=np.uint8)
        scipy.io.savemat(folder / name, {"X": written, "y": digits})
        listed[split] = [url, name, hashlib.md5((folder / name).read_bytes()).hexdigest()]
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", listed)
    return written.transpose(3, 2, 0, 1)


def idx(values: np.ndarray) -> bytes:
    """Return a file of MNIST's format: type, number of dimensions, sizes, values."""
    return bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">i4").tobytes() + values.tobytes()


def write_mnist(data: Path, name: str = "MNIST") -> np.ndarray:
    """Write the four files of MNIST or one of its relatives; return the test images."""
    folder = data / name / "raw"
    folder.mkdir(parents=True)
    written = pixels(0)
    for split in ("train", "t10k"):
        written = pixels(IMAGES, 28, 28)
        (folder / f"{split}-images-idx3-ubyte").write_bytes(idx(written))
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(idx(np.array(labels(IMAGES, 10), dtype=np.uint8)))
    return written[:, None]


def write_folder(root: Path, *, classes: int = 2, images: int = 6, size: tuple[int, int] = (40, 30)) -> None:
    """Write JPEG and PNG files, grey ones among them, in train/CLASS/ and val/CLASS/."""
    for split in ("train", "val"):
        for number in range(classes):
            folder = root / split / f"class{number}"
            folder.mkdir(parents=True)
            for index in range(images):
                values = pixels(size[1], size[0], 3) // 2 + 100 * number
                image = Image.fromarray(values.astype(np.uint8))
                if index == 0:
                    image = image.convert("L")
                image.save(folder / (f"{index}.png" if index % 2 else f"{index}.JPEG"))
