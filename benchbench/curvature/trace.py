"""Estimates of the Hessian's trace."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchbench.curvature.sampling import estimate, in_passes, quadratic_forms, signs
from benchbench.curvature.surface import LossSurface
from benchbench.values.sharpness.values import TraceEstimate


def hutchinson_trace(
    surface: LossSurface, *, products: int = 100, products_per_pass: int = 5, seed: int = 0
) -> TraceEstimate:
    """Estimate the trace by the mean of z' H z over Rademacher probes z (Hutchinson 1989).

    Its variance is twice the sum of squares of H off the diagonal, over `products`.

    Args:
        surface: Whose Hessian.
        products: Number of probes.
        products_per_pass: How many of them share a pass over the data; it changes cost and memory, not the probes.
        seed: Seed of the probes.
    """
    forms = quadratic_forms(surface, lambda i: signs(surface, seed, "hutchinson", i), products, products_per_pass)
    found = estimate(forms)
    return TraceEstimate(
        method="hutchinson",
        value=found.mean,
        standard_error=found.standard_error,
        samples=found.samples,
        products=products,
    )


def hutch_plus_plus_trace(
    surface: LossSurface, *, products: int = 99, products_per_pass: int = 5, seed: int = 0
) -> TraceEstimate:
    """Estimate the trace by Hutch++ (Meyer, Musco, Musco and Woodruff 2021, algorithm 1).

    With Rademacher matrices S and G and an orthonormal basis Q of the range of H S, which holds the large eigenvalues:

        tr H = tr(Q' H Q) + tr((I - QQ') H (I - QQ')),

    the first part computed and the second estimated by Hutchinson's mean of g' (I - QQ') H (I - QQ') g over the columns
    g of G. A third of the products goes to each of H S, H Q and H (I - QQ') G.

    Args:
        surface: Whose Hessian.
        products: Number of products, at least 3.
        products_per_pass: How many of them share a pass over the data; it changes cost and memory, not the probes.
        seed: Seed of the probes.

    Raises:
        ValueError: There are fewer than 3 products.
    """
    if products < 3:
        raise ValueError(f"Hutch++ needs at least 3 products (got {products})")
    rank = min(products // 3, surface.dimension)
    samples = products - 2 * rank
    sketch = in_passes(surface, lambda i: signs(surface, seed, "hutch++ sketch", i), rank, products_per_pass)
    columns = torch.cat([rows for _, rows in sketch]).T
    if not columns.isfinite().all():
        return TraceEstimate(method="hutch++", value=math.nan, standard_error=math.nan, samples=samples, products=rank)
    basis: Tensor = torch.linalg.qr(columns).Q.T.contiguous()

    def outside(i: int) -> Tensor:
        probe = signs(surface, seed, "hutch++", i)
        return probe - basis.T @ (basis @ probe)

    computed = quadratic_forms(surface, lambda i: basis[i], rank, products_per_pass).sum().item()
    rest = estimate(quadratic_forms(surface, outside, samples, products_per_pass))
    return TraceEstimate(
        method="hutch++",
        value=computed + rest.mean,
        standard_error=rest.standard_error,
        samples=samples,
        products=products,
    )
