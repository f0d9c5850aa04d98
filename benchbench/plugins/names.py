"""Plugins: which optimizers, workloads, models and data sets there are, and from a name to the thing itself."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import entry_points, version
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from benchbench import plugin_files
from benchbench.plugin_files import FILE_TARGET, MODULE_TARGET
from benchbench.problems import nearest_name, printable
from benchbench.processes.state import process_state_kept

Kind = Literal["optimizer", "workload", "model", "dataset"]

_USES: dict[Kind, tuple[str, str]] = {
    "optimizer": ("an optimizer: it cannot be called", "__call__"),
    "workload": ("a Workload", "build"),
    "model": ("a model: it cannot be called", "__call__"),
    "dataset": ("a data set: it cannot be called", "__call__"),
}
"""Title of each kind, and the method that makes something one."""


class PluginError(ValueError):
    """A plugin cannot be used.

    Attributes:
        message: Why, in one line.
        nearest: For an unknown name: the known one that is closest.
    """

    def __init__(self, message: str, nearest: str | None = None) -> None:
        self.message = printable(message)
        self.nearest = nearest
        super().__init__(self.message + (f"; did you mean {nearest!r}?" if nearest else ""))


@dataclass(frozen=True)
class Plugin:
    """Something that a suite can name.

    Attributes:
        name: The name.
        kind: What it is.
        target: Where it is found, as `module:attribute`.
        distribution: The installed distribution that brings it.
        version: Version of that distribution.
        rivals: Other distributions that claim the same name; none gets it then.
    """

    name: str
    kind: Kind
    target: str
    distribution: str
    version: str
    rivals: tuple[str, ...] = ()


def plugins(kind: Kind) -> dict[str, Plugin]:
    """Return all plugins of a kind by name, sorted, without importing their code.

    These are what distributions offer as entry points of a group such as `benchbench.workloads`; for optimizers, also
    the classes of `torch.optim` by their names in small letters.
    """
    return dict(_plugins(kind, tuple(sys.path)))


@functools.lru_cache(maxsize=8)
def _plugins(kind: Kind, search_path: tuple[str, ...]) -> dict[str, Plugin]:
    # Remembered as long as the path is the same: reading what all distributions offer takes a while.
    found: dict[str, Plugin] = {}
    for plugin in _torch_optimizers() if kind == "optimizer" else []:
        found[plugin.name] = plugin
    for entry in entry_points(group=f"benchbench.{kind}s"):
        owner, version = (entry.dist.name or "unknown", entry.dist.version) if entry.dist else ("unknown", "")
        target = entry.value.partition("[")[0].strip()  # without the extras it may ask for
        known = found.get(entry.name)
        if known is None:
            found[entry.name] = Plugin(entry.name, kind, target, owner, version)
        elif known.target != target:  # the same code is no rival, whatever its distribution was called before
            found[entry.name] = replace(known, rivals=(*known.rivals, owner))
    return dict(sorted(found.items()))


def find(kind: Kind, name: str) -> Plugin:
    """Return the plugin of a name; the names of torch's own classes are known in any case of letters.

    Args:
        kind: What is wanted.
        name: Its name.

    Returns:
        The plugin.

    Raises:
        PluginError: No distribution offers that name, or more than one distribution does.
    """
    known = plugins(kind)
    plugin = known.get(name)
    if plugin is None and (other := known.get(name.lower())) and other.distribution == "torch":
        plugin = other
    if plugin is None:
        allowed = ", ".join([*known, "module:attribute", "path/to/file.py:attribute"])
        raise PluginError(f"unknown {kind} {name!r}; allowed: {allowed}", nearest_name(name, known))
    if plugin.rivals:
        owners = " and ".join((plugin.distribution, *plugin.rivals))
        raise PluginError(f"{kind} {name!r} is offered by {owners}: name it as module:attribute")
    return plugin


def resolve(kind: Kind, target: str) -> Any:
    """Return what a target names: the factory of an optimizer, a model or a data set, or a `Workload`.

    Args:
        kind: What is wanted.
        target: A plugin's name, `module:attribute`, or `path/to/file.py:attribute`. The file imports the files next
            to it, as with `python file.py`.

    Returns:
        The object.

    Raises:
        PluginError: There is no such thing, its code cannot be imported, or it is not of this kind.
    """
    if match := FILE_TARGET.fullmatch(target):
        path, attribute = Path(match["file"]), match["attribute"]
        module = _imported(str(path), partial(plugin_files.load, path))
    else:
        if ":" in target and not MODULE_TARGET.fullmatch(target):
            raise PluginError(f"{target!r} is no name, no module:attribute and no path/to/file.py:attribute")
        name, _, attribute = (target if ":" in target else find(kind, target).target).partition(":")
        module = _imported(f"module {name}", partial(importlib.import_module, name))
    found = _attribute(module, attribute, target)
    what, use = _USES[kind]
    if not callable(getattr(found, use, None)):
        raise PluginError(f"{target!r} is not {what}")
    return found


def status(plugin: Plugin) -> str | None:
    """Return why a plugin cannot be used, or `None` when it can. Imports its code."""
    try:
        resolve(plugin.kind, plugin.name)
    except PluginError as error:
        return error.message
    return None


def module_of(kind: Kind, target: str) -> str | None:
    """Return the name of the module that a target lies in, or `None` for a file and for an unknown name."""
    if FILE_TARGET.fullmatch(target):
        return None
    if ":" not in target:
        try:
            target = find(kind, target).target
        except PluginError:
            return None
    return target.partition(":")[0]


def _torch_optimizers() -> list[Plugin]:
    import torch

    base = torch.optim.Optimizer
    return [
        Plugin(name.lower(), "optimizer", f"torch.optim:{name}", "torch", version("torch"))
        for name, value in vars(torch.optim).items()
        if inspect.isclass(value) and issubclass(value, base) and value is not base
    ]


def _imported(what: str, load: Callable[[], ModuleType]) -> ModuleType:
    try:
        with process_state_kept():
            return load()
    except plugin_files.UnreadableError as error:
        raise PluginError(str(error)) from None
    except BaseException as error:  # noqa: BLE001 - SystemExit included
        raise _failure(f"{what} cannot be imported", error) from None


def _attribute(module: ModuleType, path: str, target: str) -> object:
    try:
        return functools.reduce(getattr, path.split("."), module)
    except AttributeError:
        message = f"the module of {target!r} has no attribute {path!r}"
        raise PluginError(message, nearest_name(path, vars(module))) from None
    except BaseException as error:  # noqa: BLE001 - SystemExit included
        raise _failure(f"{target!r} cannot be used", error) from None


def _failure(what: str, error: BaseException) -> PluginError:
    """Return what a plugin's exception, of whatever kind, means to us; Ctrl-C stays what it is."""
    if isinstance(error, KeyboardInterrupt):
        raise error
    return PluginError(f"{what}: {describe_exception(error)}")


def describe_exception(error: BaseException) -> str:
    """Return an exception's type and the first line of its message."""
    lines = plugin_files.without_prefix(str(error)).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
