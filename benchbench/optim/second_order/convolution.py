"""Convolution with a second derivative that is four convolutions at most."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from benchbench.optim.second_order.common import Shares, covered, general_second_derivative, must_be_general

Geometry = tuple[list[int], list[int], list[int], bool, list[int], int]
"""Stride, padding, dilation, transposed, output padding and groups, as torch's operators take them."""

_convolution = torch.ops.aten.convolution.default
_convolution_backward = torch.ops.aten.convolution_backward.default


def _conv(
    dimensions: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Any:
    if not covered(input, weight, bias) or input.dim() != dimensions + 2 or weight.dim() != dimensions + 2:
        return NotImplemented
    strides, dilations = _one_each(stride, dimensions), _one_each(dilation, dimensions)
    paddings = _paddings(padding, weight.shape[2:], strides, dilations)
    if paddings is None:
        return NotImplemented
    geometry: Geometry = (strides, paddings, dilations, False, [0] * dimensions, groups)
    return _Convolution.apply(input, weight, bias, geometry)


conv1d, conv2d, conv3d = (partial(_conv, dimensions) for dimensions in (1, 2, 3))


def _one_each(value: int | Sequence[int], dimensions: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * dimensions if len(values) == 1 else values


def _paddings(
    padding: int | Sequence[int] | str, kernel: Sequence[int], strides: list[int], dilations: list[int]
) -> list[int] | None:
    """Return the padding on both sides, or `None` where it differs between the sides or is not allowed."""
    if padding == "valid":
        return [0] * len(kernel)
    if padding == "same":
        totals = [dilation * (size - 1) for dilation, size in zip(dilations, kernel, strict=True)]
        is_symmetric = all(total % 2 == 0 for total in totals) and all(stride == 1 for stride in strides)
        return [total // 2 for total in totals] if is_symmetric else None
    return None if isinstance(padding, str) else _one_each(padding, len(kernel))


class _Convolution(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, weight)
        ctx.geometry = geometry
        output: Tensor = _convolution(x, weight, bias, *geometry)
        return output

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor | None) -> Shares:
        if grad_output is None:
            return None, None, None, None
        x, weight = ctx.saved_tensors
        needed = ctx.needs_input_grad[:3]
        return *_ConvolutionBackward.apply(grad_output, x, weight, needed, ctx.geometry), None


class _ConvolutionBackward(Function):
    """The gradients, linear in `grad_output` and in either of the other arguments.

    With * for the convolution, gradients G_x(g, W) and G_W(g, x), and cotangents u, v, t of the gradients of
    input, weight and bias, the sum S = <u, G_x(g, W)> + <v, G_W(g, x)> + <t, sum g> is differentiated by
    moving each operator to the other side (<u, G_x(g, W)> = <g, u * W> = <W, G_W(g, u)>):

        dS/dg = u * W + x * v + t,    dS/dx = G_x(g, v),    dS/dW = G_W(g, u).
    """

    @staticmethod
    def forward(
        ctx: Any, grad_output: Tensor, x: Tensor, weight: Tensor, needed: Sequence[bool], geometry: Geometry
    ) -> Shares:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(grad_output, x, weight)
        ctx.needed, ctx.geometry = needed, geometry
        gradients: Shares = _convolution_backward(grad_output, x, weight, [weight.shape[0]], *geometry, needed)
        return gradients

    @staticmethod
    def backward(ctx: Any, u: Tensor | None, v: Tensor | None, t: Tensor | None) -> Shares:
        grad_output, x, weight = ctx.saved_tensors
        needs_output, needs_x, needs_weight = ctx.needs_input_grad[:3]
        if must_be_general(grad_output, u, v, t):
            return *_again(ctx, (u, v, t)), None, None
        by_output = _derivative_by_grad_output(x, weight, u, v, t, ctx.geometry) if needs_output else None
        by_x = by_weight = None
        wanted = [needs_x and v is not None, needs_weight and u is not None, False]
        if any(wanted):
            # The operator computes both at once: one takes `input` and not `weight`, the other the opposite.
            given_u, given_v = x if u is None else u, weight if v is None else v
            by_x, by_weight, _ = _convolution_backward(grad_output, given_u, given_v, None, *ctx.geometry, wanted)
        return by_output, by_x, by_weight, None, None


def _derivative_by_grad_output(
    x: Tensor, weight: Tensor, u: Tensor | None, v: Tensor | None, t: Tensor | None, geometry: Geometry
) -> Tensor | None:
    total: Tensor | None = None
    for data, kernel in ((u, weight), (x, v)):
        if data is not None and kernel is not None:
            part = _convolution(data, kernel, t if total is None else None, *geometry)
            total = part if total is None else total.add_(part)
    if total is None and t is not None:
        # A convolution with zeros has the shape that the bias is spread over.
        total = _convolution(x, torch.zeros_like(weight), t, *geometry)
    return total


def _again(ctx: Any, cotangents: Shares) -> Shares:
    grad_output, x, weight = ctx.saved_tensors
    bias = weight.new_zeros(weight.shape[0], requires_grad=True) if ctx.needed[2] else None

    def convolution(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        output: Tensor = _convolution(x, weight, bias, *ctx.geometry)
        return output

    needed = (*ctx.needs_input_grad[:3], False)
    return general_second_derivative(convolution, grad_output, (x, weight, bias), cotangents, needed)[:3]
