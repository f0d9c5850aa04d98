"""One optimizer for the matrices of a network, another for all other parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT


class ByShape(Optimizer):
    """Optimize matrices with one optimizer and everything else (biases, gains, filters) with another.

    Optimizers that orthogonalize their update are defined for matrices alone and leave the rest to a companion (Jordan
    et al. 2024, "Muon: An optimizer for hidden layers in neural networks"). Both are stepped with the gradient of one
    evaluation, so neither may be one that evaluates the loss at other points.

    Args:
        params: Parameters or parameter groups; every group is divided by shape.
        matrices: Class of the optimizer for parameters of two dimensions.
        others: Class of the optimizer for all other parameters.
        matrices_group: Entries that `matrices` wants to find in its parameter groups, such as a flag.
        others_options: Hyperparameters of `others`.
        **matrices_options: Hyperparameters of `matrices` (`lr`, `momentum`, ...).

    Attributes:
        parts: The optimizers in use; one of a kind of parameter that the network does not have is left out.

    Raises:
        ValueError: One of the two refuses its parameters or hyperparameters.
    """

    def __init__(
        self,
        params: ParamsT,
        matrices: type[Optimizer],
        others: type[Optimizer] = torch.optim.AdamW,
        *,
        matrices_group: dict[str, Any] | None = None,
        others_options: dict[str, Any] | None = None,
        **matrices_options: Any,
    ) -> None:
        super().__init__(params, {})
        groups = self.param_groups
        of_matrices = [group | (matrices_group or {}) for group in _part(groups, lambda p: p.dim() == 2)]
        of_others = _part(groups, lambda p: p.dim() != 2)
        self.parts: dict[str, Optimizer] = {}
        if of_matrices:
            self.parts["matrices"] = matrices(of_matrices, **matrices_options)
        if of_others:
            self.parts["others"] = others(of_others, **(others_options or {}))
        self._share()

    def _share(self) -> None:
        """Make the groups those of the parts, so that what changes in one (a scheduled `lr`) changes in the other."""
        self.param_groups = [group for part in self.parts.values() for group in part.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return the state of each part by its name."""
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict` returned."""
        for name, part in self.parts.items():
            part.load_state_dict(state_dict[name])
        self._share()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "parts": self.parts}

    def step(self, closure: Callable[[], Tensor]) -> Tensor:  # type: ignore[override]
        """Evaluate the loss once and make a step of each part with that gradient.

        Args:
            closure: Leaves fresh gradients in `p.grad` and returns the loss.

        Returns:
            The loss at the weights before the step.
        """
        with torch.enable_grad():
            loss = closure()
        for part in self.parts.values():
            # torch declares that closures return floats; they return tensors.
            part.step(lambda: loss)  # type: ignore[arg-type, return-value]
        return loss


def _part(groups: Iterable[dict[str, Any]], wanted: Callable[[Tensor], bool]) -> list[dict[str, Any]]:
    """Return the groups with those parameters alone that are wanted, empty ones left out."""
    parts = [{**group, "params": [p for p in group["params"] if wanted(p)]} for group in groups]
    return [part for part in parts if part["params"]]
