"""How tensors that are made on the host reach the device: in one copy, which nothing waits for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from benchbench.devices import use

_ALIGNMENT = 16
"""Bytes; no type of number needs more."""


def moved(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Copy tensors to a device in one piece, without waiting for the copy.

    They are laid out one after the other in memory that the device reads by itself (pinned memory), so one copy does
    for all of them, and the host goes on meanwhile. torch keeps that memory until the copy has been made.

    Args:
        tensors: On the CPU.
        device: Where they are wanted.

    Returns:
        The tensors on the device, plainly laid out; on the CPU, the tensors themselves.
    """
    if not use.is_accelerator(device):
        return list(tensors)
    starts = [0]
    for tensor in tensors:
        starts.append(starts[-1] + -(-tensor.nbytes // _ALIGNMENT) * _ALIGNMENT)
    pinned = use.pins_memory(device)
    buffer = torch.empty(starts[-1], dtype=torch.uint8, pin_memory=pinned)
    for tensor, place in zip(tensors, _shaped_like(tensors, buffer, starts), strict=True):
        place.copy_(tensor)
    return _shaped_like(tensors, buffer.to(device, non_blocking=pinned), starts)


def _shaped_like(tensors: Sequence[Tensor], buffer: Tensor, starts: Sequence[int]) -> list[Tensor]:
    """Return views of a buffer's bytes, of the types and shapes of `tensors`."""
    return [
        buffer[start : start + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
        for tensor, start in zip(tensors, starts, strict=False)
    ]
