"""The shared table of (model, loss, data) cases: small, in double precision, on the device of the test."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from tests.accelerator import CPU, current_device, needs, tolerance

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Case:
    """A model with its mini-batches; `loss(step)` is the closure of one step."""

    model: nn.Module
    batches: list[Batch]

    def loss(self, step: int = 0) -> Callable[[], Tensor]:
        inputs, targets = self.batches[step % len(self.batches)]
        return lambda: F.cross_entropy(self.model(inputs), targets)

    def parameters(self) -> list[nn.Parameter]:
        return [p for p in self.model.parameters() if p.requires_grad]

    def used(self) -> list[nn.Parameter]:
        """Return the trainable parameters that the loss depends on."""
        gradients = torch.autograd.grad(self.loss()(), self.parameters(), allow_unused=True)
        return [p for p, g in zip(self.parameters(), gradients, strict=True) if g is not None]

    def copy(self) -> Case:
        return Case(copy.deepcopy(self.model), self.batches)

    def to(self, device: torch.device) -> Case:
        """Return a copy on a device."""
        batches = [(inputs.to(device), targets.to(device)) for inputs, targets in self.batches]
        return Case(copy.deepcopy(self.model).to(device), batches)


class Attention(nn.Module):
    """One pre-norm transformer block over a short sequence, with scaled_dot_product_attention."""

    def __init__(self, width: int = 6, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.readout = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.project(mixed.transpose(1, 2).reshape(batch, length, width))
        x = x + self.mlp(self.norm2(x))
        return self.readout(x.mean(1))


class WithUnused(nn.Module):
    """A network with a parameter that the loss does not depend on and one that is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 5)
        self.unused = nn.Parameter(torch.ones(3))
        self.last = nn.Linear(5, 3)
        self.first.bias.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.first(x)))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


def conv_bn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, bias=False),
        nn.BatchNorm2d(3),
        nn.Softplus(),
        nn.Conv2d(3, 4, 2, stride=2),
        nn.Softplus(),
        nn.Flatten(),
        nn.Linear(16, 3),
    )


_TABLE: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (mlp, (4,)),
    "conv_bn": (conv_bn, (1, 6, 6)),
    "attention": (Attention, (4, 6)),
    "frozen_and_unused": (WithUnused, (4,)),
}

NAMES = list(_TABLE)


def build(name: str, *, seed: int = 0, batches: int = 3, size: int = 8) -> Case:
    """Build a case; the same seed gives the same weights and data on every device."""
    needs(torch.float64)
    model_of, shape = _TABLE[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_of().double()
        data = [(torch.randn(size, *shape).double(), torch.randint(0, 3, (size,))) for _ in range(batches)]
    return Case(model, data).to(current_device())


class Oracle:
    """Gradients and Hessian-vector products of a case as functions of NumPy arrays, straight from autograd on the CPU.

    Points are lists with one array per used parameter, in the optimizer's order. It has a copy of the
    model, so it shares nothing with the optimizer that is being tested, and the objective plays no part.
    """

    def __init__(self, case: Case) -> None:
        self._case = case.to(CPU)
        self._parameters = self._case.used()
        trainable = self._case.parameters()
        self._places = [i for i, p in enumerate(trainable) if any(p is q for q in self._parameters)]

    def start(self) -> list[np.ndarray]:
        return [p.detach().numpy().copy() for p in self._parameters]

    def gradient(self, point: Sequence[np.ndarray], step: int) -> list[np.ndarray]:
        gradients = torch.autograd.grad(self._loss(point, step), self._parameters)
        return [g.numpy() for g in gradients]

    def product(self, point: Sequence[np.ndarray], vector: Sequence[np.ndarray], step: int) -> list[np.ndarray]:
        gradients = torch.autograd.grad(self._loss(point, step), self._parameters, create_graph=True)
        cotangents = [torch.from_numpy(v) for v in vector]
        products = torch.autograd.grad(gradients, self._parameters, cotangents)
        return [p.numpy() for p in products]

    def used_part(self, per_trainable: Sequence[Tensor]) -> list[np.ndarray]:
        """Return the arrays of the used parameters out of one tensor per trainable parameter."""
        return [to_array(per_trainable[i]) for i in self._places]

    def _loss(self, point: Sequence[np.ndarray], step: int) -> Tensor:
        with torch.no_grad():
            for parameter, value in zip(self._parameters, point, strict=True):
                parameter.copy_(torch.from_numpy(value))
        with sdpa_kernel(SDPBackend.MATH):
            return self._case.loss(step)()


def to_array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()


def flat(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([array.ravel() for array in arrays])


def dense_hessian(case: Case, step: int = 0) -> np.ndarray:
    """Return the Hessian with respect to the used parameters, row by row from autograd on the CPU."""
    case = case.to(CPU)
    parameters = case.used()
    with sdpa_kernel(SDPBackend.MATH):
        gradients = torch.autograd.grad(case.loss(step)(), parameters, create_graph=True)
    rows = [
        torch.autograd.grad(entry, parameters, retain_graph=True)
        for gradient in gradients
        for entry in gradient.flatten()
    ]
    return np.stack([flat([part.numpy() for part in row]) for row in rows])


def assert_same_path(found: Sequence[Tensor], expected: Sequence[np.ndarray], on_the_cpu: float = 1e-12) -> None:
    """Assert that weights agree to the device's tolerance, relative to the largest weight."""
    ours, theirs = flat([to_array(f) for f in found]), flat(expected)
    assert np.isfinite(theirs).all()
    assert np.abs(ours - theirs).max() <= tolerance(on_the_cpu) * np.abs(theirs).max()
