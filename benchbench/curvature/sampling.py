"""Random vectors, quadratic forms of the Hessian over many of them, and what a sample says."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benchbench.curvature.surface import LossSurface
from benchbench.optim.hutchinson import rademacher
from benchbench.values.sharpness.values import Estimate
from benchbench.workloads.streams import Streams


def estimate(samples: Tensor) -> Estimate:
    """Return what independent `samples` (one dimension, at least one entry) say of their expectation."""
    n = len(samples)
    error = None if n < 2 else samples.std().item() / math.sqrt(n)
    return Estimate(mean=samples.mean().item(), standard_error=error, samples=n)


def gaussian(surface: LossSurface, seed: int, name: str, index: int = 0) -> Tensor:
    """Return a standard normal vector of the surface's dimension: the same in every type, on every device and rank."""
    generator = Streams(seed).generator(name, index)
    return torch.randn(surface.dimension, generator=generator, dtype=torch.float64).to(surface.device, surface.dtype)


def signs(surface: LossSurface, seed: int, name: str, index: int = 0) -> Tensor:
    """Return a vector of independent fair signs of the surface's dimension."""
    like = torch.empty(surface.dimension, dtype=surface.dtype, device=surface.device)
    ((vector,),) = rademacher([like], n_samples=1, seed=Streams(seed).seed(name), step=index)
    return vector


def in_passes(
    surface: LossSurface, vector: Callable[[int], Tensor], count: int, products_per_pass: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Multiply the Hessian with `vector(0)`, ..., `vector(count - 1)`.

    Yields:
        Per pass over the data up to `products_per_pass` of the vectors and their products, as rows.
    """
    for start in range(0, count, products_per_pass):
        vectors = torch.stack([vector(i) for i in range(start, min(start + products_per_pass, count))])
        yield vectors, surface.hvp(vectors)


def quadratic_forms(
    surface: LossSurface, vector: Callable[[int], Tensor], count: int, products_per_pass: int
) -> Tensor:
    """Return v' H v for v = `vector(0)`, ..., `vector(count - 1)`, in float64 on the CPU."""
    passes = in_passes(surface, vector, count, products_per_pass)
    return torch.cat([torch.linalg.vecdot(vectors, products) for vectors, products in passes]).double().cpu()
