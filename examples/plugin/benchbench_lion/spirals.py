"""Two spirals that wind around each other: a small problem that no linear model solves."""

from __future__ import annotations

import math

import torch
from torch import nn

from benchbench.workloads import Setup, Workload
from benchbench.workloads.classification import Split, TensorClassification

_TURNS = 1.5


def build(setup: Setup, *, hidden: int = 32, noise: float = 0.05) -> TensorClassification:
    """Two spirals with a perceptron of two hidden layers.

    512 points for training, 256 for validation, 256 for test; the same for every seed.

    Args:
        setup: Device, batch size and random streams.
        hidden: Units of each hidden layer.
        noise: Standard deviation of the points around their spiral.
    """
    model = nn.Sequential(nn.Linear(2, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, 2))
    train, validation, test = (points(count, noise, seed) for seed, count in enumerate((512, 256, 256)))
    return TensorClassification(setup, model, train, {"validation": validation, "test": test})


def points(count: int, noise: float, seed: int) -> Split:
    """Return points in turn from the two spirals, and which one each belongs to."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    radius = torch.rand(count, generator=generator).sqrt()
    angle = 2 * math.pi * _TURNS * radius + math.pi * labels
    positions = radius[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1)
    return Split(positions + noise * torch.randn(count, 2, generator=generator), labels)


spirals = Workload(build)
