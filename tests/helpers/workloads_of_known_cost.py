"""Workloads whose cost is known on paper, named in suites as `FILE:attribute`.

They are so wide that the input layer, which needs no gradient with respect to its input, hardly counts.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchbench.values import Metrics
from benchbench.workloads import Setup, Workload

CLASSES = 4


class RandomTask:
    """Random inputs, three batches an epoch, the last of half the size."""

    selection_metric = "accuracy"
    higher_is_better = True
    steps_per_epoch = 3

    def __init__(self, setup: Setup, model: nn.Module, inputs: Tensor) -> None:
        self.model = model.to(setup.device)
        self._inputs = inputs
        self._generator = setup.streams.generator("order")

    def batches(self, epoch: int) -> Iterator[dict[str, Tensor]]:
        half = len(self._inputs) // 2
        for size in (2 * half, 2 * half, half):
            labels = torch.randint(0, CLASSES, (size,), generator=self._generator)
            yield {"inputs": self._inputs[:size], "labels": labels}

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(self.model(batch["inputs"]), batch["labels"])

    def evaluate(self, split: str) -> Metrics:
        return {"loss": 1.0, "accuracy": 0.5}


class Block(nn.Module):
    """A transformer block with torch's scaled_dot_product_attention."""

    def __init__(self, width: int, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.project(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.mlp(self.norm2(x))


def _conv_layer(channels_in: int, channels_out: int, groups: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(channels_in, channels_out, 3, padding=1, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(channels_out), nn.ReLU()]


def build_conv(setup: Setup, *, width: int = 48, groups: int = 1) -> RandomTask:
    """Convolutions with batch norm."""
    layers = [*_conv_layer(1, width), *_conv_layer(width, width, groups), *_conv_layer(width, width, groups)]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, CLASSES))
    return RandomTask(setup, model, torch.linspace(-1, 1, 4 * 36).view(4, 1, 6, 6))


def build_attention(setup: Setup, *, width: int = 16) -> RandomTask:
    """Two transformer blocks over embedded symbols."""
    pool = nn.Sequential(nn.Flatten(), nn.Linear(5 * width, CLASSES))
    model = nn.Sequential(nn.Embedding(7, width), Block(width), Block(width), pool)
    return RandomTask(setup, model, torch.arange(20).view(4, 5) % 7)


class Recurrent(nn.Module):
    """A recurrent layer, which torch has no formula for, and a linear one."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 8, batch_first=True)
        self.readout = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.lstm(x)[0][:, -1])


def build_recurrent(setup: Setup) -> RandomTask:
    """A recurrent network."""
    return RandomTask(setup, Recurrent(), torch.linspace(-1, 1, 60).view(4, 5, 3))


conv = Workload(build_conv)
attention = Workload(build_attention)
recurrent = Workload(build_recurrent)
