"""Samples per second of the loader of images in memory, against torchvision's transforms in worker processes.

Both serve epochs of CIFAR-shaped random images in batches of 256 on the CPU: cropped from four pixels of zeros,
mirrored, normalised. torchvision's transforms work on PIL images in a `DataLoader` with two processes that stay from
epoch to epoch.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from figures import ratio, show, time_in_turns
from torch import Tensor
from torch.utils.data import DataLoader

from benchbench.workloads.images.small import cifar10
from benchbench.workloads.images.tensors import TensorImages

BATCH_SIZE = 256
WORKERS = 2
TARGET = 10.0


class OneByOne(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Images as torchvision's data sets hand them out: one PIL image at a time, transformed."""

    def __init__(self, images: TensorImages) -> None:
        from torchvision import transforms

        info = cifar10().info
        self._pixels = images.pixels.permute(0, 2, 3, 1).contiguous().numpy()
        self._labels = images.labels.tolist()
        self._transform = transforms.Compose(
            [
                transforms.RandomCrop(info.image_size, padding=info.padding),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(info.mean, info.deviation),
            ]
        )

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image

        return self._transform(Image.fromarray(self._pixels[index])), self._labels[index]


def ours(images: TensorImages) -> Callable[[], None]:
    """Return an epoch of the harness's loader."""
    source = images.source(cifar10().info, torch.device("cpu"), augment=True)
    generator = torch.Generator().manual_seed(0)

    def epoch() -> None:
        order = torch.randperm(len(images.labels), generator=generator)
        batches = zip(
            source.training(order, BATCH_SIZE, generator), images.labels[order].split(BATCH_SIZE), strict=True
        )
        consume(batches)

    return epoch


def theirs(images: TensorImages) -> Callable[[], None]:
    """Return an epoch of torchvision's transforms in a loader of torch."""
    loader = DataLoader(
        OneByOne(images), batch_size=BATCH_SIZE, shuffle=True, num_workers=WORKERS, persistent_workers=True
    )
    return lambda: consume(loader)


def consume(batches: Any) -> None:
    """Take all batches of an epoch."""
    for inputs, labels in batches:
        assert len(inputs) == len(labels)


def main() -> None:
    """Print the samples per second of both and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (options.images, 3, 32, 32), dtype=torch.uint8, generator=generator)
    images = TensorImages(pixels, torch.randint(10, (options.images,), generator=generator))
    seconds = time_in_turns({"ours": ours(images), "theirs": theirs(images)}, rounds=options.rounds, warmup=1)
    for name, what in (("ours", "one gather per batch"), ("theirs", f"torchvision, {WORKERS} processes")):
        middle = sorted(seconds[name])[options.rounds // 2]
        print(f"{what}: {options.images / middle:,.0f} samples/s")
    show("images/s of the loader in memory / torchvision's", ratio(seconds, "theirs", "ours"), at_least=TARGET)


if __name__ == "__main__":
    main()
