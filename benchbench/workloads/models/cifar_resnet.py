"""Residual networks for small images: ResNet-20, 32, 44, 56 and 110.

He, Zhang, Ren, Sun: "Deep residual learning for image recognition" (CVPR 2016), section 4.2. There, shortcuts have no
parameters where the shape changes (option A). Here, they are projections (option B), as in the reproduced paper:
ResNet-20 for ten classes has 272,474 parameters instead of 269,722.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from benchbench.workloads.models.stages import blocks_per_stage, require_room_for_stages


class _Block(nn.Module):
    """Two 3x3 convolutions with batch norm, added to the input, which is projected where the shape changes."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.stride = stride
        self.shortcut = nn.Sequential()
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(nn.Conv2d(channels_in, channels, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels_in, h, w) to (n, channels, ceil(h / stride), ceil(w / stride))."""
        out = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        # A strided 1x1 convolution sees every second pixel. They are taken here instead, at the same speed, because for
        # channels-last inputs of two or three channels, torch's strided kernel (2.14, CPU) returns wrong gradients of
        # the weights and writes outside its memory.
        return F.relu(out + self.shortcut(x[:, :, :: self.stride, :: self.stride]))


class CifarResNet(nn.Module):
    """A residual network of depth 6 n + 2: three stages of n blocks, at full, half and quarter resolution.

    Convolutions have no bias and start from a normal distribution of variance 2 / (kernel area * output channels) (He,
    Zhang, Ren, Sun: "Delving deep into rectifiers", ICCV 2015, equation 14); batch norm starts at scale 1 and shift 0,
    also at the end of a block; the linear layer starts as torch's does.

    Args:
        classes: Number of logits.
        channels: Channels of the images.
        image_size: Side of the images, at least 8 pixels.
        depth: Number of convolutions and linear layers, without the projections, 6 n + 2.
        width: Channels of the first stage; the two others have twice and four times as many.

    Raises:
        ValueError: The depth has another form, or the images are too small.
    """

    def __init__(self, *, classes: int, channels: int, image_size: int, depth: int = 20, width: int = 16) -> None:
        super().__init__()
        require_room_for_stages(image_size)
        blocks = blocks_per_stage(depth, layers_around=2)
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.stages = nn.Sequential(
            _stage(width, width, 1, blocks),
            _stage(width, 2 * width, 2, blocks),
            _stage(2 * width, 4 * width, 2, blocks),
        )
        self.head = nn.Linear(4 * width, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Map images of shape (n, channels, h, w) to logits of shape (n, classes)."""
        logits: Tensor = self.head(self.stages(self.stem(x)).mean((2, 3)))
        return logits


def _stage(channels_in: int, channels: int, stride: int, blocks: int) -> nn.Sequential:
    first = _Block(channels_in, channels, stride)
    return nn.Sequential(first, *(_Block(channels, channels, stride=1) for _ in range(blocks - 1)))


def resnet20(*, classes: int, channels: int, image_size: int, width: int = 16) -> CifarResNet:
    """ResNet-20 for small images with projections as shortcuts (He et al. 2016, section 4.2).

    Args:
        classes: Number of logits.
        channels: Channels of the images.
        image_size: Side of the images, at least 8 pixels.
        width: Channels of the first stage; the two others have twice and four times as many.
    """
    return CifarResNet(classes=classes, channels=channels, image_size=image_size, depth=20, width=width)


def resnet32(*, classes: int, channels: int, image_size: int, width: int = 16) -> CifarResNet:
    """ResNet-32 for small images with projections as shortcuts (He et al. 2016, section 4.2).

    Args:
        classes: Number of logits.
        channels: Channels of the images.
        image_size: Side of the images, at least 8 pixels.
        width: Channels of the first stage; the two others have twice and four times as many.
    """
    return CifarResNet(classes=classes, channels=channels, image_size=image_size, depth=32, width=width)


def resnet56(*, classes: int, channels: int, image_size: int, width: int = 16) -> CifarResNet:
    """ResNet-56 for small images with projections as shortcuts (He et al. 2016, section 4.2).

    Args:
        classes: Number of logits.
        channels: Channels of the images.
        image_size: Side of the images, at least 8 pixels.
        width: Channels of the first stage; the two others have twice and four times as many.
    """
    return CifarResNet(classes=classes, channels=channels, image_size=image_size, depth=56, width=width)
