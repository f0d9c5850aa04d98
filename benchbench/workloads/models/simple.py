"""Small networks for quick experiments on small images; neither follows a paper."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from benchbench.workloads.models.stages import require_room_for_stages


def mlp(*, classes: int, channels: int, image_size: int, width: int = 256, depth: int = 2) -> nn.Sequential:
    """A perceptron with ReLU.

    Args:
        classes: Number of logits.
        channels: Channels of the images.
        image_size: Side of the images.
        width: Units of a hidden layer.
        depth: Number of hidden layers; without any, it is a linear classifier.
    """
    widths = [channels * image_size**2, *[width] * depth]
    hidden = [layer for before, after in pairwise(widths) for layer in (nn.Linear(before, after), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(widths[-1], classes))


def convnet(*, classes: int, channels: int, image_size: int, width: int = 32) -> nn.Sequential:
    """Three 3x3 convolutions with batch norm and ReLU, the last two strided, and the mean over the pixels.

    Args:
        classes: Number of logits.
        channels: Channels of the images.
        image_size: Side of the images, at least 8 pixels.
        width: Channels of the first convolution; the two others have twice and four times as many.

    Raises:
        ValueError: The images are too small.
    """
    require_room_for_stages(image_size)
    return nn.Sequential(
        *_convolution(channels, width, stride=1),
        *_convolution(width, 2 * width, stride=2),
        *_convolution(2 * width, 4 * width, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4 * width, classes),
    )


def _convolution(channels_in: int, channels: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(channels), nn.ReLU()]
