"""Scaled dot-product attention with a second derivative of ten matrix products and few passes between them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchbench.optim.second_order.common import Shares, covered, general_second_derivative, must_be_general


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """Route `torch.nn.functional.scaled_dot_product_attention` without dropout, grouped queries and learned masks."""
    if not covered(query, key, value) or dropout_p > 0 or enable_gqa or not _shapes_agree(query, key, value):
        return NotImplemented
    if attn_mask is not None and (is_causal or not _is_plain_mask(attn_mask, query)):
        return NotImplemented
    bias = attn_mask
    if is_causal:
        bias = query.new_full((query.shape[-2], key.shape[-2]), -math.inf).triu_(1)
    elif attn_mask is not None and attn_mask.dtype == torch.bool:
        bias = query.new_zeros(attn_mask.shape).masked_fill_(~attn_mask, -math.inf)
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    return _Attention.apply(query, key, value, bias, factor, is_causal or attn_mask is None)


def _shapes_agree(query: Tensor, key: Tensor, value: Tensor) -> bool:
    return (
        query.dim() >= 3
        and query.shape[:-2] == key.shape[:-2] == value.shape[:-2]
        and query.shape[-1] == key.shape[-1]
        and key.shape[-2] == value.shape[-2]
        and key.numel() > 0
        and value.numel() > 0
    )


def _is_plain_mask(mask: Tensor, query: Tensor) -> bool:
    return (
        type(mask) is Tensor
        and mask.dtype in (torch.bool, query.dtype)
        and mask.device == query.device
        and mask.layout == torch.strided
        and not mask.requires_grad
    )


class _Attention(Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, factor: float, none_is_empty: bool
    ) -> Tensor:
        ctx.set_materialize_grads(False)
        q, k, v = _matrices(query) * factor, _matrices(key), _matrices(value)
        scores = torch.bmm(q, _t(k))
        if bias is not None:
            scores.view(*query.shape[:-1], key.shape[-2]).add_(bias)
        a = torch.softmax(scores, -1)
        if not none_is_empty:
            # Where every key is masked, torch's attention returns zeros and not 0 / 0.
            a.masked_fill_((scores == -math.inf).all(-1, keepdim=True), 0)
        output = torch.bmm(a, v)
        ctx.save_for_backward(query, key, value, bias, q, k, v, a, output)
        ctx.factor = factor
        return output.view(*query.shape[:-1], value.shape[-1])

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor | None) -> Shares:
        if grad_output is None:
            return (None,) * 6
        query, key, value, *saved = ctx.saved_tensors
        needed = ctx.needs_input_grad[:3]
        is_last = not torch.is_grad_enabled()
        gradients = _AttentionBackward.apply(grad_output, query, key, value, saved, ctx.factor, needed, is_last)
        return *gradients, None, None, None


class _AttentionBackward(Function):
    """The gradients.

    With c the scale, rows as queries, and * for products entry by entry:

        A = softmax(c Q K' + bias),   D = g V' - rowsum(A * (g V')),   E = A * D,
        dQ = c E K,   dK = c E' Q,   dV = A' g,

    where rowsum(A * (g V')) = rowsum(g * A V). For cotangents u, v, t of dQ, dK, dV, put

        W = c (u K' + Q v'),   X = W - rowsum(A * W),   Y = A * X,
        B = D * X + g t',      Z = A * (B - rowsum(A * B)).

    Then S = <u, dQ> + <v, dK> + <t, dV> = <W, E> + <g t', A> has the derivatives

        dS/dg = Y V + A t,            dS/dV = Y' g,
        dS/dQ = c (Z K + E v),        dS/dK = c (Z' Q + E' u),

    because the softmax turns a cotangent C of A into A * (C - rowsum(A * C)), once for g V' (W is the
    cotangent of E, so Y is that of g V') and once for c Q K' (B is the cotangent of A up to a constant per
    row, so Z is that of c Q K').
    """

    @staticmethod
    def forward(
        ctx: Any,
        grad_output: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        saved: list[Tensor],
        factor: float,
        needed: tuple[bool, bool, bool],
        is_last: bool,
    ) -> Shares:
        ctx.set_materialize_grads(False)
        bias, q, k, v, a, output = saved
        g = _matrices(grad_output)
        d = torch.bmm(g, _t(v)).sub_((g * output).sum(-1, keepdim=True))
        e = d.mul_(a) if is_last else a * d  # d is not needed after the last differentiation
        ctx.save_for_backward(grad_output, query, key, value, bias, g, q, k, v, a, d, e)
        ctx.factor = factor
        return (
            torch.bmm(e, k).mul_(factor).view(query.shape) if needed[0] else None,
            torch.bmm(_t(e), q).view(key.shape) if needed[1] else None,
            torch.bmm(_t(a), g).view(value.shape) if needed[2] else None,
        )

    @staticmethod
    def backward(ctx: Any, u: Tensor | None, v: Tensor | None, t: Tensor | None) -> Shares:
        grad_output, query, key, value, _, *matrices = ctx.saved_tensors
        needed = ctx.needs_input_grad[:4]
        if must_be_general(grad_output, u, v, t):
            return *_again(ctx, (u, v, t)), *(None,) * 4
        shares = _SecondDerivative(ctx.factor, *matrices).of(u, v, t, needed)
        inputs = (grad_output, query, key, value)
        viewed = [None if share is None else share.view(x.shape) for share, x in zip(shares, inputs, strict=True)]
        return *viewed, *(None,) * 4


class _SecondDerivative(NamedTuple):
    """The formulas of `_AttentionBackward` with its names, but q and u stand for c Q and c u."""

    factor: float
    g: Tensor
    q: Tensor
    k: Tensor
    value: Tensor
    a: Tensor
    d: Tensor
    e: Tensor

    def of(self, u: Tensor | None, v: Tensor | None, t: Tensor | None, needed: tuple[bool, bool, bool, bool]) -> Shares:
        u = None if u is None else _matrices(u) * self.factor
        v, t = (None if x is None else _matrices(x) for x in (v, t))
        w = _sum_of_products((u, _t(self.k)), (self.q, _t(v)))
        y = b = None
        if w is not None:
            y = self.a * w
            row_sums = y.sum(-1, keepdim=True)
            y.addcmul_(self.a, row_sums, value=-1)
            b = w.sub_(row_sums).mul_(self.d)
        by_g = _sum_of_products((y, self.value), (self.a, t)) if needed[0] else None
        by_query = by_key = None
        if needed[1] or needed[2]:
            by_query, by_key = self._through_scores(u, v, t, b, needed[1:3])
        by_value = torch.bmm(_t(y), self.g) if needed[3] and y is not None else None
        return by_g, by_query, by_key, by_value

    def _through_scores(
        self, u: Tensor | None, v: Tensor | None, t: Tensor | None, b: Tensor | None, needed: tuple[bool, bool]
    ) -> Shares:
        if t is not None:
            b = _sum_of_products((self.g, _t(t)), start=b)
        z = None
        if b is not None:
            z = b.mul_(self.a)
            z.addcmul_(self.a, z.sum(-1, keepdim=True), value=-1)
        by_query = _sum_of_products((z, self.k), (self.e, v)) if needed[0] else None
        by_key = _sum_of_products((_t(z), self.q), (_t(self.e), u)) if needed[1] else None
        return None if by_query is None else by_query.mul_(self.factor), by_key


def _matrices(tensor: Tensor) -> Tensor:
    """Return the matrices of all heads in one batch, contiguous: every one is used in several products."""
    return tensor.reshape(-1, *tensor.shape[-2:]).contiguous()


def _t(matrix: Any) -> Any:
    return None if matrix is None else matrix.transpose(-2, -1)


def _sum_of_products(*pairs: tuple[Tensor | None, Tensor | None], start: Tensor | None = None) -> Tensor | None:
    """Return start + sum of left @ right, added inside the products, into the memory of `start`."""
    total = start
    for left, right in pairs:
        if left is not None and right is not None:
            total = torch.bmm(left, right) if total is None else total.baddbmm_(left, right)
    return total


def _again(ctx: Any, cotangents: Shares) -> Shares:
    grad_output, query, key, value, bias, *_ = ctx.saved_tensors

    def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        with sdpa_kernel(SDPBackend.MATH):
            return F.scaled_dot_product_attention(query, key, value, bias, scale=ctx.factor)

    return general_second_derivative(attention, grad_output, (query, key, value), cotangents, ctx.needs_input_grad[:4])
