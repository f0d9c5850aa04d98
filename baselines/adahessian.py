"""AdaHessian: Adam with the squared diagonal of the Hessian in place of the squared gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from benchbench.optim.hutchinson import lazy_hessian_diagonal
from benchbench.optim.objective import as_objective
from benchbench.optim.parameters import (
    COUNT,
    FLAG,
    INTEGER,
    NOT_NEGATIVE,
    RATES,
    CheckedOptimizer,
    Rule,
    State,
    advance,
    gradients_of,
)


class AdaHessian(CheckedOptimizer):
    """AdaHessian (Yao et al. 2021, arXiv 2006.00719, Algorithm 1), as the SASSHA paper ran it.

    One step t, on one mini-batch, from the weights x:

    1. g = gradient at x and, on the steps t = 1, k + 1, 2k + 1, ... (k = `lazy_hessian`), d = the mean over
       `n_samples` Rademacher probes z of z * (H(x) z), in convolution kernels averaged in absolute value.
    2. m = beta1 m + (1 - beta1) g and v = beta2 v + (1 - beta2) d^2, with the latest d.
    3. x = (1 - lr weight_decay) x - lr (m / (1 - beta1^t)) / ((v / (1 - beta2^t))^(hessian_power / 2) + eps).

    It costs one gradient and, every k steps, `n_samples` Hessian-vector products.

    With k > 1 the average v is fed the stale d on the steps between, as in the released code, so its bias
    correction stays exact; SASSHA and Sophia-H update theirs on Hessian steps only.

    All hyperparameters belong to a parameter group and may be changed between steps; `n_samples` and `seed`
    are those of the first group. Every group counts its own steps, so one that is added later begins with a
    Hessian step. A parameter that gets its first gradient between two Hessian steps waits for the next one.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate; the SASSHA paper used this and twice as much for images.
        betas: Decay rates of the averages of the gradient and of the squared curvature.
        eps: Added to the denominator, after the root; 1e-4 as in the SASSHA authors' code.
        weight_decay: Decoupled weight decay.
        hessian_power: Exponent of the root mean square of the curvature.
        lazy_hessian: Steps from one Hessian estimate to the next; 1 in every run of the SASSHA paper.
        n_samples: Probes per estimate.
        spatial_averaging: Average |d| over the two kernel dimensions of four-dimensional weights.
        seed: Seed of the probes. Their generator is private: no other random stream is moved.

    Raises:
        ValueError: A hyperparameter is out of range, or a parameter is complex.
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        "lr": NOT_NEGATIVE,
        "betas": RATES,
        "eps": NOT_NEGATIVE,
        "weight_decay": NOT_NEGATIVE,
        "hessian_power": NOT_NEGATIVE,
        "lazy_hessian": COUNT,
        "n_samples": COUNT,
        "spatial_averaging": FLAG,
        "seed": INTEGER,
    }

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.15,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-4,
        weight_decay: float = 0.0,
        hessian_power: float = 1.0,
        lazy_hessian: int = 1,
        n_samples: int = 1,
        spatial_averaging: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(params, locals(), step=0)

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
            NotImplementedError: An operation in the loss has no second derivative.
            RuntimeError: A gradient is sparse.
        """
        objective = as_objective(closure, self.every_parameter())
        loss, diagonals = lazy_hessian_diagonal(objective, self.param_groups)
        for group, diagonal in zip(self.param_groups, diagonals, strict=True):
            self._update(group, diagonal)
            group["step"] += 1
        return loss

    def _update(self, group: dict[str, Any], diagonal: dict[Tensor, Tensor] | None) -> None:
        beta1, beta2 = group["betas"]
        parameters, states = advance(group, self.state, _fresh_state if diagonal is not None else None)
        if not parameters:
            return
        if diagonal is not None:
            for parameter, state in zip(parameters, states, strict=True):
                state["hessian"] = _smoothed(diagonal[parameter], group["spatial_averaging"])
        momenta = [state["exp_avg"] for state in states]
        averages = [state["exp_hessian_sq"] for state in states]
        hessians = [state["hessian"] for state in states]
        torch._foreach_lerp_(momenta, gradients_of(parameters), 1 - beta1)
        torch._foreach_mul_(averages, beta2)
        torch._foreach_addcmul_(averages, hessians, hessians, 1 - beta2)
        denominators = torch._foreach_div(averages, [1 - beta2 ** state["step"] for state in states])
        torch._foreach_pow_(denominators, group["hessian_power"] / 2)
        torch._foreach_add_(denominators, group["eps"])
        if group["weight_decay"]:
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        rates = [-group["lr"] / (1 - beta1 ** state["step"]) for state in states]
        torch._foreach_addcdiv_(parameters, momenta, denominators, rates)


def _fresh_state(parameter: Tensor) -> State:
    return {"exp_avg": torch.zeros_like(parameter), "exp_hessian_sq": torch.zeros_like(parameter)}


def _smoothed(diagonal: Tensor, spatial_averaging: bool) -> Tensor:
    """Return `diagonal`, in the kernels of a convolution the mean of its absolute values instead."""
    if spatial_averaging and diagonal.dim() == 4:
        return diagonal.abs().mean(dim=(2, 3), keepdim=True).expand_as(diagonal).contiguous()
    return diagonal
