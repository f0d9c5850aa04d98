"""Memory of an optimizer: in `state`, its groups, its attributes and the optimizers that it holds."""

from __future__ import annotations

import enum
import functools
import inspect
import logging
import os
import random
import re
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

_PLAIN = (
    *(str, bytes, int, float, complex, type(None), enum.Enum, type, range, slice, re.Pattern, os.PathLike),
    *(
        torch.dtype,
        torch.device,
        torch.Generator,
        np.generic,
        np.random.RandomState,
        np.random.Generator,
        random.Random,
    ),
    *(logging.Logger, weakref.ref),
)
"""Values that hold no tensors, or a few bytes."""


class UnknownStateError(Exception):
    """An optimizer holds something that cannot be looked into."""


def parameter_bytes(optimizer: Optimizer) -> int:
    """Return the size of the parameters that an optimizer moves, memory that several share counted once."""
    return sum(_pieces(_parameters(optimizer)).values())


def state_bytes(optimizer: Optimizer, model: nn.Module | None = None) -> int | None:
    """Return the size of all tensors and arrays that an optimizer holds, or `None` where that cannot be known.

    Memory that several share counts once; that of the parameters, their gradients and the model's buffers not at all.

    Args:
        optimizer: The optimizer.
        model: The model, which it may hold too.
    """
    known = list(_parameters(optimizer))
    if model is not None:
        known += [*model.parameters(), *model.buffers()]
    not_its_own = _pieces([*known, *(each.grad for each in known if each.grad is not None)])
    try:
        held = _pieces(_tensors(optimizer, set()))
    except Exception:  # noqa: BLE001 - foreign objects can do anything when they are looked at
        return None
    return sum(size for piece, size in held.items() if piece not in not_its_own)


def optimizers_in(optimizer: Optimizer) -> list[Optimizer]:
    """Return an optimizer and those that it holds in attributes, in lists and dictionaries there too."""
    found = [optimizer]
    for each in found:
        for value in vars(each).values():
            inner = list(value.values()) if isinstance(value, Mapping) else value
            members = inner if isinstance(inner, list | tuple) else [inner]
            found += [other for other in members if isinstance(other, Optimizer) and other not in found]
    return found


def _parameters(optimizer: Optimizer) -> Iterator[Tensor]:
    yield from (parameter for group in optimizer.param_groups for parameter in group["params"])


def _tensors(value: Any, seen: set[int]) -> Iterator[Tensor | np.ndarray[Any, Any]]:
    """Yield what a value holds, however deep.

    Raises:
        UnknownStateError: There is an object that cannot be looked into.
    """
    # An objective that was kept is the harness's, and so is the batch in it.
    ours = type(value).__module__.startswith("benchbench.")
    if isinstance(value, _PLAIN) or ours or inspect.isroutine(value) or inspect.ismodule(value) or id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, Tensor | np.ndarray):
        yield value
        return
    if isinstance(value, nn.Module):
        yield from (*value.parameters(), *value.buffers())
        return
    if isinstance(value, Mapping):
        # A state's keys are the parameters.
        inner: Iterable[Any] = value.values()
    elif isinstance(value, list | tuple | set | frozenset | deque):
        inner = value
    elif isinstance(value, functools.partial):
        inner = (*value.args, *value.keywords.values())
    elif hasattr(value, "__dict__") or hasattr(value, "__slots__"):
        names = [name for cls in type(value).__mro__ for name in _slots(cls)]
        inner = [*getattr(value, "__dict__", {}).values(), *(getattr(value, name, None) for name in names)]
    else:
        raise UnknownStateError(f"a {type(value).__name__}")
    for each in list(inner):
        yield from _tensors(each, seen)


def _slots(cls: type) -> list[str]:
    found = vars(cls).get("__slots__", ())
    return [found] if isinstance(found, str) else [each for each in found if each not in ("__dict__", "__weakref__")]


def _pieces(held: Iterable[Tensor | np.ndarray[Any, Any]]) -> dict[int, int]:
    """Return the size of each piece of memory behind tensors and arrays, by its identity."""
    sizes = {}
    for each in held:
        if isinstance(each, np.ndarray):
            owner = each
            while isinstance(owner.base, np.ndarray):
                owner = owner.base
            sizes[id(owner)] = owner.nbytes
            continue
        for tensor in _dense(each):
            storage = tensor.untyped_storage()
            sizes[storage._cdata] = storage.nbytes()
    return sizes


def _dense(tensor: Tensor) -> list[Tensor]:
    """Return the tensors that a tensor is made of: of a sparse one, or of a subclass that wraps others, several.

    Raises:
        UnknownStateError: It is of another layout.
    """
    if hasattr(tensor, "__tensor_flatten__"):
        names, _ = tensor.__tensor_flatten__()
        return [part for name in names for part in _dense(getattr(tensor, name))]
    if tensor.layout is torch.sparse_coo:
        return [tensor._indices(), tensor._values()]
    if tensor.layout is not torch.strided:
        raise UnknownStateError(f"a tensor of layout {tensor.layout}")
    return [tensor]
