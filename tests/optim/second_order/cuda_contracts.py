"""What CUDA's kernels of torch 2.14 want of the functions that benchbench calls directly, and CPUs do not ask for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

REALS = (torch.float32, torch.float64)


def _batch_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, *rest: Any) -> None:
    assert x.dim() >= 2 and x.dtype in REALS
    assert all(each is None or each.dtype == x.dtype for each in (weight, bias))


def _batch_norm_backward(
    g: Tensor,
    x: Tensor,
    weight: Tensor | None,
    _running_mean: Tensor | None,
    _running_var: Tensor | None,
    mean: Tensor | None,
    scale: Tensor | None,
    training: bool,
    _eps: float,
    mask: Sequence[bool],
) -> None:
    assert mean is not None and scale is not None, "CUDA has no other source of the statistics"
    assert training and g.shape == x.shape and g.dtype == x.dtype == mean.dtype == scale.dtype
    assert len(mean) == len(scale) == x.shape[1] and mean.is_contiguous() and scale.is_contiguous()
    if mask[1] or mask[2]:
        assert weight is not None, "CUDA allocates the sums like the weight"
    assert weight is None or (weight.dtype == x.dtype and weight.shape == mean.shape)


def _layer_norm_backward(
    g: Tensor,
    x: Tensor,
    shape: Sequence[int],
    mean: Tensor,
    scale: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mask: Sequence[bool],
) -> None:
    assert g.shape == x.shape and g.dtype == x.dtype == mean.dtype == scale.dtype
    assert weight is not None or not mask[1], "CUDA allocates the weight's gradient like the weight"
    assert bias is not None or not mask[2], "CUDA allocates the bias's gradient like the bias"


def _convolution(x: Tensor, weight: Tensor, bias: Tensor | None, *_geometry: Any) -> None:
    assert x.dtype == weight.dtype and x.device == weight.device and x.dim() == weight.dim()
    assert bias is None or bias.dtype == x.dtype


def _convolution_backward(g: Tensor, x: Tensor, weight: Tensor, sizes: Sequence[int] | None, *rest: Any) -> None:
    mask = rest[-1]
    assert g.dtype == x.dtype == weight.dtype
    assert any(mask), "there is nothing to compute"
    assert sizes is not None or not mask[2], "the bias's gradient has no size"


def _same_kind(a: Tensor, b: Tensor, *_rest: Any, **_keywords: Any) -> None:
    assert a.dtype == b.dtype and a.device == b.device


def _unscale(gradients: Sequence[Tensor], overflow: Tensor, inverse: Tensor) -> None:
    assert overflow.dtype == inverse.dtype == torch.float32 and overflow.numel() == inverse.numel() == 1
    assert all(each.is_floating_point() and each.device == overflow.device for each in gradients)


def _update_scale(scale: Tensor, count: Tensor, overflow: Tensor, *_rest: Any) -> None:
    assert scale.dtype == overflow.dtype == torch.float32 and count.dtype == torch.int32
    assert scale.numel() == overflow.numel() == count.numel() == 1


def _any(*_arguments: Any, **_keywords: Any) -> None:
    """Accept all that CPUs accept."""


RULES: Mapping[str, Callable[..., None]] = {
    "native_batch_norm": _batch_norm,
    "native_batch_norm_backward": _batch_norm_backward,
    "native_layer_norm": _any,
    "native_layer_norm_backward": _layer_norm_backward,
    "convolution": _convolution,
    "convolution_backward": _convolution_backward,
    "gelu_backward": _same_kind,
    "threshold_backward": _same_kind,
    "_amp_foreach_non_finite_check_and_unscale_": _unscale,
    "_amp_update_scale_": _update_scale,
}

COMPOSED = {
    "_batch_norm_impl_index": "native_batch_norm",
    "_batch_norm_impl_index_backward": "native_batch_norm_backward",
}
"""Functions that torch composes of others, which are what a dispatch mode sees."""


class CudaContracts(TorchDispatchMode):
    """Fails where a GPU would, and counts the functions that it knows.

    Lists of tensors have to be of one length and not empty.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        keywords = dict(kwargs or {})
        if name in RULES:
            RULES[name](*args, **keywords)
            self.seen[name] += 1
        elif name.startswith("_foreach"):
            lists = [arg for arg in args if isinstance(arg, (list, tuple)) and arg and isinstance(arg[0], Tensor)]
            assert lists and len({len(each) for each in lists}) == 1
        return func(*args, **keywords)
