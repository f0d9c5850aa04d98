"""M-SASSHA: SASSHA with the perturbation along the momentum, for the price of one gradient per step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from benchbench.optim.hutchinson import lazy_hessian_diagonal
from benchbench.optim.objective import as_objective
from benchbench.optim.parameters import CheckedOptimizer, Rule
from benchbench.optim.perturbation import Displacement, global_norm
from sassha.descent import RULES, descend


class MSASSHA(CheckedOptimizer):
    """SASSHA with the perturbation of Momentum-SAM (Becker et al. 2024, arXiv 2401.12033).

    One step t, on one mini-batch, from the weights x and the momentum m of the step before:

    1. x~ = x - rho m / (||m|| + perturb_eps), the norm taken over all groups; x~ = x at the first step.
    2. g~ = gradient at x~ and, on the steps t = 1, k + 1, 2k + 1, ... (k = `lazy_hessian`), h = the mean over
       `n_samples` Rademacher probes z of z * (H(x~) z).
    3. m, D and x follow from g~ and h as in `SASSHA`.

    It costs one gradient and, every k steps, `n_samples` Hessian-vector products. The sign of the
    perturbation is that of Momentum-SAM and of the authors' code: minus, ahead along the descent, not up
    the gradient.

    The authors' released class cannot be constructed; this is its evident meaning. One difference: there
    the weights stay at x~ between steps and must be moved back before the model is evaluated. Here they
    move at the start of a step and are restored within it, so whatever looks at the model between steps
    sees x. Both give the same x, because x and m, which decide x~, do not change between steps. (With a
    scheduled `rho` a step uses the value it begins with.) The loss that a step returns is the one at x~.
    The authors do not say which exponent of the curvature M-SASSHA has; the default is the paper's square
    root (their class default is 1).

    Groups, schedules, late parameters and the remaining hyperparameters are as in `SASSHA`.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate.
        betas: Decay rates of the averages of the gradient and of the curvature.
        eps: Added to the denominator, after the root.
        weight_decay: Decoupled weight decay.
        rho: Radius of the perturbation; the paper's configurations use 0.1 to 0.8.
        lazy_hessian: Steps between two Hessian estimates.
        n_samples: Probes per estimate.
        hessian_power: Exponent of the averaged curvature.
        perturb_eps: Added to the norm of the momentum.
        absolute: Average |h|; see `SASSHA`.
        bias_correction: What the exponent of the curvature's bias correction counts; see `SASSHA`.
        seed: Seed of the probes.

    Raises:
        ValueError: A hyperparameter is out of range, or a parameter is complex.
    """

    rules: ClassVar[Mapping[str, Rule]] = RULES

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.15,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-4,
        weight_decay: float = 0.0,
        rho: float = 0.05,
        lazy_hessian: int = 10,
        n_samples: int = 1,
        hessian_power: float = 0.5,
        perturb_eps: float = 1e-12,
        absolute: bool = True,
        bias_correction: Literal["steps", "updates"] = "steps",
        seed: int = 0,
    ) -> None:
        super().__init__(params, locals(), step=0)
        self._displacement = Displacement()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._displacement = Displacement()

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor:  # type: ignore[override]
        """Make one step.

        Args:
            closure: A `benchbench.optim.objective.Objective`, or a function that returns the loss with its graph
                and does not call `backward`; it is evaluated once.

        Returns:
            The loss at the perturbed weights, the only point where it is evaluated.

        Raises:
            TypeError: There is no closure, or it does not return the loss with its graph.
            NotImplementedError: An operation in the loss has no second derivative.
            RuntimeError: A gradient is sparse.
        """
        objective = as_objective(closure, self.every_parameter())
        with self._displacement.by(*self._perturbation()):
            loss, diagonals = lazy_hessian_diagonal(objective, self.param_groups)
        for group, diagonal in zip(self.param_groups, diagonals, strict=True):
            descend(group, self.state, diagonal)
        return loss

    def _perturbation(self) -> tuple[list[Tensor], list[Tensor]]:
        """Return the parameters that have a momentum, and their offsets."""
        groups = [
            (group, [p for p in group["params"] if p.requires_grad and p in self.state]) for group in self.param_groups
        ]
        parameters = [parameter for _, members in groups for parameter in members]
        if not parameters:
            return [], []
        norm = global_norm([self.state[parameter]["exp_avg"] for parameter in parameters])
        offsets: list[Tensor] = []
        for group, members in groups:
            if members:
                momenta = [self.state[parameter]["exp_avg"] for parameter in members]
                offsets += torch._foreach_mul(momenta, -group["rho"] / (norm + group["perturb_eps"]))
        return parameters, offsets
