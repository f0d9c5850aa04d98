"""Batch norm (training mode) with a second derivative of few passes over the activations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from benchbench.second_order.common import Shares, covered, general_second_derivative, must_be_general

_forward = torch.ops.aten._batch_norm_impl_index.default
_backward = torch.ops.aten._batch_norm_impl_index_backward.default
_native_backward = torch.ops.aten.native_batch_norm_backward.default


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Route `torch.nn.functional.batch_norm`."""
    if not training or input.dim() < 2 or not covered(input, weight, bias) or input.numel() <= input.shape[1]:
        return NotImplemented
    return _BatchNorm.apply(input, weight, bias, (running_mean, running_var), momentum, eps)


class _BatchNorm(Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        running: tuple[Tensor | None, Tensor | None],
        momentum: float,
        eps: float,
    ) -> Tensor:
        ctx.set_materialize_grads(False)
        # Torch's own choice between its kernels and cuDNN, and its own update of the running statistics.
        output, mean, scale, reserve, ctx.kernel = _forward(
            x, weight, bias, *running, True, momentum, eps, torch.backends.cudnn.enabled
        )
        ctx.save_for_backward(x, weight, mean, scale, reserve)
        ctx.eps = eps
        y: Tensor = output
        return y

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor | None) -> Shares:
        if grad_output is None:
            return (None,) * 6
        x, weight, *saved = ctx.saved_tensors
        needed = ctx.needs_input_grad[:3]
        gradients = _BatchNormBackward.apply(grad_output, x, weight, saved, needed, ctx.kernel, ctx.eps)
        return *gradients, None, None, None


class _BatchNormBackward(Function):
    """The gradients.

    Per channel, over its n entries, with m the mean, s = (variance + eps)^(-1/2), w the weight:

        z = s (x - m),   P(a) = a - mean(a) - z mean(a z),
        dx = w s P(g),   dw = sum(g z),   db = sum(g).

    P is symmetric, and z depends on x by dz = s P(dx). For cotangents u, v, t of dx, dw, db the sum
    S = w s <u, P(g)> + v sum(g z) + t sum(g) has the derivatives

        dS/dg = w s P(u) + v z + t
        dS/dw = s <u, P(g)>
        dS/dx = -w s^2 mean(g z) P(u) + s (v - w s mean(u z)) P(g) - w s^2 (<u, P(g)> / n) z,

    the last term because ds = -s^2 mean(z dx). So both large results are combinations of u, g and z with
    coefficients per channel, made of five sums: those of g and g z (known), u, u z and u g.
    """

    @staticmethod
    def forward(
        ctx: Any,
        grad_output: Tensor,
        x: Tensor,
        weight: Tensor | None,
        saved: list[Tensor],
        needed: tuple[bool, bool, bool],
        kernel: int,
        eps: float,
    ) -> Shares:
        ctx.set_materialize_grads(False)
        mean, scale, reserve = saved
        by_x, sum_gz, sum_g = _backward(
            kernel, x, grad_output, weight, None, None, mean, scale, True, eps, [needed[0], True, True], reserve
        )
        ctx.save_for_backward(grad_output, x, weight, mean, scale, sum_g, sum_gz)
        ctx.needed, ctx.eps = needed, eps
        return by_x, sum_gz if needed[1] else None, sum_g if needed[2] else None

    @staticmethod
    def backward(ctx: Any, u: Tensor | None, v: Tensor | None, t: Tensor | None) -> Shares:
        grad_output, x, weight, *statistics = ctx.saved_tensors
        if must_be_general(grad_output, u, v, t):
            return *_again(ctx, (u, v, t)), None, None, None, None
        shares = _second_derivative(grad_output, x, weight, statistics, (u, v, t), ctx.needs_input_grad[:3])
        return *shares, None, None, None, None


def _second_derivative(
    g: Tensor,
    x: Tensor,
    weight: Tensor | None,
    statistics: list[Tensor],
    cotangents: Shares,
    needed: tuple[bool, bool, bool],
) -> Shares:
    """Compute the formulas of `_BatchNormBackward`, the combinations in as few passes as torch's kernels allow."""
    mean, s, sum_g, sum_gz = statistics
    u, v, t = cotangents
    n = x.numel() // x.shape[1]
    w = torch.ones_like(s) if weight is None else weight
    zero = torch.zeros_like(s)
    v, t = zero if v is None else v, zero if t is None else t
    mean_g, mean_gz = sum_g / n, sum_gz / n
    mean_u = mean_uz = mean_upg = zero
    if u is not None:
        mean_uz, mean_u = (total / n for total in _sums(u, x, mean, s))
        mean_upg = _sums(u, g, zero, torch.ones_like(s))[0] / n - mean_u * mean_g - mean_uz * mean_gz
    ws = w * s
    by_z = v - ws * mean_uz
    by_g = by_x = None
    if needed[0]:
        by_g = _affine(x, by_z, t - ws * mean_u, mean, s)
        _add_scaled(by_g, u, ws)
    if needed[1]:
        of_u, of_g = -ws * s * mean_gz, s * by_z
        of_z = -(of_u * mean_uz + of_g * mean_gz + ws * s * mean_upg)
        by_x = _affine(x, of_z, -(of_u * mean_u + of_g * mean_g), mean, s)
        _add_scaled(by_x, u, of_u)
        _add_scaled(by_x, g, of_g)
    by_weight = s * mean_upg * n if needed[2] and u is not None else None
    return by_g, by_x, by_weight


def _sums(a: Tensor, x: Tensor, mean: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Return per channel the sums of a * scale * (x - mean) and of a, from one pass of torch's kernel."""
    _, sum_az, sum_a = _native_backward(a, x, None, None, None, mean, scale, True, 0.0, [False, True, True])
    return sum_az, sum_a


def _affine(x: Tensor, slope: Tensor, offset: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Return slope * scale * (x - mean) + offset, new memory, in the two passes that vectorise best."""
    factor = slope * scale
    return torch.mul(x, _spread(factor, x)).add_(_spread(offset - factor * mean, x))


def _add_scaled(total: Tensor, term: Tensor | None, factor: Tensor) -> None:
    if term is not None:
        total.addcmul_(term, _spread(factor, term))


def _spread(per_channel: Tensor, like: Tensor) -> Tensor:
    return per_channel.view(-1, *(1,) * (like.dim() - 2))


def _again(ctx: Any, cotangents: Shares) -> Shares:
    grad_output, x, weight, *_ = ctx.saved_tensors
    bias = x.new_zeros(x.shape[1], requires_grad=True) if ctx.needed[2] else None

    def normalized(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        return F.batch_norm(x, None, None, weight, bias, True, 0.0, ctx.eps)

    needed = (*ctx.needs_input_grad[:3], False)
    return general_second_derivative(normalized, grad_output, (x, weight, bias), cotangents, needed)[:3]
