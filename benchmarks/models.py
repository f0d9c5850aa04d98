"""Models of the performance figures: the CIFAR ResNet and a small GPT, on synthetic data."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchbench.workloads.models import CifarResNet


def resnet(depth: int) -> CifarResNet:
    """Return the residual network of a depth 6 n + 2 for 32x32 images of 100 classes."""
    return CifarResNet(classes=100, channels=3, image_size=32, depth=depth)


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
        model = resnet(int(name.removeprefix("resnet")))
        inputs, targets = torch.randn(64, 3, 32, 32), torch.randint(0, 100, (64,))
    return model, lambda: F.cross_entropy(model(inputs), targets)
