"""The memory format channels-last: a pixel's channels next to each other, as the fastest convolutions want them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree

_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)

_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}
"""By number of dimensions."""


def convert_convolutions(model: nn.Module) -> None:
    """Lay out the weights of all convolutions of a model channels-last, each once; they stay the same parameters.

    Where weight or input of a convolution has this format, torch computes in it and gives the output the same format.
    """
    for module in model.modules():
        weight = module._parameters.get("weight") if isinstance(module, _CONVOLUTIONS) else None
        if weight is not None:
            weight.data = weight.data.contiguous(memory_format=_FORMATS[weight.dim()])


def converted(batch: Any) -> Any:
    """Return a batch with its tensors of four and five dimensions laid out channels-last."""
    return _pytree.tree_map(_converted, batch)


def _converted(leaf: Any) -> Any:
    if not isinstance(leaf, Tensor) or leaf.dim() not in _FORMATS:
        return leaf
    # With one channel both formats are the same memory: only the strides tell a convolution which one is meant.
    return leaf.movedim(1, -1).clone(memory_format=torch.contiguous_format).movedim(-1, 1)


def refuse_dangerous_convolutions(model: nn.Module) -> None:
    """Refuse what corrupts memory on CPUs in this format (seen with torch 2.14).

    Raises:
        ValueError: The model has a strided 1x1 convolution.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and max(module.stride) > 1:
            raise ValueError(
                f"channels_last: torch's strided 1x1 convolutions corrupt memory on CPUs ({name} in this model): "
                "leave it out here"
            )
