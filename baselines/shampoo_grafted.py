"""Shampoo with the published exponent and a grafted step length."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from baselines.matrix_roots import apply_along, inverse_root, unfolded
from benchbench.optim.objective import as_objective
from benchbench.optim.parameters import (
    COUNT,
    FLAG,
    NOT_NEGATIVE,
    POSITIVE,
    RATES,
    CheckedOptimizer,
    Rule,
    State,
    advance,
    gradients_of,
    one_of,
)


class GraftedShampoo(CheckedOptimizer):
    """Shampoo as it is used today: a second opinion beside the paper's `Shampoo`.

    One step t, for each parameter x with gradient g, where n is the number of its dimensions of at most
    `max_size`:

    1. For each of them P_i = beta2 P_i + (1 - beta2) G G^T, with G the gradient unfolded along the
       dimension, or with `accumulate` P_i = P_i + G G^T (Gupta, Koren and Singer 2018, Algorithm 2).
    2. m = beta1 m + (1 - beta1) g, and s = m / (1 - beta1^t) multiplied along each of these dimensions by
       (P_i / (1 - beta2^t) + eps I)^(-1 / (2n)); without the bias correction if `accumulate`. The roots are
       recomputed at the steps 1, f + 1, 2f + 1, ... (f = `update_freq`).
    3. Grafting (Anil et al. 2020, arXiv 2002.09018): s is scaled to the norm of the step a that another
       method would make, tensor by tensor. a = m / (1 - beta1^t) for "sgd"; for "adam" it is divided by
       sqrt(v / (1 - beta2^t)) + graft_eps, where v = beta2 v + (1 - beta2) g^2.
    4. x = (1 - lr weight_decay) x - lr ||a|| s / ||s||.

    So a learning rate that suits Adam (or SGD) is a good first guess. It costs one gradient and, every f
    steps, the eigendecompositions of all P_i.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate, on the scale of the grafted method.
        betas: Decay rates of the average of the gradient and of the averages of its squares.
        eps: Added to the eigenvalues of the statistics.
        weight_decay: Decoupled weight decay.
        graft: Method that decides the length of a step.
        graft_eps: Added to Adam's denominator.
        accumulate: Add the statistics up over the whole run instead of averaging them.
        update_freq: Steps from one recomputation of the roots to the next.
        max_size: Dimensions that are larger (an embedding's vocabulary, say) are not preconditioned.

    Raises:
        ValueError: A hyperparameter is out of range, or a parameter is complex.
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        "lr": NOT_NEGATIVE,
        "betas": RATES,
        "eps": POSITIVE,
        "weight_decay": NOT_NEGATIVE,
        "graft": one_of("adam", "sgd"),
        "graft_eps": POSITIVE,
        "accumulate": FLAG,
        "update_freq": COUNT,
        "max_size": COUNT,
    }

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-12,
        weight_decay: float = 0.0,
        graft: Literal["adam", "sgd"] = "adam",
        graft_eps: float = 1e-8,
        accumulate: bool = False,
        update_freq: int = 10,
        max_size: int = 1024,
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
            parameters, states = advance(group, self.state, _fresh_state)
            if parameters:
                _update(group, parameters, states)
        return loss


def _fresh_state(parameter: Tensor) -> State:
    return {
        "exp_avg": torch.zeros_like(parameter),
        "exp_avg_sq": torch.zeros_like(parameter),
        "statistics": [],
        "roots": [],
    }


def _update(group: dict[str, Any], parameters: list[Tensor], states: list[State]) -> None:
    beta1, _ = group["betas"]
    gradients = gradients_of(parameters)
    averages = [state["exp_avg"] for state in states]
    torch._foreach_lerp_(averages, gradients, 1 - beta1)
    momenta = list(torch._foreach_div(averages, [1 - beta1 ** state["step"] for state in states]))
    directions = [
        _preconditioned(momentum, gradient, state, group)
        for momentum, gradient, state in zip(momenta, gradients, states, strict=True)
    ]
    lengths = torch._foreach_norm(_grafted_steps(group, gradients, momenta, states))
    own_lengths = torch._foreach_norm(directions)
    # Where the direction is zero, so is the momentum that it was made from: keep 0 / 0 out of the quotient.
    torch._foreach_add_(own_lengths, torch.finfo(own_lengths[0].dtype).tiny)
    torch._foreach_mul_(directions, torch._foreach_div(lengths, own_lengths))
    if group["weight_decay"]:
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
    torch._foreach_add_(parameters, directions, alpha=-group["lr"])


def _grafted_steps(
    group: dict[str, Any], gradients: list[Tensor], momenta: list[Tensor], states: list[State]
) -> list[Tensor]:
    """Return the steps, for a learning rate of 1, of the method whose step length is grafted."""
    if group["graft"] == "sgd":
        return momenta
    _, beta2 = group["betas"]
    squares = [state["exp_avg_sq"] for state in states]
    torch._foreach_mul_(squares, beta2)
    torch._foreach_addcmul_(squares, gradients, gradients, 1 - beta2)
    denominators = torch._foreach_div(squares, [1 - beta2 ** state["step"] for state in states])
    torch._foreach_sqrt_(denominators)
    torch._foreach_add_(denominators, group["graft_eps"])
    return list(torch._foreach_div(momenta, denominators))


def _preconditioned(momentum: Tensor, gradient: Tensor, state: State, group: dict[str, Any]) -> Tensor:
    """Return the momentum of one parameter, preconditioned with statistics that its gradient has joined."""
    dims = [dim for dim, size in enumerate(gradient.shape) if size <= group["max_size"]]
    if not state["statistics"]:
        state["statistics"] = [gradient.new_zeros(gradient.shape[dim], gradient.shape[dim]) for dim in dims]
        state["roots"] = list(state["statistics"])
    _, beta2 = group["betas"]
    old, new, total = (1, 1, 1) if group["accumulate"] else (beta2, 1 - beta2, 1 - beta2 ** state["step"])
    direction = momentum.clone()
    for i, (dim, statistics) in enumerate(zip(dims, state["statistics"], strict=True)):
        matrix = unfolded(gradient, dim)
        statistics.addmm_(matrix, matrix.T, beta=old, alpha=new)
        if (state["step"] - 1) % group["update_freq"] == 0:
            damped = statistics / total
            damped.diagonal().add_(group["eps"])
            state["roots"][i] = inverse_root(damped, exponent=-1 / (2 * len(dims)), least=group["eps"])
        direction = apply_along(direction, state["roots"][i], dim)
    return direction
