"""Rademacher probes, and the diagonal of the Hessian that they estimate."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from benchbench.objective import Objective


def lazy_hessian_diagonal(
    objective: Objective, groups: Sequence[Mapping[str, Any]]
) -> tuple[Tensor, list[dict[Tensor, Tensor] | None]]:
    """Evaluate `objective`, with the diagonal of its Hessian on the steps on which a parameter group is due for one.

    A group is due on its steps 1, k + 1, 2k + 1, ... with k its `lazy_hessian`; its entry `step` says how many steps it
    has made. Where no group is due, this costs one gradient. Gradients are left in `p.grad`.

    Args:
        objective: The loss of this step.
        groups: Parameter groups with `step`, `lazy_hessian`, and in the first one `n_samples` and `seed` of the probes.

    Returns:
        The loss, and for each group the diagonal by parameter (of all parameters) if it is due, else `None`.
    """
    first = groups[0]
    due = [group["step"] % group["lazy_hessian"] == 0 for group in groups]
    if not any(due):
        return objective(), [None] * len(groups)
    loss, diagonal = hessian_diagonal(objective, n_samples=first["n_samples"], seed=first["seed"], step=first["step"])
    return loss, [diagonal if is_due else None for is_due in due]


def hessian_diagonal(
    objective: Objective, *, n_samples: int, seed: int, step: int
) -> tuple[Tensor, dict[Tensor, Tensor]]:
    """Evaluate `objective` and estimate the diagonal of its Hessian at the same point.

    The estimate is the mean of z * (H z) over Rademacher probes z (Bekas et al. 2007, "An estimator for the
    diagonal of a matrix"): unbiased, and exact for a diagonal Hessian. Gradients are left in `p.grad`.

    Args:
        objective: The loss of this step.
        n_samples: Number of probes; each costs one Hessian-vector product.
        seed: Seed of the probes.
        step: Number of the step; with `seed` it decides the probes.

    Returns:
        The loss, and for each of the objective's parameters its part of the diagonal.
    """
    probes = rademacher(objective.parameters, n_samples=n_samples, seed=seed, step=step)
    loss, products = objective.with_hvp(probes)
    # Not in place: autograd may hand out one tensor as the product of two parameters.
    diagonal = list(torch._foreach_mul(products[0], probes[0]))
    for product, probe in zip(products[1:], probes[1:], strict=True):
        torch._foreach_addcmul_(diagonal, product, probe)
    if n_samples > 1:
        torch._foreach_div_(diagonal, n_samples)
    return loss, dict(zip(objective.parameters, diagonal, strict=True))


def rademacher(like: Sequence[Tensor], *, n_samples: int, seed: int, step: int) -> list[list[Tensor]]:
    """Return `n_samples` probes, each one tensor of independent fair signs (+1 or -1) per tensor of `like`.

    On one kind of device the probes are a function of `seed` and `step` alone: they neither read nor move
    torch's global generators, every data-parallel rank draws the same ones, and a resumed run needs no
    saved generator.
    """
    digest = hashlib.blake2b(f"{seed}:{step}".encode(), digest_size=8).digest()
    stream = int.from_bytes(digest, "little") >> 1
    generators: dict[torch.device, torch.Generator] = {}
    probes = []
    for _ in range(n_samples):
        probe: list[Tensor] = []
        for (device, dtype), run in groupby(like, key=lambda tensor: (tensor.device, tensor.dtype)):
            if device not in generators:
                generators[device] = torch.Generator(device).manual_seed(stream)
            probe += _signs(list(run), device, dtype, generators[device])
        probes.append(probe)
    return probes


def _signs(like: list[Tensor], device: torch.device, dtype: torch.dtype, generator: torch.Generator) -> list[Tensor]:
    # Drawn at once: one kernel instead of one per tensor.
    sizes = [tensor.numel() for tensor in like]
    flat = torch.randint(0, 2, (sum(sizes),), generator=generator, device=device, dtype=dtype)
    flat.mul_(2).sub_(1)
    return [_laid_out(part, tensor) for part, tensor in zip(torch.split(flat, sizes), like, strict=True)]


def _laid_out(part: Tensor, like: Tensor) -> Tensor:
    """Return signs in the shape and the memory format of a tensor: lists that are of one format are multiplied faster.

    Which sign an entry gets depends on its indices, not on the format.
    """
    shaped = part.view(like.shape)
    return shaped if like.is_contiguous() else torch.empty_like(like).copy_(shaped)
