"""GELU with its second derivative in closed form."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from benchbench.optim.second_order.common import Shares, covered, general_second_derivative, must_be_general

_gelu_backward = torch.ops.aten.gelu_backward.default


def gelu(input: Tensor, approximate: str = "none") -> Any:
    """Route `torch.nn.functional.gelu`; the approximation by tanh stays torch's."""
    if approximate != "none" or not covered(input):
        return NotImplemented
    return _GELU.apply(input)


class _GELU(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x)
        return F.gelu(x)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor | None) -> Tensor | None:
        if grad_output is None:
            return None
        (x,) = ctx.saved_tensors
        gradient: Tensor = _GELUBackward.apply(grad_output, x)
        return gradient


class _GELUBackward(Function):
    """The gradient g f'(x) of f(x) = x N(x), with N and n the normal distribution and its density.

    f' = N + x n and, because n' = -x n, f'' = (2 - x^2) n. For a cotangent u the derivatives are u f'(x) with
    respect to g and u g f''(x) with respect to x.
    """

    @staticmethod
    def forward(ctx: Any, grad_output: Tensor, x: Tensor) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(grad_output, x)
        gradient: Tensor = _gelu_backward(grad_output, x)
        return gradient

    @staticmethod
    def backward(ctx: Any, u: Tensor | None) -> Shares:
        if u is None:
            return None, None
        grad_output, x = ctx.saved_tensors
        if must_be_general(grad_output, u):
            return general_second_derivative(F.gelu, grad_output, (x,), (u,), ctx.needs_input_grad)
        by_output = _gelu_backward(u, x) if ctx.needs_input_grad[0] else None
        by_x = None
        if ctx.needs_input_grad[1]:
            square = x * x
            by_x = torch.mul(square, -0.5).exp_()
            by_x.mul_(square.sub_(2)).mul_(u).mul_(grad_output).mul_(-1 / math.sqrt(2 * math.pi))
        return by_output, by_x
