"""SASSHA: Sharpness-aware Adaptive Second-order Optimization with Stable Hessian Approximation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from benchbench.optim.hutchinson import lazy_hessian_diagonal
from benchbench.optim.objective import as_objective
from benchbench.optim.parameters import FLAG, CheckedOptimizer, Rule
from benchbench.optim.perturbation import Displacement, along_gradient
from sassha.descent import RULES, descend


class SASSHA(CheckedOptimizer):
    """Algorithm 1 of the SASSHA paper (Shin et al., ICML 2025).

    One step t, on one mini-batch, from the weights x:

    1. g = gradient at x; x~ = x + rho g / (||g|| + perturb_eps), the norm taken over all groups.
    2. g~ = gradient at x~ and, on the steps t = 1, k + 1, 2k + 1, ... (k = `lazy_hessian`), h = the mean over
       `n_samples` Rademacher probes z of z * (H(x~) z).
    3. m = beta1 m + (1 - beta1) g~; on Hessian steps D = beta2 D + (1 - beta2) |h|.
    4. x = (1 - lr weight_decay) x - lr (m / (1 - beta1^t)) / ((D / (1 - beta2^s))^hessian_power + eps),
       where s is the latest Hessian step.

    It costs two gradients and, every k steps, `n_samples` Hessian-vector products.

    Where Algorithm 1 is silent, the authors' released code decides: eps stands outside the root,
    `perturb_eps` in the norm; the decay is decoupled, scaled by the current learning rate, and comes before
    the gradient step. Differences from that code: the Hessian is the one at x~, as Algorithm 1 says (theirs
    is taken after the weights have moved back, which mixes activations of x~ with weights of x); the
    weights are restored from a copy instead of by subtraction; and the second-order graph is built on
    Hessian steps only.

    All hyperparameters belong to a parameter group and may be changed between steps. `eps` and
    `hessian_power` take effect at the next Hessian step, where the denominator is computed; `n_samples` and
    `seed` are those of the first group. Every group counts its own steps, so one that is added later begins
    with a Hessian step. A parameter that gets its first gradient between two Hessian steps waits for the
    next one. All parameters must be on one device.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate. This default and the ones without a comment are the released code's.
        betas: Decay rates of the averages of the gradient and of the curvature.
        eps: Added to the denominator, after the root.
        weight_decay: Decoupled weight decay. (The paper's configurations state its product with the initial
            learning rate.)
        rho: Radius of the perturbation; the default is the released command line's.
        lazy_hessian: Steps from one Hessian estimate to the next.
        n_samples: Probes per estimate.
        hessian_power: Exponent of the averaged curvature: 0.5 is the paper's square root, 1 its ablation.
        perturb_eps: Added to the norm of the gradient.
        adaptive: Scale the perturbation with the weights, rho x^2 g / || |x| g || (ASAM, Kwon et al. 2021).
        per_rank: Where several processes share a batch, perturb along the gradient of each one's own share, as the
            released code for images does (m-sharpness, Foret et al. 2021); the default is the gradient of the whole
            batch. The value of the first group counts.
        absolute: Average |h|, as the paper does. Without it h is averaged with its sign, and the
            denominator is sign(D) (|D / (1 - beta2^s)|^hessian_power + eps), with sign(0) = 1: as large as
            ever, but leading uphill where the averaged curvature is negative. The paper does not define its
            ablation; this one has no zero and no NaN in the denominator, so it shows what the signs alone
            do.
        bias_correction: What the exponent s counts: "steps", as published, or "updates" of the average.
            With k > 1 the published one takes the average for more complete than it is, which lengthens
            early steps by up to about sqrt(k).
        seed: Seed of the probes. Their generator is private: no other random stream is moved.

    Raises:
        ValueError: A hyperparameter is out of range, or a parameter is complex.
    """

    rules: ClassVar[Mapping[str, Rule]] = {**RULES, "adaptive": FLAG, "per_rank": FLAG}

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
        adaptive: bool = False,
        per_rank: bool = False,
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
                and does not call `backward`; it is evaluated twice.

        Returns:
            The loss at the weights before the step.

        Raises:
            TypeError: There is no closure, or it does not return the loss with its graph.
            NotImplementedError: An operation in the loss has no second derivative.
            RuntimeError: A gradient is sparse.
        """
        objective = as_objective(closure, self.every_parameter())
        with objective.unreduced() if self.param_groups[0]["per_rank"] else nullcontext():
            loss = objective()
        with self._displacement.by(*along_gradient(self.param_groups)):
            _, diagonals = lazy_hessian_diagonal(objective, self.param_groups)
        for group, diagonal in zip(self.param_groups, diagonals, strict=True):
            descend(group, self.state, diagonal)
        return loss
