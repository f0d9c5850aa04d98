"""Out-of-memory conditions, recognised in exceptions and logs."""

from __future__ import annotations

import errno
import re

import torch

from benchbench.values import Shortage

_ON_DEVICE = re.compile(r"OutOfMemoryError|(CUDA|HIP|XPU|MPS)\b.*out of memory|_STATUS_ALLOC_FAILED", re.IGNORECASE)
_ON_HOST = re.compile(r"DefaultCPUAllocator: can't allocate memory|DataLoader worker .* killed by signal: Killed")


def shortage_of(error: BaseException) -> Shortage:
    """Return which memory an exception, or one that it comes from, says to have run out; empty if none."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        if isinstance(current, torch.OutOfMemoryError):
            return "device"
        if isinstance(current, MemoryError) or (isinstance(current, OSError) and current.errno == errno.ENOMEM):
            return "host"
        if isinstance(current, RuntimeError) and (found := shortage_in(str(current))):
            return found
        current = current.__cause__ or current.__context__
    return ""


def shortage_in(text: str) -> Shortage:
    """Return which memory a message or the end of a log says to have run out; empty if none."""
    if _ON_DEVICE.search(text):
        return "device"
    return "host" if _ON_HOST.search(text) else ""
