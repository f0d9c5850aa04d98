"""Networks of the paper for measurements: ResNet-32 to run, and the parameter lists of ResNet-32 and WRN-28-10."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchbench.workloads.digits import ResidualBlock

Shape = tuple[int, ...]


def resnet(depth: int = 32, width: int = 16, classes: int = 100) -> nn.Module:
    """Return the residual network of He et al. for 32x32 images with `depth` = 6 n + 2 layers."""
    blocks: list[nn.Module] = []
    channels = width
    for stage in range(3):
        for index in range((depth - 2) // 6):
            out = width * 2**stage
            blocks.append(ResidualBlock(channels, out, stride=2 if stage and not index else 1))
            channels = out
    stem = [nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def resnet32_shapes() -> list[Shape]:
    with torch.device("meta"):
        return [tuple(parameter.shape) for parameter in resnet().parameters()]


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
