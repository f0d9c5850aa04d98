"""Wide residual networks: WRN-28-10 and other depths and widths.

Zagoruyko, Komodakis: "Wide residual networks" (BMVC 2016). As in the reproduced paper, and unlike the original:
convolutions have a bias; the second convolution of a block is the strided one; projections take the block's raw input
(the original's: its normalised input); the last batch norm has momentum 0.9; all layers start as torch's do.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from benchbench.workloads.models.stages import blocks_per_stage, require_room_for_stages

_STEM_CHANNELS = 16


class _Block(nn.Module):
    """Batch norm, ReLU, 3x3 convolution, twice, added to the input, which is projected where the shape changes."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, padding=1)
        self.stride = stride
        self.shortcut = nn.Sequential()
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(nn.Conv2d(channels_in, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels_in, h, w) to (n, channels, ceil(h / stride), ceil(w / stride))."""
        out = self.conv1(F.relu(self.norm1(x)))
        out = self.conv2(F.relu(self.norm2(out)))
        # Every second pixel is taken here and not by the 1x1 convolution, for the reason given in `cifar_resnet`.
        total: Tensor = out + self.shortcut(x[:, :, :: self.stride, :: self.stride])
        return total


class WideResNet(nn.Module):
    """A wide residual network of depth 6 n + 4: three stages of n blocks, at full, half and quarter resolution.

    Args:
        classes: Number of logits.
        channels: Channels of the images.
        image_size: Side of the images, at least 8 pixels.
        depth: Number of convolutions, the projections among them, 6 n + 4.
        widen: The paper's k: the stages have 16 k, 32 k and 64 k channels.

    Raises:
        ValueError: The depth has another form, or the images are too small.
    """

    def __init__(self, *, classes: int, channels: int, image_size: int, depth: int = 28, widen: int = 10) -> None:
        super().__init__()
        require_room_for_stages(image_size)
        blocks = blocks_per_stage(depth, layers_around=4)
        widths = [_STEM_CHANNELS * widen * scale for scale in (1, 2, 4)]
        self.stem = nn.Conv2d(channels, _STEM_CHANNELS, 3, padding=1)
        self.stages = nn.Sequential(
            _stage(_STEM_CHANNELS, widths[0], 1, blocks),
            _stage(widths[0], widths[1], 2, blocks),
            _stage(widths[1], widths[2], 2, blocks),
        )
        self.norm = nn.BatchNorm2d(widths[2], momentum=0.9)  # torch's momentum: the weight of the new statistics
        self.head = nn.Linear(widths[2], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images of shape (n, channels, h, w) to logits of shape (n, classes)."""
        logits: Tensor = self.head(F.relu(self.norm(self.stages(self.stem(x)))).mean((2, 3)))
        return logits


def _stage(channels_in: int, channels: int, stride: int, blocks: int) -> nn.Sequential:
    first = _Block(channels_in, channels, stride)
    return nn.Sequential(first, *(_Block(channels, channels, stride=1) for _ in range(blocks - 1)))


def wrn_28_10(*, classes: int, channels: int, image_size: int) -> WideResNet:
    """WRN-28-10 (Zagoruyko and Komodakis 2016), with the second convolution of a block strided.

    Args:
        classes: Number of logits.
        channels: Channels of the images.
        image_size: Side of the images, at least 8 pixels.
    """
    return WideResNet(classes=classes, channels=channels, image_size=image_size, depth=28, widen=10)
