"""Rademacher probes, and the diagonal of the Hessian that they estimate."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from benchbench.optim.objective import Objective

_STRIDE = 0x9E3779B1
"""Between two counters: odd, about 2^32 over the golden ratio."""

_FACTOR = 0xD6E8FEB86659FD93 - 2**64
"""Of the rounds of the hash, as a signed integer; found by Degski for shifts of half a word."""


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

    A sign is a function of `seed`, `step`, the sample and its position among all entries, in integer arithmetic: it is
    the same on every device and in every type. Generators of random numbers are neither read nor moved (those of GPUs
    give other numbers on another model), every data-parallel rank draws the same probes, and a resumed run needs no
    saved generator.
    """
    probes = []
    for sample in range(n_samples):
        digest = hashlib.blake2b(f"{seed}:{step}:{sample}".encode(), digest_size=8).digest()
        stream = int.from_bytes(digest, "little") >> 2  # leaves room for the counters
        probe: list[Tensor] = []
        position = 0
        for (device, dtype), run in groupby(like, key=lambda tensor: (tensor.device, tensor.dtype)):
            tensors = list(run)
            sizes = [tensor.numel() for tensor in tensors]
            # Drawn at once: a few kernels instead of a few per tensor.
            flat = _signs(stream, position, sum(sizes), device).to(dtype)
            probe += [_laid_out(part, each) for part, each in zip(torch.split(flat, sizes), tensors, strict=True)]
            position += sum(sizes)
        probes.append(probe)
    return probes


def _signs(stream: int, start: int, count: int, device: torch.device) -> Tensor:
    """Return the signs at the positions `start` to `start + count` of a stream, as integers.

    64 of them are the bits of one hash of a counter. Its three rounds multiply modulo 2^64 (integers wrap around on
    every device) and mix the upper half into the lower one; after the last, every bit depends on every bit of the
    counter.
    """
    first, end = start // 64, -(-(start + count) // 64)
    words = torch.arange(stream + first * _STRIDE, stream + end * _STRIDE, _STRIDE, device=device)
    halves = words.view(torch.int32).view(-1, 2)  # the lower one first, as on every machine that torch supports
    for _ in range(3):
        words.mul_(_FACTOR)
        halves[:, 0].bitwise_xor_(halves[:, 1])
    shifts = torch.arange(8, dtype=torch.int8, device=device)
    bits = (words.view(torch.int8)[:, None] >> shifts).bitwise_and_(1).flatten()[start - first * 64 :][:count]
    return torch.rsub(bits, 1, alpha=2)


def _laid_out(part: Tensor, like: Tensor) -> Tensor:
    """Return signs in the shape and the memory format of a tensor: lists that are of one format are multiplied faster.

    Which sign an entry gets depends on its indices, not on the format.
    """
    shaped = part.view(like.shape)
    return shaped if like.is_contiguous() else torch.empty_like(like).copy_(shaped)
