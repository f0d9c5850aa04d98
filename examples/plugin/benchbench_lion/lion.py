"""Lion: steps of one size, in the direction of the sign of a momentum."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT


class Lion(Optimizer):
    """Evolved sign momentum (Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms", Algorithm 2).

    With gradient g, momentum m, learning rate η and weight decay λ, a step takes x to
    x - η (sign(β₁ m + (1 - β₁) g) + λ x), and then m to β₂ m + (1 - β₂) g.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate; the authors advise a third to a tenth of AdamW's.
        betas: β₁ and β₂.
        weight_decay: λ, decoupled; the authors advise three to ten times AdamW's.

    Raises:
        ValueError: A hyperparameter is out of range.
    """

    def __init__(
        self, params: ParamsT, lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0.0
    ) -> None:
        if lr < 0:
            raise ValueError(f"lr must be a number from 0, got {lr!r}")
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas must be numbers from 0 to below 1, got {betas!r}")
        if weight_decay < 0:
            raise ValueError(f"weight_decay must be a number from 0, got {weight_decay!r}")
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:  # type: ignore[override]
        """Make one step.

        Args:
            closure: Leaves fresh gradients in `p.grad` and returns the loss; without it, gradients must be there.

        Returns:
            The loss at the weights before the step, if there is a closure.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                direction = torch.lerp(state["momentum"], p.grad, 1 - beta1).sign_()
                p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(group["lr"] * direction)
                state["momentum"].lerp_(p.grad, 1 - beta2)
        return loss
