"""The linear layer, with the sums of its second derivative inside the matrix products."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from benchbench.optim.second_order.common import Shares, covered, general_second_derivative, must_be_general


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
    """Route `torch.nn.functional.linear`."""
    if not covered(input, weight, bias) or input.dim() < 2 or weight.dim() != 2:
        return NotImplemented
    return _Linear.apply(input, weight, bias)


class _Linear(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, weight)
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor | None) -> Shares:
        if grad_output is None:
            return None, None, None
        x, weight = ctx.saved_tensors
        gradients: Shares = _LinearBackward.apply(grad_output, x, weight, ctx.needs_input_grad)
        return gradients


class _LinearBackward(Function):
    """The gradients of y = x W' + b (rows are samples): dx = g W, dW = g' x, db = sum of the rows of g.

    For cotangents u, v, t of dx, dW, db the sum S = <u, g W> + <v, g' x> + <t, sum g> has the derivatives

        dS/dg = u W' + x v' + t,    dS/dx = g v,    dS/dW = g' u.
    """

    @staticmethod
    def forward(ctx: Any, grad_output: Tensor, x: Tensor, weight: Tensor, needed: tuple[bool, bool, bool]) -> Shares:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(grad_output, x, weight)
        ctx.needed = needed
        rows = _rows(grad_output)
        return (
            (rows @ weight).view(x.shape) if needed[0] else None,
            rows.t() @ _rows(x) if needed[1] else None,
            rows.sum(0) if needed[2] else None,
        )

    @staticmethod
    def backward(ctx: Any, u: Tensor | None, v: Tensor | None, t: Tensor | None) -> Shares:
        grad_output, x, weight = ctx.saved_tensors
        needs_output, needs_x, needs_weight = ctx.needs_input_grad[:3]
        if must_be_general(grad_output, u, v, t):
            return *_again(ctx, (u, v, t)), None
        by_output = _derivative_by_grad_output(grad_output, x, weight, (u, v, t)) if needs_output else None
        by_x = (_rows(grad_output) @ v).view(x.shape) if needs_x and v is not None else None
        by_weight = _rows(grad_output).t() @ _rows(u) if needs_weight and u is not None else None
        return by_output, by_x, by_weight, None


def _derivative_by_grad_output(g: Tensor, x: Tensor, weight: Tensor, cotangents: Shares) -> Tensor | None:
    u, v, t = cotangents
    if v is not None:
        total = F.linear(_rows(x), v, t)
        if u is not None:
            total.addmm_(_rows(u), weight.t())
    elif u is not None:
        total = F.linear(_rows(u), weight, t)
    elif t is not None:
        return t.expand(g.shape)
    else:
        return None
    return total.view(g.shape)


def _rows(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1, tensor.shape[-1])


def _again(ctx: Any, cotangents: Shares) -> Shares:
    grad_output, x, weight = ctx.saved_tensors
    bias = weight.new_zeros(weight.shape[0], requires_grad=True) if ctx.needed[2] else None
    needed = (*ctx.needs_input_grad[:3], False)
    return general_second_derivative(F.linear, grad_output, (x, weight, bias), cotangents, needed)[:3]
