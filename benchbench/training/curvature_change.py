"""How much the curvature changes in the neighbourhood of the weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from benchbench.hutchinson import rademacher
from benchbench.perturbation import Displacement, global_norm
from benchbench.training.steps import Training


def curvature_change(training: Training, parameters: Sequence[Tensor], batch: Any, radius: float) -> Tensor:
    """Return how much the curvature changes near the weights, ||H(x + r u) z - H(x) z|| / ||H(x) z||.

    H is the Hessian of the loss on the batch, with the dropout masks of the coming step; z has random signs and u is a
    random direction of length 1, both functions of the run's seed and the step. Two Hessian-vector products.

    Args:
        training: Nothing of it is changed.
        parameters: The parameters that x is made of: all trainable ones, in the optimizer's order.
        batch: The batch.
        radius: The distance r.

    Raises:
        NotImplementedError: An operation in the loss has no second derivative.
    """
    step, streams = training.ledger.steps, training.streams
    probe = rademacher(parameters, n_samples=1, seed=streams.seed("diagnostics"), step=step)
    offsets = _random_offsets(parameters, radius, streams.generator("diagnostics", step, parameters[0].device))
    objective = training.objective(batch)
    with training.undisturbed():
        training.reseed()
        _, [here] = objective.with_hvp(probe)
    with training.undisturbed(), Displacement().by(list(parameters), offsets):
        training.reseed()
        _, [there] = objective.with_hvp(probe)
    return global_norm(torch._foreach_sub(there, here)) / global_norm(here)


def _random_offsets(like: Sequence[Tensor], length: float, generator: torch.Generator) -> list[Tensor]:
    """Return a vector with a random direction and the given length, in pieces shaped like the tensors."""
    sizes = [tensor.numel() for tensor in like]
    vector = torch.randn(sum(sizes), generator=generator, device=generator.device)
    pieces = (vector * (length / torch.linalg.vector_norm(vector))).split(sizes)
    return [piece.view(tensor.shape).to(tensor.dtype) for piece, tensor in zip(pieces, like, strict=True)]
