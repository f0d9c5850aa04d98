"""SAM: sharpness-aware minimization over any base optimizer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from benchbench.optim.objective import Objective, as_objective
from benchbench.optim.parameters import (
    FLAG,
    NOT_NEGATIVE,
    POSITIVE,
    check_hyperparameters,
    check_parameters,
)
from benchbench.optim.perturbation import Displacement, along_gradient

_RULES = {"rho": NOT_NEGATIVE, "adaptive": FLAG, "per_rank": FLAG, "perturb_eps": POSITIVE}


class SAM(Optimizer):
    """Sharpness-aware minimization (Foret et al. 2021, Algorithm 1).

    The base optimizer makes its step from x, but sees the gradient at x + e, where
    e = rho g / (||g|| + perturb_eps), g is the gradient at x and the norm is taken over all groups. With
    `adaptive`, e = rho x^2 g / (|| |x| g || + perturb_eps) (ASAM, Kwon et al. 2021). It costs two gradients
    per step. Weight decay is the base's and plays no part in e.

    The parameter groups are those of the base, with `rho`, `adaptive`, `per_rank` and `perturb_eps` added; whatever is
    changed in them (a schedule of `lr`, say) takes effect in both.

    Args:
        params: Parameters or parameter groups.
        base: Class of the base optimizer.
        rho: Radius of the perturbation; the default is the paper's.
        adaptive: Scale the perturbation with the weights.
        per_rank: Where several processes share a batch, perturb along the gradient of each one's own share
            (m-sharpness, section 3 of the paper); the default is the gradient of the whole batch. The value of the
            first group counts.
        perturb_eps: Added to the norm of the gradient; the SASSHA authors' value.
        **base_parameters: Hyperparameters of the base optimizer (`lr`, `momentum`, ...).

    Attributes:
        base: The base optimizer.

    Raises:
        ValueError: A hyperparameter is out of range, or a parameter is complex.
    """

    def __init__(
        self,
        params: ParamsT,
        base: type[Optimizer] = torch.optim.SGD,
        *,
        rho: float = 0.05,
        adaptive: bool = False,
        per_rank: bool = False,
        perturb_eps: float = 1e-12,
        **base_parameters: Any,
    ) -> None:
        own = {"rho": rho, "adaptive": adaptive, "per_rank": per_rank, "perturb_eps": perturb_eps}
        super().__init__(params, own)
        self.base = base(self.param_groups, **base_parameters)
        self.defaults = {**self.base.defaults, **self.defaults}
        self._displacement = Displacement()
        self._share()

    def _share(self) -> None:
        """Make groups and states one with the base's, so that what changes in one changes in the other."""
        self.param_groups = self.base.param_groups
        self.state = self.base.state

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group; what it does not set is as given to the constructor.

        Raises:
            ValueError: A hyperparameter is out of range, or a parameter is complex.
        """
        check_hyperparameters({**self.defaults, **param_group}, _RULES)
        if hasattr(self, "base"):
            self.base.add_param_group({**self.defaults, **param_group})
        else:
            super().add_param_group(param_group)
        check_parameters(self.param_groups[-1]["params"])

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict` returned: groups and states are the base's own."""
        self.base.load_state_dict(state_dict)
        self._share()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "base": self.base}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._displacement = Displacement()

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor:  # type: ignore[override]
        """Make one step of the base optimizer with the gradient at the perturbed weights.

        Args:
            closure: A `benchbench.optim.objective.Objective`, or a function that returns the loss with its graph
                and does not call `backward`; it is evaluated twice, as often as the base asks for a gradient.

        Returns:
            The loss at the weights before the step.

        Raises:
            TypeError: There is no closure, or it does not return the loss with its graph.
            RuntimeError: A gradient is sparse.
        """
        objective = as_objective(closure, (p for group in self.param_groups for p in group["params"]))
        # torch declares that closures return floats; they return tensors.
        return self.base.step(lambda: self._sharpness_aware_gradient(objective))  # type: ignore[arg-type, return-value]

    @torch.no_grad()
    def _sharpness_aware_gradient(self, objective: Objective) -> Tensor:
        """Return the loss; leave the gradient at the perturbed weights in `p.grad`."""
        with objective.unreduced() if self.param_groups[0]["per_rank"] else nullcontext():
            loss = objective()
        parameters, offsets = along_gradient(self.param_groups)
        if parameters:
            with self._displacement.by(parameters, offsets):
                objective()
        return loss
