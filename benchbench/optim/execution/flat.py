"""Many tensors in few pieces of memory, so that one operation serves all of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def flattened(tensors: Sequence[Tensor], like: Sequence[Tensor] | None = None) -> tuple[list[Tensor], list[Tensor]]:
    """Copy tensors into one buffer per type and device.

    Args:
        tensors: The tensors.
        like: Tensors of the same shapes, in whose memory formats the copies are laid out; by default, plainly. An
            operation over lists of tensors is fast where those that belong together have one format.

    Returns:
        The buffers, of one dimension each, and views of them that are shaped and ordered like `tensors`.

    Raises:
        RuntimeError: A tensor is sparse.
    """
    if any(tensor.is_sparse for tensor in tensors):
        raise RuntimeError("sparse gradients can be neither scaled nor shared: build the embedding with sparse=False")
    kinds: dict[tuple[torch.dtype, torch.device], list[int]] = {}
    for index, tensor in enumerate(tensors):
        kinds.setdefault((tensor.dtype, tensor.device), []).append(index)
    orders = [list(range(t.dim())) for t in tensors] if like is None else [_memory_order(t) for t in like]
    buffers, views = [], list(tensors)
    for members in kinds.values():
        ordered = [tensors[index].permute(orders[index]) for index in members]
        buffer = torch.cat([tensor.reshape(-1) for tensor in ordered])
        parts = torch.split(buffer, [tensor.numel() for tensor in ordered])
        for index, part, tensor in zip(members, parts, ordered, strict=True):
            inverse = sorted(range(len(orders[index])), key=orders[index].__getitem__)
            views[index] = part.view(tensor.shape).permute(inverse)
        buffers.append(buffer)
    return buffers, views


def _memory_order(tensor: Tensor) -> list[int]:
    """Return the dimensions of a tensor from the one with the longest stride to that with the shortest."""
    strides: tuple[int, ...] = tensor.stride()
    return sorted(range(tensor.dim()), key=lambda dimension: -strides[dimension])
