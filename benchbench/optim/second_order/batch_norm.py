"""Batch norm (training mode) with a second derivative of few passes over the activations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from benchbench.optim.second_order.common import Shares, covered, general_second_derivative, is_batch, must_be_general

_forward = torch.ops.aten._batch_norm_impl_index.default
_backward = torch.ops.aten._batch_norm_impl_index_backward.default
_native_forward = torch.ops.aten.native_batch_norm.default
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
    *,
    layers: Layers,
) -> Any:
    """Route `torch.nn.functional.batch_norm`; `layers` are those of the same evaluation."""
    if not training or input.dim() < 2 or not covered(input, weight, bias) or input.numel() <= input.shape[1]:
        return NotImplemented
    return _BatchNorm.apply(input, weight, bias, (running_mean, running_var), momentum, eps, layers)


class Layers:
    """The batch norms of one evaluation: what their second derivatives need is computed for all of them together.

    On a GPU, a small network waits for launches of kernels, and arithmetic on a number per channel is as expensive as
    a pass over all entries.
    """

    def __init__(self) -> None:
        self._waiting: list[_Known] = []
        self._products: list[_Products] = []
        self._constants: dict[tuple[torch.dtype, torch.device], tuple[Tensor, Tensor]] = {}

    def constants(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return a zero and a one for each entry of a vector."""
        key = like.dtype, like.device
        if key not in self._constants or len(self._constants[key][0]) < len(like):
            size = max(len(like), 4096)
            self._constants[key] = like.new_zeros(size), like.new_ones(size)
        zeros, ones = self._constants[key]
        return zeros[: len(like)], ones[: len(like)]

    def add(self, *known: Tensor) -> int:
        """Take note of a layer's entries of `_Known`; the number that it gets is what `products` wants."""
        # Without their graph, which would hold on to this object.
        self._waiting.append(_Known(*(tensor.detach() for tensor in known)))
        return len(self._products) + len(self._waiting) - 1

    def products(self, number: int) -> _Products:
        """Return the products of a layer."""
        if number >= len(self._products):
            self._products += _products(self._waiting)
            self._waiting.clear()
        return self._products[number]


class _Known(NamedTuple):
    """Per channel, in the notation of `_BatchNormBackward`: w, m, s, sum(g) and sum(g z)."""

    w: Tensor
    m: Tensor
    s: Tensor
    g: Tensor
    gz: Tensor


class _Products(NamedTuple):
    """Products of the entries of `_Known`, and `c` = s (sum(g) - m s sum(g z))."""

    ws: Tensor
    ms: Tensor
    wss: Tensor
    wmss: Tensor
    ws_gz: Tensor
    ss_gz: Tensor
    c: Tensor


def _products(layers: Sequence[_Known]) -> list[_Products]:
    w, m, s, g, gz = (list(each) for each in zip(*layers, strict=True))
    count = len(layers)

    def multiplied(*pairs: tuple[list[Tensor], list[Tensor]]) -> list[list[Tensor]]:
        left, right = ([tensor for pair in pairs for tensor in pair[side]] for side in (0, 1))
        found = torch._foreach_mul(left, right)
        return [list(found[start : start + count]) for start in range(0, len(found), count)]

    ws, ms = multiplied((w, s), (m, s))
    wss, wmss, ws_gz, s_gz = multiplied((ws, s), (ws, ms), (ws, gz), (s, gz))
    ss_gz, c = multiplied((s, s_gz), (s, list(torch._foreach_addcmul(g, ms, gz, -1))))
    return [_Products(*each) for each in zip(ws, ms, wss, wmss, ws_gz, ss_gz, c, strict=True)]


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
        layers: Layers,
    ) -> Tensor:
        ctx.set_materialize_grads(False)
        # Torch's own choice between its kernels and cuDNN, and its own update of the running statistics.
        output, mean, scale, reserve, ctx.kernel = _forward(
            x, weight, bias, *running, True, momentum, eps, torch.backends.cudnn.enabled
        )
        ctx.save_for_backward(x, weight, mean, scale, reserve)
        ctx.eps, ctx.layers = eps, layers
        y: Tensor = output
        return y

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor | None) -> Shares:
        if grad_output is None:
            return (None,) * 7
        x, weight, *saved = ctx.saved_tensors
        needed = ctx.needs_input_grad[:3]
        # Where a graph is built, the gradients will be differentiated; a batch of them by torch's own formulas.
        noted = torch.is_grad_enabled() and not is_batch(grad_output)
        gradients = _BatchNormBackward.apply(
            grad_output, x, weight, saved, needed, ctx.kernel, ctx.eps, ctx.layers, noted
        )
        return *gradients, *(None,) * 4


class _BatchNormBackward(Function):
    """The gradients.

    Per channel, over its n entries, with m the mean, s = (variance + eps)^(-1/2), w the weight:

        z = s (x - m),   P(a) = a - mean(a) - z mean(a z),
        dx = w s P(g),   dw = sum(g z),   db = sum(g).

    P is symmetric, and z depends on x by dz = s P(dx). For cotangents u, v, t of dx, dw, db the sum
    S = w s <u, P(g)> + v sum(g z) + t sum(g) has, with a = s P(u), the derivatives

        dS/dg = w a + v z + t
        dS/dw = <a, g>
        dS/dx = s (v - w s mean(u z)) P(g) - w s mean(g z) a - w s (<a, g> / n) z,

    the last term because ds = -s^2 mean(z dx). The kernel of the gradient computes a with sum(u z), and the first
    term of dS/dx.
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
        layers: Layers,
        noted: bool,
    ) -> Shares:
        ctx.set_materialize_grads(False)
        mean, scale, reserve = saved
        # The kernels of GPUs want a weight wherever they sum up over a channel, those of CPUs do not.
        given = layers.constants(scale)[1] if weight is None else weight
        by_x, sum_gz, sum_g = _backward(
            kernel, x, grad_output, given, None, None, mean, scale, True, eps, [needed[0], True, True], reserve
        )
        ctx.save_for_backward(grad_output, x, weight, mean, scale, sum_g, sum_gz)
        ctx.needed, ctx.eps, ctx.layers = needed, eps, layers
        if noted:
            ctx.number = layers.add(given, mean, scale, sum_g, sum_gz)
        return by_x, sum_gz if needed[1] else None, sum_g if needed[2] else None

    @staticmethod
    def backward(ctx: Any, u: Tensor | None, v: Tensor | None, t: Tensor | None) -> Shares:
        grad_output, x, weight, mean, scale, sum_g, sum_gz = ctx.saved_tensors
        if must_be_general(grad_output, u, v, t):
            shares = _again(ctx, (u, v, t))
        else:
            known = (grad_output, x, weight, mean, scale, sum_g, sum_gz)
            derivative = _SecondDerivative(*known, ctx.layers, ctx.number)
            shares = derivative.of(u, v, t, ctx.needs_input_grad[:3])
        return *shares, *(None,) * 6


class _Projected(NamedTuple):
    """a = s P(u) as scale * tensor + slope * x + offset."""

    tensor: Tensor
    scale: Tensor
    slope: Tensor
    offset: Tensor


class _SecondDerivative(NamedTuple):
    """The formulas of `_BatchNormBackward` with its names."""

    g: Tensor
    x: Tensor
    w: Tensor | None
    m: Tensor
    s: Tensor
    sum_g: Tensor
    sum_gz: Tensor
    layers: Layers
    number: int

    def of(self, u: Tensor | None, v: Tensor | None, t: Tensor | None, needed: tuple[bool, bool, bool]) -> Shares:
        zeros, ones = self.layers.constants(self.s)
        v, t = zeros if v is None else v, zeros if t is None else t
        a, sum_uz, sum_ag = (None, zeros, zeros) if u is None else self._projected(u)
        known, n = self.layers.products(self.number), self._count
        by_z, slope, offset, of_x, constant = torch._foreach_addcmul(
            [v, zeros, t, zeros, zeros],
            [known.ws, self.s, known.ms, known.wss, known.wmss],
            [sum_uz, v, v, sum_ag, sum_ag],
            [-1 / n, 1, -1, -1 / n, 1 / n],
        )
        by_g = by_x = None
        if needed[0]:
            by_g = self._combined(slope, offset, a, ones if self.w is None else self.w, 1)
        if needed[1]:
            of_g, of_x, constant = torch._foreach_addcmul(
                [zeros, of_x, constant], [self.s, known.ss_gz, known.c], [by_z] * 3, [1, -1 / n, -1 / n]
            )
            by_x = self._combined(of_x, constant, a, known.ws_gz, -1 / n)
            by_x.addcmul_(self.g, _spread(of_g, self.g))
        return by_g, by_x, sum_ag if needed[2] and u is not None else None

    @property
    def _count(self) -> int:
        return self.x.numel() // self.x.shape[1]

    def _projected(self, u: Tensor) -> tuple[_Projected, Tensor, Tensor]:
        """Return a, sum(u z) and <a, g>."""
        zeros, ones = self.layers.constants(self.s)
        if not self._is_on_cpu:
            a, sum_uz, _ = _sums(u, self.x, ones, self.m, self.s, [True, True, False])
            return (
                _Projected(a, ones, zeros, zeros),
                sum_uz,
                _sums(a, self.g, ones, zeros, ones, [False, True, False])[1],
            )
        _, sum_uz, sum_u = _sums(u, self.x, ones, self.m, self.s, [False, True, True])
        sum_ug = _sums(u, self.g, ones, zeros, ones, [False, True, False])[1]
        sum_ag = self.s * (sum_ug - (sum_u * self.sum_g + sum_uz * self.sum_gz) / self._count)
        slope = self.s * self.s * sum_uz / -self._count
        return _Projected(u, self.s, slope, -(slope * self.m + self.s * sum_u / self._count)), sum_uz, sum_ag

    def _combined(self, slope: Tensor, offset: Tensor, a: _Projected | None, of_a: Tensor, number: float) -> Tensor:
        """Return slope * x + offset + number * of_a * a in new memory."""
        y: Tensor
        if not self._is_on_cpu:
            y = torch.addcmul(_spread(offset, self.x), self.x, _spread(slope, self.x))
            return y if a is None else y.addcmul_(a.tensor, _spread(of_a, y), value=number)
        if a is not None:
            slope, offset = torch._foreach_addcmul([slope, offset], [of_a] * 2, [a.slope, a.offset], number)
            of_a = of_a * a.scale
        zeros, ones = self.layers.constants(self.s)
        y = _native_forward(self.x, slope, offset, zeros, ones, False, 0.0, 0.0)[0]
        return y if a is None else y.addcmul_(a.tensor, _spread(of_a, y), value=number)

    @property
    def _is_on_cpu(self) -> bool:
        """Return whether time is bound by passes over memory rather than launches; then a is never materialised."""
        return self.x.device.type == "cpu"


def _sums(
    a: Tensor, x: Tensor, weight: Tensor, mean: Tensor, scale: Tensor, wanted: list[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return weight * scale * P(a), and per channel the sums of a * scale * (x - mean) and of a, by torch's kernel."""
    found: tuple[Tensor, Tensor, Tensor] = _native_backward(a, x, weight, None, None, mean, scale, True, 0.0, wanted)
    return found


def _spread(per_channel: Tensor, like: Tensor) -> Tensor:
    return per_channel.view(-1, *(1,) * (like.dim() - 2))


def _again(ctx: Any, cotangents: Shares) -> Shares:
    grad_output, x, weight, *_ = ctx.saved_tensors
    bias = x.new_zeros(x.shape[1], requires_grad=True) if ctx.needed[2] else None

    def normalized(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        return F.batch_norm(x, None, None, weight, bias, True, 0.0, ctx.eps)

    needed = (*ctx.needs_input_grad[:3], False)
    return general_second_derivative(normalized, grad_output, (x, weight, bias), cotangents, needed)[:3]
