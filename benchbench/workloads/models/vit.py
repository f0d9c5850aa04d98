"""Simple vision transformers: ViT-S/32 and ViT-S/16.

Beyer, Zhai, Kolesnikov: "Better plain ViT baselines for ImageNet-1k" (2022, arXiv:2205.01580): fixed positions, no
class token, mean over the tokens, no dropout. As in the reproduced paper, and unlike the original: patches are embedded
by layer norm, a linear layer and layer norm; the projections of attention have no bias; all layers start as torch's do.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_TEMPERATURE = 10_000.0


def sincos_positions(rows: int, columns: int, width: int) -> Tensor:
    """Return fixed positions of the patches of an image, row by row, as a tensor of shape (rows * columns, width).

    With w_i = 10000^(-i / (width / 4 - 1)) for i = 0, ..., width / 4 - 1, the patch in row r and column c has the four
    parts sin(c w), cos(c w), sin(r w), cos(r w) (Beyer et al. 2022; Chen, Xie, He 2021, arXiv:2104.02057).

    Args:
        rows: Number of patches from top to bottom.
        columns: Number of patches from left to right.
        width: Width of the tokens, a multiple of 4 and at least 8.
    """
    count = width // 4
    frequencies = _TEMPERATURE ** -(torch.arange(count, dtype=torch.float64) / (count - 1))
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    by_row, by_column = (place.flatten()[:, None] * frequencies for place in (row, column))
    return torch.cat([by_column.sin(), by_column.cos(), by_row.sin(), by_row.cos()], dim=1).to(
        torch.get_default_dtype()
    )


class _Attention(nn.Module):
    """Multi-head self-attention behind layer norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.project = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens of shape (n, tokens, width) to the same shape."""
        qkv = self.qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed: Tensor = self.project(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))
        return mixed


class _Block(nn.Module):
    """A pre-norm transformer block: attention and a perceptron, each added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = _Attention(width, heads)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens of shape (n, tokens, width) to the same shape."""
        x = x + self.attention(x)
        out: Tensor = x + self.mlp(x)
        return out


class SimpleViT(nn.Module):
    """A vision transformer on square patches; its perceptrons are four times as wide as its tokens.

    Args:
        classes: Number of logits.
        channels: Channels of the images.
        image_size: Side of the images, a multiple of `patch`.
        patch: Side of a patch in pixels.
        width: Width of the tokens, a multiple of 4 and of `heads`, at least 8.
        depth: Number of blocks.
        heads: Attention heads of a block.

    Raises:
        ValueError: The images cannot be cut into patches, or the tokens into heads or positions.
    """

    positions: Tensor

    def __init__(
        self,
        *,
        classes: int,
        channels: int,
        image_size: int,
        patch: int = 32,
        width: int = 384,
        depth: int = 12,
        heads: int = 6,
    ) -> None:
        super().__init__()
        if image_size < patch or image_size % patch:
            raise ValueError(
                f"the image size must be a multiple of the patch size {patch} (got image_size {image_size})"
            )
        if width < 8 or width % 4 or width % heads:
            raise ValueError(f"the width must be at least 8 and a multiple of 4 and of {heads} heads (got {width})")
        self.patch = patch
        self.embed = nn.Sequential(
            nn.LayerNorm(channels * patch**2), nn.Linear(channels * patch**2, width), nn.LayerNorm(width)
        )
        side = image_size // patch
        self.register_buffer("positions", sincos_positions(side, side, width), persistent=False)
        self.blocks = nn.Sequential(*(_Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images of shape (n, channels, image_size, image_size) to logits of shape (n, classes)."""
        tokens = self.embed(_patches(x, self.patch)) + self.positions
        logits: Tensor = self.head(self.norm(self.blocks(tokens)).mean(1))
        return logits


def _patches(images: Tensor, patch: int) -> Tensor:
    """Cut (n, channels, h, w) into (n, h w / patch^2, patch^2 channels), row by row, channels last within a patch."""
    count, channels, height, width = images.shape
    cut = images.reshape(count, channels, height // patch, patch, width // patch, patch)
    return cut.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


def vit_s_32(*, classes: int, channels: int, image_size: int) -> SimpleViT:
    """ViT-S/32: width 384, 12 blocks of 6 heads, patches of 32 pixels, fixed positions (Beyer et al. 2022).

    Args:
        classes: Number of logits.
        channels: Channels of the images.
        image_size: Side of the images, a multiple of 32.
    """
    return SimpleViT(classes=classes, channels=channels, image_size=image_size, patch=32)


def vit_s_16(*, classes: int, channels: int, image_size: int) -> SimpleViT:
    """ViT-S/16: width 384, 12 blocks of 6 heads, patches of 16 pixels, fixed positions (Beyer et al. 2022).

    Args:
        classes: Number of logits.
        channels: Channels of the images.
        image_size: Side of the images, a multiple of 16.
    """
    return SimpleViT(classes=classes, channels=channels, image_size=image_size, patch=16)
