"""For authors of optimizers: moving the weights aside for an evaluation, and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from benchbench.optim.parameters import gradients_of, with_gradient


class Displacement:
    """Moves weights aside, and puts back the very bits that they held before.

    The weights are restored from a copy: adding and subtracting an offset would leave a rounding error behind at every
    step. The copy's memory is kept from one step to the next, for fresh memory takes longer than the copying.
    """

    def __init__(self) -> None:
        self._copies: list[Tensor] = []
        self._layout: list[Any] = []

    @contextmanager
    def by(self, parameters: list[Tensor], offsets: list[Tensor]) -> Iterator[None]:
        """Add `offsets` to `parameters` inside."""
        if not parameters:
            yield
            return
        with torch.no_grad():
            self._copy(parameters)
            torch._foreach_add_(parameters, offsets)
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(parameters, self._copies)

    def _copy(self, parameters: list[Tensor]) -> None:
        layout = [(parameter.shape, parameter.dtype, parameter.device) for parameter in parameters]
        if layout != self._layout:
            self._layout, self._copies = layout, [torch.empty_like(parameter) for parameter in parameters]
        torch._foreach_copy_(self._copies, parameters)


def along_gradient(param_groups: Iterable[dict[str, Any]]) -> tuple[list[Tensor], list[Tensor]]:
    """Return the parameters with a gradient g, and the offsets rho g / (||g|| + perturb_eps) of each parameter x.

    The norm is taken over all groups. A group that is `adaptive` has x^2 g in place of g, and |x| g in the norm. The
    offsets overwrite the gradients.

    Raises:
        RuntimeError: A gradient is sparse.
    """
    groups = [(group, members) for group in param_groups if (members := with_gradient(group))]
    offsets = [gradients_of(members) for _, members in groups]
    scaled = [
        (of_group, torch._foreach_abs(members))
        for (group, members), of_group in zip(groups, offsets, strict=True)
        if group["adaptive"]
    ]
    every = [offset for of_group in offsets for offset in of_group]
    if every:
        for of_group, sizes in scaled:
            torch._foreach_mul_(of_group, sizes)
        norm = global_norm(every)
        for of_group, sizes in scaled:
            torch._foreach_mul_(of_group, sizes)
        for (group, _), of_group in zip(groups, offsets, strict=True):
            torch._foreach_mul_(of_group, group["rho"] / (norm + group["perturb_eps"]))
    return [parameter for _, members in groups for parameter in members], every


def global_norm(tensors: Sequence[Tensor]) -> Tensor:
    """Return the Euclidean norm of all `tensors` as one vector, in at least single precision.

    Complex and sparse tensors are counted by their `real_entries`.
    """
    plain = [real_entries(tensor) for tensor in tensors]
    dtype = reduce(torch.promote_types, {tensor.dtype for tensor in plain}, torch.float32)
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(plain, 2, dtype)))
    return norm


def real_entries(tensor: Tensor) -> Tensor:
    """Return what a tensor is made of as a dense real tensor: the values of a sparse one, the parts of a complex one.

    Entries that a sparse tensor lists several times are added up first. Any other tensor is returned as it is.
    """
    if tensor.layout is not torch.strided:
        tensor = tensor.coalesce().values()
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
