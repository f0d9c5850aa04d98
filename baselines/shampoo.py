"""Shampoo, as the SASSHA paper ran it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from baselines.matrix_roots import apply_along, inverse_root, unfolded
from benchbench.optim.objective import as_objective
from benchbench.optim.parameters import (
    COUNT,
    NOT_NEGATIVE,
    POSITIVE,
    RATE,
    CheckedOptimizer,
    Rule,
    State,
    advance,
)


class Shampoo(CheckedOptimizer):
    """The paper's Shampoo: the variant behind the "Shampoo" rows of the SASSHA paper.

    One step, for each parameter x of order n (its number of dimensions) with gradient g:

    1. u = (1 - momentum) g + momentum b, but u = g at the first step; u = u + weight_decay x.
    2. For each dimension in order: P_i = P_i + U U^T, where U is u unfolded along dimension i, and u is
       multiplied along that dimension by P_i^(-1/n). All P_i start as eps times the identity.
    3. b = u; x = x - lr u.

    It costs one gradient and the eigendecompositions of all P_i.

    This is not Shampoo as published (Gupta, Koren and Singer 2018, Algorithm 2), and `GraftedShampoo` is
    the fairer opponent: the exponent is -1/n instead of -1/(2n); the statistics of every dimension but the
    first are those of a gradient that is already partly preconditioned, with momentum and weight decay in
    it; the momentum is one of preconditioned steps but enters before the preconditioning; statistics add up
    over the whole run; and the length of a step is not grafted from another method.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate.
        momentum: Weight of the last step in the next; the paper's runs used 0.9.
        weight_decay: Coupled weight decay, an L2 penalty.
        eps: Initial value of the statistics' diagonal, which damps the first steps.
        update_freq: Steps from one recomputation of the roots to the next; the paper's runs used 1.

    Raises:
        ValueError: A hyperparameter is out of range, or a parameter is complex.
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        "lr": NOT_NEGATIVE,
        "momentum": RATE,
        "weight_decay": NOT_NEGATIVE,
        "eps": POSITIVE,
        "update_freq": COUNT,
    }

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.1,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        eps: float = 1e-4,
        update_freq: int = 1,
    ) -> None:
        super().__init__(params, locals())

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor:  # type: ignore[override]
        """Make one step.

        Args:
            closure: A `benchbench.optim.objective.Objective`, or a function that returns the loss with its graph
                and does not call `backward`; it is evaluated once.

        Returns:
            The loss at the weights before the step.

        Raises:
            TypeError: There is no closure, or it does not return the loss with its graph.
            RuntimeError: A gradient is sparse.
        """
        objective = as_objective(closure, self.every_parameter())
        loss = objective()
        for group in self.param_groups:
            parameters, states = advance(group, self.state, lambda _: {"statistics": [], "roots": []})
            updates = [
                _preconditioned(parameter, state, group) for parameter, state in zip(parameters, states, strict=True)
            ]
            if updates:
                torch._foreach_add_(parameters, updates, alpha=-group["lr"])
        return loss


def _preconditioned(parameter: Tensor, state: State, group: dict[str, Any]) -> Tensor:
    """Return the update of one parameter, and remember it as the next step's momentum."""
    assert parameter.grad is not None
    update = parameter.grad
    if "momentum_buffer" in state:
        update = torch.lerp(update, state["momentum_buffer"], group["momentum"])
    if group["weight_decay"]:
        update = update.add(parameter, alpha=group["weight_decay"])
    order = parameter.dim()
    if not state["statistics"]:
        state["statistics"] = [
            group["eps"] * torch.eye(n, dtype=parameter.dtype, device=parameter.device) for n in parameter.shape
        ]
        state["roots"] = list(state["statistics"])
    for dim, statistics in enumerate(state["statistics"]):
        matrix = unfolded(update, dim)
        statistics.addmm_(matrix, matrix.T)
        if (state["step"] - 1) % group["update_freq"] == 0:
            state["roots"][dim] = inverse_root(statistics, exponent=-1 / order, least=group["eps"])
        update = apply_along(update, state["roots"][dim], dim)
    state["momentum_buffer"] = update
    return update
