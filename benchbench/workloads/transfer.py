"""Transfers of tensors from the host to the device: one asynchronous copy per batch, ahead of time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, cast

import torch
from torch import Tensor
from torch.utils import _pytree

from benchbench.devices import use

_T = TypeVar("_T")

_END = object()

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


def prefetched(batches: Iterator[_T], device: torch.device) -> Iterator[_T]:
    """Yield batches that are made on the host, on a device; each is made while the one before it is computed with.

    Args:
        batches: Tensors in tuples, lists and dictionaries, on the CPU. Another thread makes them, one after the other.
        device: Where they are wanted. For the CPU, which has to make them itself, no thread is started.
    """
    if not use.is_accelerator(device):
        yield from batches
        return
    with ThreadPoolExecutor(1, "batches") as thread:
        coming = thread.submit(next, batches, _END)
        while (batch := coming.result()) is not _END:
            coming = thread.submit(next, batches, _END)
            leaves, structure = _pytree.tree_flatten(batch)
            yield cast(_T, _pytree.tree_unflatten(moved(leaves, device), structure))
