"""The density of the Hessian's spectrum by stochastic Lanczos quadrature."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchbench.curvature.lanczos import Lanczos
from benchbench.curvature.sampling import signs
from benchbench.curvature.surface import LossSurface
from benchbench.values.sharpness.values import Quadrature, SpectralDensity


def spectral_density(
    surface: LossSurface,
    *,
    probes: int = 3,
    steps: int = 80,
    bandwidth: float = 0.01,
    points: int = 512,
    products_per_pass: int = 5,
    seed: int = 0,
) -> SpectralDensity:
    """Estimate the density of the spectrum (Ubaru, Chen and Saad 2017; Ghorbani, Krishnan and Xiao 2019).

    From each Rademacher probe, `steps` iterations of Lanczos give a tridiagonal T; the nodes are its eigenvalues, the
    weights the squared first entries of its eigenvectors. For polynomials of degree up to 2 steps - 1 that is exact but
    for the choice of the probe. For the picture every node becomes a Gaussian.

    Args:
        surface: Whose Hessian.
        probes: Number of probes.
        steps: Iterations, fewer where the Krylov space ends. Each keeps one parameter vector in memory per probe
            of a pass.
        bandwidth: Width of the Gaussians, as a fraction of the range of the nodes.
        points: Points of the grid, which extends four widths beyond the nodes.
        products_per_pass: How many probes share passes over the data; it changes cost and memory, not the probes.
        seed: Seed of the probes.
    """
    quadratures: list[Quadrature] = []
    products = 0
    for start in range(0, probes, products_per_pass):
        group = range(start, min(start + products_per_pass, probes))
        iterations = [Lanczos(signs(surface, seed, "density", i)) for i in group]
        _iterate(surface, iterations, steps)
        quadratures += [_quadrature(iteration) for iteration in iterations]  # a group's bases are freed with it
        products += sum(map(len, iterations))
    width, grid, values = _smoothed(quadratures, bandwidth, points)
    return SpectralDensity(
        probes=tuple(quadratures),
        width=width,
        grid=tuple(grid.tolist()),
        values=tuple(values.tolist()),
        products=products,
    )


def _iterate(surface: LossSurface, iterations: list[Lanczos], steps: int) -> None:
    for _ in range(steps):
        active = [iteration for iteration in iterations if not iteration.ended]
        if not active:
            return
        products = surface.hvp(torch.stack([iteration.vector for iteration in active]))
        for iteration, product in zip(active, products, strict=True):
            iteration.advance(product)


def _quadrature(iteration: Lanczos) -> Quadrature:
    if not iteration.finite:
        return Quadrature(nodes=(math.nan,), weights=(math.nan,))
    nodes, vectors = iteration.ritz()
    return Quadrature(nodes=tuple(nodes.tolist()), weights=tuple(vectors[0].square().tolist()))


def _smoothed(quadratures: list[Quadrature], bandwidth: float, points: int) -> tuple[float, Tensor, Tensor]:
    nodes = torch.tensor([node for q in quadratures for node in q.nodes], dtype=torch.float64)
    weights = torch.tensor([weight for q in quadratures for weight in q.weights], dtype=torch.float64)
    low, high = nodes.min().item(), nodes.max().item()
    width = bandwidth * (high - low or abs(high) or 1.0)  # all eigenvalues may be one, and that one zero
    grid = torch.linspace(low - 4 * width, high + 4 * width, points, dtype=torch.float64)
    density = torch.exp(-((grid[:, None] - nodes) / width).square() / 2) @ weights
    return width, grid, density / torch.trapezoid(density, grid)
