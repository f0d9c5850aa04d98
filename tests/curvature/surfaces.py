"""Small loss surfaces in float64, and their dense Hessians straight from autograd on the CPU."""

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
from benchbench.optim.execution.buffers import ModelBuffers
from tests.accelerator import CPU, current_device, needs
from tests.helpers import model_cases

SIZES = (8, 5, 2)
"""Sizes of the batches of every model's surface."""

MODELS = [(name, False) for name in model_cases.NAMES] + [("conv_bn", True)]
"""The shared cases, and whether they are in training mode: it makes a difference to batch norm only."""

every_model = pytest.mark.parametrize(("name", "training"), MODELS)


@dataclass(frozen=True)
class Solution:
    """A model with batches of different sizes."""

    model: nn.Module
    batches: list[model_cases.Batch]

    def surface(self, **options: Any) -> LossSurface:
        return LossSurface(
            self.model.parameters(),
            lambda: iter(self.batches),
            self.loss,
            lambda batch: len(batch[1]),
            buffers=ModelBuffers(self.model.modules()),
            **options,
        )

    def loss(self, batch: model_cases.Batch) -> Tensor:
        inputs, targets = batch
        return F.cross_entropy(self.model(inputs), targets)


def solution(name: str, *, training: bool = False) -> Solution:
    """Return one of the shared cases; its batch norm has running statistics that are not those of the data."""
    case = model_cases.build(name)
    for index, buffer in enumerate(case.model.buffers()):
        if buffer.is_floating_point():
            generator = torch.Generator().manual_seed(index)
            buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator, dtype=buffer.dtype))
    batches = [(x[:n], y[:n]) for (x, y), n in zip(case.batches, SIZES, strict=True)]
    return Solution(case.model.train(training), batches)


class Dense:
    """Loss, gradient and Hessian of a solution with respect to all its trainable parameters, from a copy of it."""

    def __init__(self, original: Solution) -> None:
        batches = [(inputs.to(CPU), targets.to(CPU)) for inputs, targets in original.batches]
        copied = Solution(copy.deepcopy(original.model).to(CPU), batches)
        parameters = [p for p in copied.model.parameters() if p.requires_grad]
        with sdpa_kernel(SDPBackend.MATH):
            losses = torch.stack([copied.loss(batch) for batch in copied.batches])
            loss = losses @ torch.tensor(SIZES, dtype=losses.dtype) / sum(SIZES)
            gradients = torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True)
            gradient = torch.cat([g.flatten() for g in gradients])
            rows = [_row(entry, parameters) for entry in gradient]
        self.loss = loss.item()
        self.gradient = gradient.detach().to(current_device())
        self.hessian = torch.stack(rows).to(current_device())

    @property
    def eigenvalues(self) -> Tensor:
        return torch.linalg.eigvalsh(self.hessian.to(CPU))


def dense(name: str, *, training: bool = False) -> Dense:
    """Return what `Dense` says of a shared case."""
    needs(torch.float64)
    return _dense(name, training, current_device())


@cache
def _dense(name: str, training: bool, _device: torch.device) -> Dense:
    return Dense(solution(name, training=training))


def _row(entry: Tensor, parameters: list[nn.Parameter]) -> Tensor:
    if not entry.requires_grad:
        return torch.zeros(sum(p.numel() for p in parameters), dtype=entry.dtype)
    parts = torch.autograd.grad(entry, parameters, retain_graph=True, materialize_grads=True)
    return torch.cat([part.flatten() for part in parts])


def symmetric(spectrum: np.ndarray | list[float], seed: int = 0) -> Tensor:
    """Return a matrix with this spectrum and random eigenvectors."""
    needs(torch.float64)
    eigenvalues = torch.as_tensor(spectrum, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(len(eigenvalues), len(eigenvalues), generator=generator).double()).Q
    return (basis @ torch.diag(eigenvalues) @ basis.T).to(current_device())


def quadratic(
    hessian: Tensor, *, at: Tensor | None = None, slope: Tensor | None = None, parts: tuple[int, ...] = (1,)
) -> LossSurface:
    """Return the surface of b'x + x'Hx / 2, split into several parts of different weight whose mean it is."""
    n = len(hessian)
    start = torch.zeros(n).to(hessian) if at is None else at.clone()
    x = start.requires_grad_()
    b = torch.zeros(n).to(hessian) if slope is None else slope
    generator = torch.Generator().manual_seed(1)
    extra = [torch.randn(n, n, generator=generator).to(hessian) for _ in parts]
    mean = sum(w * (e + e.T) for w, e in zip(parts, extra, strict=True)) / sum(parts)
    matrices = [hessian + e + e.T - mean for e in extra]
    return LossSurface(
        [x],
        lambda: zip(matrices, parts, strict=True),
        lambda batch: b @ x + x @ (batch[0] @ x) / 2,
        lambda batch: batch[1],
        buffers=ModelBuffers([]),
    )
