"""What a run holds in memory."""

from __future__ import annotations

import re
import resource
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


def parameter_bytes(optimizer: Optimizer) -> int:
    """Return the size of the parameters that an optimizer moves, memory that several share counted once."""
    return sum(_storages(_parameters(optimizer)).values())


def state_bytes(optimizer: Optimizer) -> int:
    """Return the size of all tensors in an optimizer's `state`, however deep they lie.

    Memory that several share counts once, and memory of the parameters not at all. What an optimizer keeps in
    attributes of its own instead of in `state` is not seen.
    """
    parameters = _storages(_parameters(optimizer))
    held = _storages(_tensors(optimizer.state))
    return sum(size for storage, size in held.items() if storage not in parameters)


def _parameters(optimizer: Optimizer) -> Iterator[Tensor]:
    yield from (parameter for group in optimizer.param_groups for parameter in group["params"])


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _tensors(each)
    elif isinstance(value, list | tuple | set | frozenset):
        for each in value:
            yield from _tensors(each)


def _storages(tensors: Iterable[Tensor]) -> dict[int, int]:
    """Return the size of each piece of memory behind `tensors`, by its identity."""
    storages = [tensor.untyped_storage() for tensor in tensors if tensor.layout is torch.strided]
    return {storage._cdata: storage.nbytes() for storage in storages}


def process_peak() -> int:
    """Return the most resident memory that this process has had, pages shared with its parent included."""
    # What getrusage says is never less than what the program had that started this one.
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text(encoding="utf-8")) if status.exists() else None
    if found is not None:
        return 1024 * int(found[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
