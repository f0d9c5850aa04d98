"""Many tensors in few pieces of memory, so that one operation serves all of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def flattened(tensors: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Copy tensors into one buffer per type and device.

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
    buffers, views = [], list(tensors)
    for members in kinds.values():
        buffer = torch.cat([tensors[index].reshape(-1) for index in members])
        sizes = [tensors[index].numel() for index in members]
        for index, part in zip(members, torch.split(buffer, sizes), strict=True):
            views[index] = part.view(tensors[index].shape)
        buffers.append(buffer)
    return buffers, views
