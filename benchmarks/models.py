"""Models of the performance figures: the CIFAR ResNet and a small GPT, on synthetic data."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    """Two 3x3 convolutions with batch norm; where the shape changes, a 1x1 convolution as shortcut (option B)."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride != 1 or width_in != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(width_in, width, 1, stride, bias=False),
                nn.BatchNorm2d(width),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's activations."""
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class ResNet(nn.Module):
    """ResNet of He et al. (2016), section 4.2: depth 6 n + 2, three stages, on 32x32 images."""

    def __init__(self, depth: int, *, width: int = 16, classes: int = 100) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        width_in = width
        for stage in range(3):
            for place in range((depth - 2) // 6):
                blocks.append(Block(width_in, width << stage, 2 if stage and not place else 1))
                width_in = width << stage
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(width_in, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


class GPTBlock(nn.Module):
    """A pre-norm transformer block with causal attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the residual stream after the block."""
        batch, length, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.project(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    """A small GPT: 4 blocks of width 128 with 4 heads, 128 tokens out of 512."""

    def __init__(
        self, *, blocks: int = 4, width: int = 128, heads: int = 4, length: int = 128, words: int = 512
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(words, width)
        self.places = nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(GPTBlock(width, heads) for _ in range(blocks)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, words, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits, one row per token."""
        x = self.words(tokens) + self.places.weight[: tokens.shape[1]]
        return self.head(self.norm(self.blocks(x))).flatten(0, 1)


def build(name: str) -> tuple[nn.Module, Callable[[], Tensor]]:
    """Return a model ("resnet20", "resnet32" or "gpt") and the closure of its loss on one batch."""
    torch.manual_seed(0)
    if name == "gpt":
        model: nn.Module = GPT()
        inputs, targets = torch.randint(0, 512, (8, 128)), torch.randint(0, 512, (8 * 128,))
    else:
        model = ResNet(int(name.removeprefix("resnet")))
        inputs, targets = torch.randn(64, 3, 32, 32), torch.randint(0, 100, (64,))
    return model, lambda: F.cross_entropy(model(inputs), targets)
