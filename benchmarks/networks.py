"""Inputs and parameter lists of the paper's networks, for measurements that need no model, or no training of it."""

from __future__ import annotations

import torch
from models import resnet
from torch import Tensor

Shape = tuple[int, ...]


def resnet32_shapes() -> list[Shape]:
    with torch.device("meta"):
        return [tuple(parameter.shape) for parameter in resnet(32).parameters()]


def wide_resnet_shapes(depth: int = 28, widen: int = 10, classes: int = 100) -> list[Shape]:
    """Return the parameters of a wide residual network (Zagoruyko and Komodakis 2016) without building it."""
    shapes: list[Shape] = [(16, 3, 3, 3)]
    channels = 16
    for stage in range(3):
        for _ in range((depth - 4) // 6):
            out = 16 * widen * 2**stage
            shapes += [(channels,), (channels,), (out, channels, 3, 3), (out,), (out,), (out, out, 3, 3)]
            shapes += [(out, channels, 1, 1)] if channels != out else []
            channels = out
    return [*shapes, (channels,), (channels,), (classes, channels), (classes,)]


def images(count: int, classes: int = 100, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return random images of 3x32x32 and labels."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 3, 32, 32, generator=generator)
    return inputs, torch.randint(0, classes, (count,), generator=generator)
