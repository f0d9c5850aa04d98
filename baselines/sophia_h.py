"""Sophia-H: a clipped step along the momentum, divided by the averaged diagonal of the Hessian."""

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
    INTEGER,
    NOT_NEGATIVE,
    RATES,
    CheckedOptimizer,
    Rule,
    State,
    advance,
    gradients_of,
)


class SophiaH(CheckedOptimizer):
    """Sophia with Hutchinson's estimator (Liu et al. 2023, arXiv 2305.14342, Algorithm 3).

    One step t, on one mini-batch, from the weights x:

    1. g = gradient at x and, on the steps t = 1, k + 1, 2k + 1, ... (k = `lazy_hessian`), d = the mean over
       `n_samples` Rademacher probes z of z * (H(x) z).
    2. m = beta1 m + (1 - beta1) g; on Hessian steps h = beta2 h + (1 - beta2) d, signs kept.
    3. x = (1 - lr weight_decay) x - lr clip(m / (gamma max(h, 0) + eps), -1, 1).

    It costs one gradient and, every k steps, `n_samples` Hessian-vector products. Neither average is
    corrected for its bias. As the SASSHA authors ran it, eps is added to gamma h (the paper takes their
    maximum), the Hessian is that of the step's own mini-batch, and the probes are signs (the paper's are
    Gaussian).

    All hyperparameters belong to a parameter group and may be changed between steps. `gamma` and `eps` take
    effect at the next Hessian step, where the denominator is computed; `n_samples` and `seed` are those of
    the first group. Every group counts its own steps, so one that is added later begins with a Hessian
    step. A parameter that gets its first gradient between two Hessian steps waits for the next one.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate.
        betas: Decay rates of the averages of the gradient and of the curvature; the default is that of the
            SASSHA authors' class, their runs used (0.9, 0.999).
        gamma: Scale of the curvature: the smaller, the more entries are clipped; 0.01 is the Sophia paper's.
        eps: Added to the scaled curvature; the default is that of the SASSHA authors' class, their runs
            used 1e-4 and 1e-6.
        weight_decay: Decoupled weight decay.
        lazy_hessian: Steps from one Hessian estimate to the next; 10 in the Sophia paper, 1 in every run of
            the SASSHA paper.
        n_samples: Probes per estimate.
        seed: Seed of the probes. Their generator is private: no other random stream is moved.

    Raises:
        ValueError: A hyperparameter is out of range, or a parameter is complex.
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        "lr": NOT_NEGATIVE,
        "betas": RATES,
        "gamma": NOT_NEGATIVE,
        "eps": NOT_NEGATIVE,
        "weight_decay": NOT_NEGATIVE,
        "lazy_hessian": COUNT,
        "n_samples": COUNT,
        "seed": INTEGER,
    }

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.965, 0.99),
        gamma: float = 0.01,
        eps: float = 1e-15,
        weight_decay: float = 0.0,
        lazy_hessian: int = 10,
        n_samples: int = 1,
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
        momenta = [state["exp_avg"] for state in states]
        denominators = [state["denominator"] for state in states]
        if diagonal is not None:
            averages = [state["exp_hessian"] for state in states]
            torch._foreach_lerp_(averages, [diagonal[parameter] for parameter in parameters], 1 - beta2)
            torch._foreach_copy_(denominators, averages)
            torch._foreach_clamp_min_(denominators, 0)
            torch._foreach_mul_(denominators, group["gamma"])
            torch._foreach_add_(denominators, group["eps"])
        torch._foreach_lerp_(momenta, gradients_of(parameters), 1 - beta1)
        if group["weight_decay"]:
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        directions = torch._foreach_div(momenta, denominators)
        torch._foreach_clamp_min_(directions, -1)
        torch._foreach_clamp_max_(directions, 1)
        torch._foreach_add_(parameters, directions, alpha=-group["lr"])


def _fresh_state(parameter: Tensor) -> State:
    return {
        "exp_avg": torch.zeros_like(parameter),
        "exp_hessian": torch.zeros_like(parameter),
        "denominator": torch.zeros_like(parameter),
    }
