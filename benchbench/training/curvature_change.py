"""How much the curvature changes in the neighbourhood of the weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from benchbench.optim.hutchinson import rademacher
from benchbench.optim.perturbation import Displacement, global_norm
from benchbench.training.steps import Training


def curvature_change(training: Training, parameters: Sequence[Tensor], batch: Any, radius: float) -> Tensor:
    """Return how much the curvature changes near the weights, ||H(x + r u) z - H(x) z|| / ||H(x) z||.

    H is the Hessian of the loss on the batch, with the dropout masks of the coming step. z and u have random signs, u
    has length 1; both are functions of the run's seed and the step, the same on every device. Two Hessian-vector
    products.

    Args:
        training: Nothing of it is changed.
        parameters: The parameters that x is made of: all trainable ones, in the optimizer's order.
        batch: The batch.
        radius: The distance r.

    Raises:
        NotImplementedError: An operation in the loss has no second derivative.
    """
    seed = training.streams.seed("diagnostics")
    probe, direction = rademacher(parameters, n_samples=2, seed=seed, step=training.ledger.steps)
    entries = sum(parameter.numel() for parameter in parameters)
    offsets = list(torch._foreach_mul(direction, radius / math.sqrt(entries)))
    objective = training.objective(batch)
    with training.undisturbed():
        training.reseed()
        _, [here] = objective.with_hvp([probe])
    with training.undisturbed(), Displacement().by(list(parameters), offsets):
        training.reseed()
        _, [there] = objective.with_hvp([probe])
    return global_norm(torch._foreach_sub(there, here)) / global_norm(here)
