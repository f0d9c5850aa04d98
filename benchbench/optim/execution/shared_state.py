"""State that all optimizers of a class share: globals of its module, attributes of the class, variables of closures."""

from __future__ import annotations

import copy
import inspect
from collections import deque
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from types import CellType, FunctionType
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from benchbench.optim.equality import same
from benchbench.optim.state import optimizers_in

_DATA = (int, float, complex, str, bytes, type(None), Tensor, list, dict, set, deque)

_NOT_FOREIGN = ("builtins", "torch", "benchbench")


class SharedState:
    """The state that an optimizer shares with its copies and with later ones of its class, as it is now.

    Args:
        optimizer: The optimizer.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        found = [(place, name, place[name], _copied(place[name])) for place, name in _places(optimizer)]
        # What does not equal its own copy cannot be told from what has changed.
        self._kept = [each for each in found if _equal(each[3], each[2])]

    @property
    def has_changed(self) -> bool:
        """Return whether any of it has changed."""
        return any(not _equal(kept, place.get(name)) for place, name, _, kept in self._kept)

    def restore(self) -> None:
        """Put it back."""
        for place, name, value, kept in self._kept:
            if not _equal(kept, place.get(name)):
                _write(value, kept)
                place[name] = value


@contextmanager
def shared_state_kept(optimizer: object) -> Iterator[Callable[[], bool]]:
    """Put back, at the end, what an optimizer has changed of the state that it shares with others of its class.

    Yields:
        A function that says whether there is a change.
    """
    if not isinstance(optimizer, Optimizer):
        yield lambda: False
        return
    state = SharedState(optimizer)
    try:
        yield lambda: state.has_changed
    finally:
        state.restore()


class _Attributes(MutableMapping[str, Any]):
    """The attributes of a class, as a mapping that can be written into."""

    def __init__(self, owner: type) -> None:
        self._owner = owner

    def __getitem__(self, name: str) -> Any:
        return vars(self._owner)[name]

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self._owner, name, value)

    def __delitem__(self, name: str) -> None:
        delattr(self._owner, name)

    def __iter__(self) -> Iterator[str]:
        return iter(vars(self._owner))

    def __len__(self) -> int:
        return len(vars(self._owner))


class _Cell(MutableMapping[str, Any]):
    """A variable of a closure, as a mapping with one name."""

    def __init__(self, cell: CellType) -> None:
        self._cell = cell

    def __getitem__(self, name: str) -> Any:
        return self._cell.cell_contents

    def __setitem__(self, name: str, value: Any) -> None:
        self._cell.cell_contents = value

    def __delitem__(self, name: str) -> None:
        del self._cell.cell_contents

    def __iter__(self) -> Iterator[str]:
        return iter(("value",))

    def __len__(self) -> int:
        return 1


def _places(optimizer: Optimizer) -> Iterator[tuple[MutableMapping[str, Any], str]]:
    """Yield every name that holds data which are shared, with the mapping that it is in."""
    spaces: dict[int, MutableMapping[str, Any]] = {}
    for each in optimizers_in(optimizer):
        for owner in type(each).__mro__:
            if owner.__module__.partition(".")[0] not in _NOT_FOREIGN:
                spaces[id(owner)] = _Attributes(owner)
                _add_functions(spaces, vars(owner).values())
        _add_functions(spaces, vars(each).values())
    for space in spaces.values():
        for name, value in list(space.items()):
            if isinstance(value, _DATA) and not name.startswith("__"):
                yield space, name


def _add_functions(spaces: dict[int, MutableMapping[str, Any]], values: Any) -> None:
    """Add the globals and the closures' variables of functions."""
    for value in list(values):
        function = inspect.unwrap(value) if isinstance(value, FunctionType) else None
        if function is None or (function.__module__ or "").partition(".")[0] in _NOT_FOREIGN:
            continue
        spaces[id(function.__globals__)] = function.__globals__
        for cell in function.__closure__ or ():
            try:
                cell.cell_contents  # noqa: B018
            except ValueError:  # it is empty
                continue
            spaces[id(cell)] = _Cell(cell)


def _copied(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except Exception:  # noqa: BLE001 - foreign objects
        return None


def _equal(kept: Any, value: Any) -> bool:
    try:
        return same(kept, value)
    except Exception:  # noqa: BLE001 - foreign objects; arrays have no truth value
        return False


def _write(value: Any, kept: Any) -> None:
    """Give a container its content back, for others may hold it as well."""
    if isinstance(value, Tensor):
        with torch.no_grad():
            value.copy_(kept)
    elif isinstance(value, list):
        value[:] = copy.copy(kept)
    elif isinstance(value, dict | set):
        value.clear()
        value.update(kept)
    elif isinstance(value, deque):
        value.clear()
        value.extend(kept)
