"""Plugins in words: what `benchbench show` says of one."""

from __future__ import annotations

import inspect
import typing
from dataclasses import dataclass
from inspect import Parameter

from benchbench.plugins.factories import Factory, type_text
from benchbench.plugins.names import Kind, Plugin, PluginError, find, plugins, resolve
from benchbench.problems import nearest_name
from benchbench.values import Component


@dataclass(frozen=True)
class ParameterText:
    """A parameter in words: its name, type and default (`None` when it has to be set)."""

    name: str
    type: str
    default: str | None


@dataclass(frozen=True)
class Description:
    """Description of a plugin.

    Attributes:
        plugin: Name, kind, target and distribution.
        doc: Its docstring, or an empty text.
        parameters: What a suite may set.
    """

    plugin: Plugin
    doc: str
    parameters: tuple[ParameterText, ...]


def describe(name: str) -> Description:
    """Describe an optimizer, a workload, a model or a data set.

    Args:
        name: Its name, or any other target of a suite.

    Returns:
        What is known about it.

    Raises:
        PluginError: There is no such plugin, or its code cannot be imported.
    """
    kind = _kind_of(name)
    plugin = Plugin(name, kind, name, "", "") if ":" in name else find(kind, name)
    factory = Factory(kind, Component(target=name))
    texts = [
        ParameterText(
            each, type_text(parameter), None if parameter.default is Parameter.empty else repr(parameter.default)
        )
        for each, parameter in factory.parameters.items()
    ]
    doc = inspect.getdoc(factory.code.build if kind == "workload" else factory.code) or ""
    return Description(plugin, doc, tuple(texts))


def _kind_of(name: str) -> Kind:
    kinds: tuple[Kind, ...] = typing.get_args(Kind)
    if ":" in name:
        try:
            resolve("workload", name)
        except PluginError:
            return "optimizer"
        return "workload"
    known = {kind: plugins(kind) for kind in kinds}
    for kind in kinds:
        if name in known[kind] or name.lower() in known[kind]:
            return kind
    names = [each for kind in kinds for each in known[kind]]
    raise PluginError(f"unknown optimizer, workload, model or data set {name!r}", nearest_name(name, names))
