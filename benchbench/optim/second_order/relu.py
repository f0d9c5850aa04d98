"""The rectifier without the zeros that torch adds up for its second derivative."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from benchbench.optim.second_order.common import covered


def relu(input: Tensor, inplace: bool = False) -> Any:
    """Route `torch.nn.functional.relu`."""
    # In place on a view, autograd would have to rewrite the history of its base.
    if not covered(input) or (inplace and (input._is_view() or input.is_leaf)):
        return NotImplemented
    return _ReLU.apply(input, inplace)


class _ReLU(Function):
    """Multiplies gradients by [y > 0], a constant almost everywhere; so it is for derivatives of any order.

    Torch has the same second derivative, but passes on a tensor of zeros, which is then added up through the
    whole network.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, inplace: bool) -> Tensor:
        ctx.set_materialize_grads(False)
        if inplace:
            ctx.mark_dirty(x)
            y = x.relu_()
        else:
            y = x.relu()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor | None) -> tuple[Tensor | None, None]:
        if grad_output is None:
            return None, None
        (y,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward.default(grad_output, y.detach(), 0), None
