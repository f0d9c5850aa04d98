"""The function mode that sends calls of torch's functions to the autograd functions of this package."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch.autograd import forward_ad
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from benchbench.optim.second_order.attention import scaled_dot_product_attention
from benchbench.optim.second_order.batch_norm import Layers, batch_norm
from benchbench.optim.second_order.convolution import conv1d, conv2d, conv3d
from benchbench.optim.second_order.gelu import gelu
from benchbench.optim.second_order.layer_norm import layer_norm
from benchbench.optim.second_order.linear import linear
from benchbench.optim.second_order.relu import relu

_ROUTES: dict[Callable[..., Any], Callable[..., Any]] = {
    F.conv1d: conv1d,
    F.conv2d: conv2d,
    F.conv3d: conv3d,
    F.batch_norm: batch_norm,
    F.layer_norm: layer_norm,
    F.scaled_dot_product_attention: scaled_dot_product_attention,
    F.linear: linear,
    F.gelu: gelu,
    F.relu: relu,
    torch.relu: relu,
    torch.Tensor.relu: relu,
}
"""Torch's function -> a function of the same signature that returns `NotImplemented` for what it does not cover."""


class FastSecondDerivatives(TorchFunctionMode):
    """Inside, some functions of torch have the same values and gradients, and cheaper second derivatives.

    What a route does not cover is computed by torch's own function. Third and higher derivatives are
    torch's own as well.
    """

    def __init__(self) -> None:
        super().__init__()
        self._routes: dict[Callable[..., Any], Callable[..., Any]] = {
            **_ROUTES,
            F.batch_norm: partial(batch_norm, layers=Layers()),
        }

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        route = self._routes.get(func)
        if route is not None and _is_plain_autograd():
            result = route(*args, **kwargs)
            if result is not NotImplemented:
                return result
        return func(*args, **kwargs)


def _is_plain_autograd() -> bool:
    """Return whether nothing but reverse-mode autograd looks at what is computed now.

    Transforms of `torch.func`, dual tensors and the compiler would need rules of their own. Activation
    checkpointing (known by its hooks on saved tensors) runs the forward again outside the mode and must find
    there what it saved the first time.
    """
    return (
        torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and torch._C._functorch.peek_interpreter_stack() is None
        and forward_ad._current_level < 0
        and torch._C._autograd._top_saved_tensors_default_hooks(True) is None
    )
