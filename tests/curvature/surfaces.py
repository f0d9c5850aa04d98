"""Small loss surfaces in float64, and their dense Hessians straight from autograd."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchbench.curvature import LossSurface
from benchbench.execution.normalizers import normalizers_of
from tests import cases

SIZES = (8, 5, 2)
"""Sizes of the batches of every model's surface."""

MODELS = [(name, False) for name in cases.NAMES] + [("conv_bn", True)]
"""The shared cases, and whether they are in training mode: it makes a difference to batch norm only."""

every_model = pytest.mark.parametrize(("name", "training"), MODELS)


@dataclass(frozen=True)
class Solution:
    """A model with batches of different sizes."""

    model: nn.Module
    batches: list[cases.Batch]

    def surface(self, **options: Any) -> LossSurface:
        return LossSurface(
            self.model.parameters(),
            lambda: iter(self.batches),
            self.loss,
            lambda batch: len(batch[1]),
            normalizers=normalizers_of(self.model),
            **options,
        )

    def loss(self, batch: cases.Batch) -> Tensor:
        inputs, targets = batch
        return F.cross_entropy(self.model(inputs), targets)


def solution(name: str, *, training: bool = False) -> Solution:
    """Return one of the shared cases; its batch norm has running statistics that are not those of the data."""
    case = cases.build(name)
    for index, buffer in enumerate(case.model.buffers()):
        if buffer.is_floating_point():
            generator = torch.Generator().manual_seed(index)
            buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator, dtype=buffer.dtype))
    batches = [(x[:n], y[:n]) for (x, y), n in zip(case.batches, SIZES, strict=True)]
    return Solution(case.model.train(training), batches)


class Dense:
    """Loss, gradient and Hessian of a solution with respect to all its trainable parameters, from a copy of it."""

    def __init__(self, original: Solution) -> None:
        copied = Solution(copy.deepcopy(original.model), original.batches)
        parameters = [p for p in copied.model.parameters() if p.requires_grad]
        with sdpa_kernel(SDPBackend.MATH):
            losses = torch.stack([copied.loss(batch) for batch in copied.batches])
            loss = losses @ torch.tensor(SIZES, dtype=losses.dtype) / sum(SIZES)
            gradients = torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True)
            gradient = torch.cat([g.flatten() for g in gradients])
            rows = [_row(entry, parameters) for entry in gradient]
        self.loss = loss.item()
        self.gradient = gradient.detach()
        self.hessian = torch.stack(rows)

    @property
    def eigenvalues(self) -> Tensor:
        return torch.linalg.eigvalsh(self.hessian)


@cache
def dense(name: str, *, training: bool = False) -> Dense:
    """Return what `Dense` says of a shared case."""
    return Dense(solution(name, training=training))


def _row(entry: Tensor, parameters: list[nn.Parameter]) -> Tensor:
    if not entry.requires_grad:
        return torch.zeros(sum(p.numel() for p in parameters), dtype=entry.dtype)
    parts = torch.autograd.grad(entry, parameters, retain_graph=True, materialize_grads=True)
    return torch.cat([part.flatten() for part in parts])


def symmetric(spectrum: np.ndarray | list[float], seed: int = 0) -> Tensor:
    """Return a matrix with this spectrum and random eigenvectors."""
    eigenvalues = torch.as_tensor(spectrum, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(len(eigenvalues), len(eigenvalues), generator=generator).double()).Q
    return basis @ torch.diag(eigenvalues) @ basis.T


def quadratic(
    hessian: Tensor, *, at: Tensor | None = None, slope: Tensor | None = None, parts: tuple[int, ...] = (1,)
) -> LossSurface:
    """Return the surface of b'x + x'Hx / 2, split into several parts of different weight whose mean it is."""
    n = len(hessian)
    start = torch.zeros(n, dtype=torch.float64) if at is None else at.clone()
    x = start.requires_grad_()
    b = torch.zeros(n, dtype=torch.float64) if slope is None else slope
    generator = torch.Generator().manual_seed(1)
    extra = [torch.randn(n, n, generator=generator).double() for _ in parts]
    mean = sum(w * (e + e.T) for w, e in zip(parts, extra, strict=True)) / sum(parts)
    matrices = [hessian + e + e.T - mean for e in extra]
    return LossSurface(
        [x],
        lambda: zip(matrices, parts, strict=True),
        lambda batch: b @ x + x @ (batch[0] @ x) / 2,
        lambda batch: batch[1],
        normalizers=[],
    )
