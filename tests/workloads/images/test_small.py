"""Small data sets: read by torchvision from files in their published formats; what is missing is said."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.datasets

from benchbench.workloads.images import small
from tests.workloads.images.published import IMAGES, write_cifar, write_mnist, write_svhn

Writer = Callable[[Path, pytest.MonkeyPatch], np.ndarray]

CASES: list[tuple[Callable[[], small.TorchvisionImages], Writer, int]] = [
    (small.cifar10, write_cifar, 5 * IMAGES),
    (small.cifar100, lambda data, patch: write_cifar(data, patch, classes=100), IMAGES),
    (small.svhn, write_svhn, IMAGES),
    (small.mnist, lambda data, _: write_mnist(data), IMAGES),
    (small.fashion_mnist, lambda data, _: write_mnist(data, "FashionMNIST"), IMAGES),
    (small.kmnist, lambda data, _: write_mnist(data, "KMNIST"), IMAGES),
]


@pytest.mark.parametrize(("factory", "write", "train"), CASES, ids=[case[0].__name__ for case in CASES])
def test_the_published_files_are_read(
    factory: Callable[[], small.TorchvisionImages],
    write: Writer,
    train: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset = factory()
    name, info = dataset.info.name, dataset.info
    assert f"{name} is not there: no {tmp_path}" in str(dataset.missing(tmp_path))
    written = write(tmp_path, monkeypatch)
    assert dataset.missing(tmp_path) is None
    dataset.prepare(tmp_path)  # has nothing to do
    training, test = dataset.load(tmp_path)
    assert torch.equal(test.pixels, torch.as_tensor(written))
    assert training.pixels.dtype == torch.uint8
    assert training.pixels.shape == (train, info.channels, info.image_size, info.image_size)
    assert test.labels.tolist() == [index % info.classes for index in range(IMAGES)]
    assert len(training.labels) == train
    assert len(info.mean) == len(info.deviation) == info.channels


@pytest.mark.parametrize(
    ("factory", "write", "file"),
    [
        (small.cifar10, write_cifar, "cifar-10-batches-py/data_batch_3"),
        (small.svhn, write_svhn, "SVHN/test_32x32.mat"),
        (small.mnist, lambda data, _: write_mnist(data), "MNIST/raw/train-images-idx3-ubyte"),
    ],
)
def test_a_damaged_file_is_named(
    factory: Callable[[], small.TorchvisionImages],
    write: Writer,
    file: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(tmp_path, monkeypatch)
    assert factory().missing(tmp_path) is None
    content = (tmp_path / file).read_bytes()
    for damaged in (content[:-1], content[:3], b""):
        (tmp_path / file).write_bytes(damaged)
        text = str(factory().missing(tmp_path))
        assert f"is damaged: {tmp_path / file} is not as it was published" in text
        assert all(word in text for word in ("benchbench prepare SUITE", "--data-dir", "--synthetic"))


def test_preparing_replaces_a_damaged_file_through_torchvision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_mnist(tmp_path / "source")
    shutil.copytree(tmp_path / "source", tmp_path / "data")
    broken = tmp_path / "data/MNIST/raw/t10k-labels-idx1-ubyte"
    broken.write_bytes(broken.read_bytes()[:-1])

    def download(loader: torchvision.datasets.MNIST) -> None:
        if not loader._check_exists():
            shutil.copytree(tmp_path / "source/MNIST/raw", loader.raw_folder, dirs_exist_ok=True)

    monkeypatch.setattr(torchvision.datasets.MNIST, "download", download)
    small.mnist().prepare(tmp_path / "data")
    assert small.mnist().missing(tmp_path / "data") is None
    assert "downloading MNIST" in capsys.readouterr().err


def test_a_download_that_is_wrong_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets.MNIST, "download", lambda _: None)
    with pytest.raises(RuntimeError, match="not found"):
        small.mnist().prepare(tmp_path)
