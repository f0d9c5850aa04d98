"""Layer norm with a second derivative of few passes over the activations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from benchbench.optim.second_order.common import Shares, covered, general_second_derivative, must_be_general

_forward = torch.ops.aten.native_layer_norm.default
_backward = torch.ops.aten.native_layer_norm_backward.default


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Any:
    """Route `torch.nn.functional.layer_norm`."""
    shape = list(normalized_shape)
    if not shape or not covered(input, weight, bias) or list(input.shape[-len(shape) :]) != shape:
        return NotImplemented
    return _LayerNorm.apply(input, weight, bias, shape, eps)


class _LayerNorm(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, shape: list[int], eps: float
    ) -> Tensor:
        ctx.set_materialize_grads(False)
        output, mean, scale = _forward(x, shape, weight, bias, eps)
        ctx.save_for_backward(x, weight, bias, mean, scale)
        ctx.shape, ctx.eps = shape, eps
        y: Tensor = output
        return y

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor | None) -> Shares:
        if grad_output is None:
            return (None,) * 5
        x, weight, bias, *statistics = ctx.saved_tensors
        needed = ctx.needs_input_grad[:3]
        bias = None if bias is None else bias.detach()  # no value of it is needed, only its kind
        gradients = _LayerNormBackward.apply(grad_output, x, weight, bias, statistics, needed, ctx.shape, ctx.eps)
        return *gradients, None, None


class _LayerNormBackward(Function):
    """The gradients.

    Per row, over its n entries, with m the mean, s = (variance + eps)^(-1/2), w the weight:

        z = s (x - m),   P(a) = a - mean(a) - z mean(a z),
        dx = s P(w g),   dw = sum of g z over rows,   db = sum of g over rows.

    P is symmetric, and z depends on x by dz = s P(dx). For cotangents u, v, t of dx, dw, db the sum
    S = s <u, P(w g)> + <v, dw> + <t, db> has, with a = s P(u) and b = s P(w g), the derivatives

        dS/dg = w a + v z + t
        dS/dw = sum of a g over rows
        dS/dx = s P(q) - (s <u, b> / n) z   with   q = v g - s (mean(w g z) u + mean(u z) w g),

    where s P(q) = s P(v g) - s mean(w g z) a - s mean(u z) b, and the last term is there because
    ds = -s^2 mean(z dx).
    """

    @staticmethod
    def forward(
        ctx: Any,
        grad_output: Tensor,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        statistics: list[Tensor],
        needed: tuple[bool, bool, bool],
        shape: list[int],
        eps: float,
    ) -> Shares:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(grad_output, x, weight)
        ctx.statistics, ctx.needed, ctx.shape, ctx.eps = statistics, needed, shape, eps
        gradients: Shares = _backward(grad_output, x, shape, *statistics, weight, bias, needed)
        return gradients

    @staticmethod
    def backward(ctx: Any, u: Tensor | None, v: Tensor | None, t: Tensor | None) -> Shares:
        grad_output, x, weight = ctx.saved_tensors
        if must_be_general(grad_output, u, v, t):
            return *_again(ctx, (u, v, t)), *(None,) * 5
        rows = _Rows(x, weight, ctx.shape, *ctx.statistics)
        shares = rows.second_derivative(grad_output, u, v, t, ctx.needs_input_grad[:3])
        return *shares, *(None,) * 5


class _Rows:
    """The operators of `_LayerNormBackward` for one input, on tensors of shape (rows, entries)."""

    def __init__(self, x: Tensor, weight: Tensor | None, shape: list[int], mean: Tensor, scale: Tensor) -> None:
        self.normalized, self.n = shape, math.prod(shape)
        self.shape = x.shape
        self.x = x.reshape(-1, self.n)
        self.weight = None if weight is None else weight.reshape(self.n)
        self.mean, self.scale = mean.reshape(-1, 1), scale.reshape(-1, 1)

    def projected(self, a: Tensor, weight: Tensor | None) -> Tensor:
        """Return s P(weight a), by torch's kernel for the gradient."""
        mask = [True, False, False]
        result: Tensor = _backward(a, self.x, [self.n], self.mean, self.scale, weight, None, mask)[0]
        return result

    def second_derivative(
        self,
        g: Tensor,
        u: Tensor | None,
        v: Tensor | None,
        t: Tensor | None,
        needed: tuple[bool, bool, bool],
    ) -> Shares:
        g = g.reshape(-1, self.n)
        u, v, t = (None if a is None else a.reshape(-1, self.n) for a in (u, v, t))
        v, t = (None if a is None else a.reshape(self.n) for a in (v, t))
        a = None if u is None else self.projected(u, None)
        z = torch.sub(self.x, self.mean).mul_(self.scale)
        by_g = self._by_g(a, z, v, t) if needed[0] else None
        by_x = self._by_x(g, u, v, a, z) if needed[1] else None
        by_weight = (a * g).sum(0).view(self.normalized) if needed[2] and a is not None else None
        return (
            None if by_g is None else by_g.view(self.shape),
            None if by_x is None else by_x.view(self.shape),
            by_weight,
        )

    def _by_g(self, a: Tensor | None, z: Tensor, v: Tensor | None, t: Tensor | None) -> Tensor:
        by_g = torch.zeros_like(z) if v is None else z * v
        if t is not None:
            by_g.add_(t)
        if a is not None:
            by_g.add_(a) if self.weight is None else by_g.addcmul_(a, self.weight)
        return by_g

    def _by_x(self, g: Tensor, u: Tensor | None, v: Tensor | None, a: Tensor | None, z: Tensor) -> Tensor:
        """Return the derivative with respect to x; `z` is overwritten."""
        by_x = torch.zeros_like(z) if v is None else self.projected(g, v)
        if u is None or a is None:
            return by_x
        b = self.projected(g, self.weight)
        weighted = g if self.weight is None else g * self.weight
        factor = self.scale * (-1 / self.n)
        by_x.addcmul_(a, _row_dot(weighted, z) * factor)
        by_x.addcmul_(b, _row_dot(u, z) * factor)
        return by_x.addcmul_(z, _row_dot(u, b) * factor)


def _row_dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(1, keepdim=True)


def _again(ctx: Any, cotangents: Shares) -> Shares:
    grad_output, x, weight = ctx.saved_tensors
    bias = x.new_zeros(ctx.shape, requires_grad=True) if ctx.needed[2] else None

    def normalized(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        return F.layer_norm(x, ctx.shape, weight, bias, ctx.eps)

    needed = (*ctx.needs_input_grad[:3], False)
    return general_second_derivative(normalized, grad_output, (x, weight, bias), cotangents, needed)[:3]
