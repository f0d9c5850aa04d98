"""Different optimizers for parameters of different roles: one for matrices, another for all others, and the like."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from benchbench.optim import stepping
from benchbench.optim.objective import EvaluatedOnceError, SharedEvaluation
from benchbench.optim.roles import ParameterRoles, Role

MakesOptimizer = Callable[..., Optimizer]
"""The class of an optimizer, or what else makes one from parameter groups."""


class ByRole(Optimizer):
    """Optimize each role of parameters with an optimizer of its own.

    Optimizers that orthogonalize their updates are made for the hidden matrices of a network, filters of convolutions
    among them; embeddings, the head, norms and biases go to a companion (Jordan et al. 2024, "Muon: An optimizer for
    hidden layers in neural networks"). All are stepped with the gradient of one evaluation, so none may be one that
    evaluates the loss at other points or differentiates gradients.

    Args:
        params: Parameters or parameter groups; every group is divided by role.
        roles: The role of each parameter.
        matrices: Makes the optimizer of hidden matrices and filters.
        rest: Makes the optimizer of all roles that no other argument names.
        hidden: Makes an optimizer of hidden matrices alone.
        filters: Makes an optimizer of filters alone.
        embedding: Makes an optimizer of embeddings.
        head: Makes an optimizer of heads.
        norm: Makes an optimizer of norms.
        bias: Makes an optimizer of biases.
        reshape: `matrices` shows filters to the optimizers of `matrices` and `filters` as matrices with a row for each
            output channel; `none` as they are.
        matrices_group: Entries that the optimizers of matrices want to find in their parameter groups, such as a flag.

    Attributes:
        parts: The optimizers in use by the argument that made them; every parameter group has the name as `part`.

    Raises:
        ValueError: An optimizer refuses its parameters or hyperparameters, or a filter is laid out so that it cannot
            be shown as a matrix.
    """

    def __init__(
        self,
        params: ParamsT,
        roles: ParameterRoles,
        *,
        matrices: MakesOptimizer | None = None,
        rest: MakesOptimizer = torch.optim.AdamW,
        hidden: MakesOptimizer | None = None,
        filters: MakesOptimizer | None = None,
        embedding: MakesOptimizer | None = None,
        head: MakesOptimizer | None = None,
        norm: MakesOptimizer | None = None,
        bias: MakesOptimizer | None = None,
        reshape: Literal["matrices", "none"] = "matrices",
        matrices_group: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(params, {})
        own: dict[Role, tuple[str, MakesOptimizer | None]] = {
            "hidden": ("hidden", hidden),
            "filter": ("filters", filters),
            "embedding": ("embedding", embedding),
            "head": ("head", head),
            "norm": ("norm", norm),
            "bias": ("bias", bias),
        }
        makers: dict[str, MakesOptimizer] = {}
        divided: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._filters: list[Tensor] = []
        for group in self.param_groups:
            members: dict[str, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                role = roles.get(parameter, "other")
                name, maker = own.get(role, ("", None))
                if maker is None and role in ("hidden", "filter"):
                    name, maker = "matrices", matrices
                if maker is None:
                    name, maker = "rest", rest
                makers[name] = maker
                members[name].append(parameter)
                if reshape == "matrices" and role == "filter" and name in ("matrices", "filters"):
                    self._filters.append(parameter)
            for name, each in members.items():
                flags = (matrices_group or {}) if name in ("matrices", "hidden", "filters") else {}
                divided[name].append({**group, **flags, "params": each, "part": name})
        self.parts: dict[str, Optimizer] = {}
        with self._as_matrices():
            for name, groups in divided.items():
                self.parts[name] = makers[name](groups)
        self._share()

    def _share(self) -> None:
        """Make the groups those of the parts, so that what changes in one (a scheduled `lr`) changes in the other."""
        self.param_groups = [group for part in self.parts.values() for group in part.param_groups]

    @contextmanager
    def _as_matrices(self) -> Iterator[None]:
        """Show filters, with their gradients, as matrices inside: the same parameters, the same memory."""
        before = [(parameter, parameter.data, parameter.grad) for parameter in self._filters]
        try:
            for parameter, data, gradient in before:
                parameter.grad = None
                parameter.data = _flattened(data, data)
                if gradient is not None:
                    parameter.grad = _flattened(gradient, data)
            yield
        finally:
            for parameter, data, gradient in before:
                parameter.grad = None
                parameter.data = data
                parameter.grad = gradient

    def state_dict(self) -> dict[str, Any]:
        """Return the state of each part by its name."""
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load what `state_dict` returned."""
        for name, part in self.parts.items():
            part.load_state_dict(state_dict[name])
        self._share()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "parts": self.parts, "_filters": self._filters}

    def train(self) -> None:
        """Put the weights where gradients are taken, in parts that evaluate other weights than they train."""
        self._tell_parts("train")

    def eval(self) -> None:
        """Put the weights where they are evaluated, in parts that evaluate other weights than they train."""
        self._tell_parts("eval")

    def _tell_parts(self, mode: str) -> None:
        with self._as_matrices():
            for part in self.parts.values():
                getattr(part, mode, lambda: None)()

    def step(self, closure: Callable[[], Tensor]) -> Tensor:  # type: ignore[override]
        """Evaluate the loss once and make a step of each part with that gradient.

        Args:
            closure: Leaves fresh gradients in `p.grad` and returns the loss.

        Returns:
            The loss at the weights before the step.

        Raises:
            EvaluatedOnceError: A part evaluates the loss at other points, or differentiates gradients.
        """
        with torch.enable_grad():
            loss = closure()
        if any(p.grad is not None and p.grad.requires_grad for group in self.param_groups for p in group["params"]):
            # The first part to move its weights would spoil the graph for the others.
            raise EvaluatedOnceError("parts share a gradient without its graph: `create_graph` cannot be used")
        with self._as_matrices():
            for name, part in self.parts.items():
                sharer = f"{type(part).__name__} of `{name}`"
                try:
                    stepping.step(part, SharedEvaluation(loss, sharer))
                except stepping.MissingGraphError as error:
                    message = f"{sharer} differentiates gradients, but shares one without its graph with others"
                    raise EvaluatedOnceError(message) from error
        return loss


def _flattened(tensor: Tensor, like: Tensor) -> Tensor:
    """Return a filter, or its gradient, as a matrix with a row for each output channel.

    Its columns have the order in which the filter lies in memory: another order of columns is the same matrix to
    whatever is orthogonalized or preconditioned, and so no copy is made.

    Raises:
        ValueError: The filter's rows are no pieces of memory.
    """
    channels_last = not like.is_contiguous()
    moved = like.movedim(1, -1) if channels_last else like
    if not moved.is_contiguous():
        raise ValueError(f"a filter of shape {tuple(like.shape)} is neither contiguous nor channels-last")
    return (tensor.movedim(1, -1) if channels_last else tensor).flatten(1)
