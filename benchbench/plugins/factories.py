"""From the components of a spec to optimizers and tasks, and what a suite may say about them."""

from __future__ import annotations

import functools
import inspect
import json
import operator
import types
import typing
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from inspect import Parameter
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, JsonValue, TypeAdapter, ValidationError

from benchbench import plugin_files
from benchbench.plugins.names import Kind, Plugin, PluginError, module_of, plugins, resolve, status
from benchbench.plugins.signatures import filled_by_harness, named_kind, signature_of, wants_optimizer
from benchbench.processes.state import process_state_kept
from benchbench.suite.schema import MethodEntry
from benchbench.values import Component

if TYPE_CHECKING:
    import torch

    from benchbench.workloads import Setup, Task


__all__ = ["Kind", "Plugin", "PluginError", "module_of", "plugins", "resolve", "status"]

SEED = "seed"
"""The parameter through which an optimizer that draws random numbers gets the run's seed."""

_KEYS = frozenset(MethodEntry.model_fields)
"""Keys of a method in a suite; a parameter of such a name is written with an underscore behind it."""


def build_optimizer(
    component: Component, params: Any, *, seed: int, model: torch.nn.Module | None = None
) -> torch.optim.Optimizer:
    """Build an optimizer over `params`.

    Args:
        component: The optimizer and its hyperparameters.
        params: What it optimizes: tensors or parameter groups. The factory gets them as a list, and those of each group
            too, so it may walk over them as often as it likes.
        seed: Given to a factory that has a parameter `seed`, unless the suite sets it.
        model: Given to a factory that has a parameter annotated as `torch.nn.Module`.

    Returns:
        The optimizer.

    Raises:
        PluginError: Its factory cannot be found, or a file that it comes from has changed.
    """
    _check_unchanged(component)
    factory = resolve("optimizer", component.target)
    allowed = parameters("optimizer", factory, component.parameters)
    keywords = arguments(allowed, component.parameters)
    if SEED in allowed:
        keywords.setdefault(SEED, seed)
    signature = signature_of(factory)
    filled = filled_by_harness(signature)
    keywords |= filled.keywords(_listed(params), model)
    # In the first place the name does not matter, and need not be usable.
    first = [keywords.pop(name) for name in list(signature)[:1] if name == filled.params]
    with process_state_kept():
        return factory(*first, **keywords)  # type: ignore[no-any-return]


def _listed(params: Iterable[Any]) -> list[Any]:
    return [
        {**each, "params": list(each["params"])}
        if isinstance(each, dict) and isinstance(each.get("params"), Iterator)
        else each
        for each in params
    ]


def build_workload(component: Component, setup: Setup) -> Task:
    """Return a workload, set up for a run.

    Raises:
        PluginError: The workload cannot be found, or a file that it comes from has changed.
    """
    _check_unchanged(component)
    workload = resolve("workload", component.target)
    allowed = parameters("workload", workload)
    with process_state_kept():
        return workload.build(setup, **arguments(allowed, component.parameters))  # type: ignore[no-any-return]


def _check_unchanged(component: Component) -> None:
    """Keep a run that has waited from training with other code than the one that its key stands for.

    Raises:
        PluginError: A file that the component names, or one next to it that it imports, is not what it was.
    """
    if component.digest is None:
        return
    try:
        now = plugin_files.digest(component.target, component.parameters)
    except plugin_files.UnreadableError as error:
        raise PluginError(str(error)) from None
    if now != component.digest:
        raise PluginError(
            f"{component.target}: its file, or one that this imports, has changed since the suite was read: "
            "start the command again"
        )


def needs_create_graph(component: Component, declared: bool | None = None) -> bool:
    """Return whether gradients must keep their graph, because an optimizer differentiates them itself.

    The suite's word (`declared`) counts first, then an attribute `create_graph` of the factory or, for a
    wrapper, of the optimizer that it wraps.
    """
    if declared is not None:
        return declared
    factory = resolve("optimizer", component.target)
    factories = [factory, *_bases(_own(factory), component.parameters)]
    return any(getattr(each, "create_graph", False) is True for each in factories)


def parameters(
    kind: Kind,
    factory: Any,
    given: Mapping[str, JsonValue] | None = None,
) -> dict[str, Parameter]:
    """Return what a suite may set, annotations evaluated as far as they can be.

    Args:
        kind: What the factory is.
        factory: The factory of an optimizer, a model or a data set, or a `Workload`. Parameters of a model without a
            default are not for a suite to set: the workload fills them.
        given: What the suite sets: a wrapper passes on the parameters of the optimizer chosen here.

    Returns:
        Parameters by name. One of kind `VAR_KEYWORD` means that any other name is allowed as well.

    Raises:
        PluginError: The base of a wrapper cannot be found.
    """
    if kind == "optimizer":
        return _with_bases(_own(factory), given or {})
    return {
        name: parameter
        for name, parameter in signature_of(factory.build if kind == "workload" else factory).items()
        if parameter.kind in (Parameter.KEYWORD_ONLY, Parameter.VAR_KEYWORD)
        and not (kind == "model" and parameter.kind is Parameter.KEYWORD_ONLY and parameter.default is Parameter.empty)
    }


def convert(parameter: Parameter, value: JsonValue) -> object:
    """Return a suite's value as its factory wants it: a list as a tuple, the name of a plugin as the plugin.

    Types are taken strictly, but an integer may stand for a float. An annotation that cannot be used accepts
    anything.

    Args:
        parameter: The factory's parameter.
        value: The value in the suite.

    Returns:
        The argument.

    Raises:
        ValueError: The value has the wrong type.
        PluginError: There is no such plugin.
    """
    if kind := named_kind(parameter):
        return _filled(kind, named(kind, value))
    if wants_optimizer(parameter):
        if value is None or not isinstance(value, str):
            raise ValueError("must be the name of an optimizer")
        return resolve("optimizer", value)
    adapter = _adapter(parameter.annotation)
    if adapter is None:
        return value
    try:
        converted = adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        if all(each["type"] in _ONLY_IN_PYTHON for each in error.errors()):
            return value
        raise ValueError(_requirement(parameter, error)) from None
    # Pydantic checks an `Iterable` lazily; its factory shall get the list.
    return value if isinstance(converted, Iterator) else converted


def named(kind: Kind, value: JsonValue) -> Component:
    """Return the plugin that a suite names in a parameter, and the parameters that it gives it.

    Args:
        kind: What is named.
        value: A name, or a mapping with the `name` and parameters.

    Raises:
        ValueError: It is neither.
    """
    content = {"name": value} if isinstance(value, str) else value
    name = content.get("name") if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(name, str):
        raise ValueError(  # noqa: TRY004 - as for every other value
            f"must be the name of a {kind}, or a mapping with its `name` and its parameters"
        )
    return Component(target=name, parameters={key: each for key, each in content.items() if key != "name"})


def plugins_named(kind: Kind, component: Component) -> Iterator[tuple[Kind, str]]:
    """Yield the kind and the target of a component and of all plugins that its parameters name.

    Raises:
        PluginError: One of them cannot be found.
    """
    yield kind, component.target
    allowed = parameters(kind, resolve(kind, component.target), component.parameters)
    for name, value in component.parameters.items():
        parameter = allowed.get(name)
        if parameter is None:
            continue
        if of_kind := named_kind(parameter):
            yield from plugins_named(of_kind, named(of_kind, value))
        elif wants_optimizer(parameter) and isinstance(value, str):
            yield "optimizer", value


def _filled(kind: Kind, component: Component) -> Callable[..., Any]:
    """Return the factory of a model or a data set with the suite's parameters filled in."""
    factory = resolve(kind, component.target)
    return functools.partial(factory, **arguments(parameters(kind, factory), component.parameters))


def _requirement(parameter: Parameter, error: ValidationError) -> str:
    """Return what a value must be: its type or, where that is right, what else pydantic asks for."""
    [first, *others] = error.errors()
    if others or not hasattr(parameter.annotation, "__metadata__") or first["type"].endswith("_type"):
        return f"must be {type_text(parameter)}"
    return first["msg"].replace("Input should be", "must be")


def arguments(allowed: Mapping[str, Parameter], given: Mapping[str, JsonValue]) -> dict[str, Any]:
    """Return a suite's values as their factory wants them (see `convert`), by the factory's own names."""
    known = {allowed[name].name: convert(allowed[name], value) for name, value in given.items() if name in allowed}
    return known | {name: value for name, value in given.items() if name not in allowed}


def is_open(allowed: Mapping[str, Parameter]) -> bool:
    """Return whether a factory takes parameters of any name."""
    return any(parameter.kind is Parameter.VAR_KEYWORD for parameter in allowed.values())


def type_text(parameter: Parameter) -> str:
    """Return a parameter's type as text, empty where none is known."""
    if parameter.annotation is Parameter.empty:
        return ""
    if kind := named_kind(parameter):
        return kind
    annotation = parameter.annotation
    return inspect.formatannotation(
        _with_bars(annotation.__origin__ if hasattr(annotation, "__metadata__") else annotation)
    )


def _with_bars(annotation: Any) -> Any:
    """Return a type with every `Union[a, b]` in it as `a | b`: libraries write either."""
    options = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Union:
        return functools.reduce(operator.or_, map(_with_bars, options))
    if type(annotation) is types.GenericAlias:
        origin: Any = annotation.__origin__
        return origin[tuple(map(_with_bars, options))]
    return annotation


_ONLY_IN_PYTHON = ("needs_python_object", "callable_type")
"""Errors of pydantic about types that no YAML value has; such a parameter is left to its factory."""


def _adapter(annotation: Any) -> TypeAdapter[object] | None:
    """Return a validator of an annotation, or `None` when pydantic can make nothing of it."""
    try:
        return _new_adapter(annotation)
    except TypeError:  # cannot be remembered
        return _new_adapter.__wrapped__(annotation)


@functools.lru_cache(maxsize=256)
def _new_adapter(annotation: Any) -> TypeAdapter[object] | None:
    if annotation is Parameter.empty:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
        except Exception:  # noqa: BLE001 - annotations are foreign code and can be anything
            return None


def _own(factory: Any) -> dict[str, Parameter]:
    """Return what a suite may set of an optimizer, apart from what a wrapper passes on."""
    signature = signature_of(factory)
    filled = filled_by_harness(signature).keywords(None, None)
    return {
        f"{name}_" if name in _KEYS else name: parameter
        for name, parameter in signature.items()
        if name not in filled and parameter.kind not in (Parameter.POSITIONAL_ONLY, Parameter.VAR_POSITIONAL)
    }


def _bases(own: Mapping[str, Parameter], given: Mapping[str, JsonValue]) -> list[Any]:
    """Return the optimizers that a wrapper with these parameters wraps."""
    found = []
    for name, parameter in own.items():
        if wants_optimizer(parameter):
            chosen = convert(parameter, given[name]) if name in given else parameter.default
            found.append(chosen)
    return [each for each in found if callable(each) and each is not Parameter.empty]


def _with_bases(own: dict[str, Parameter], given: Mapping[str, JsonValue]) -> dict[str, Parameter]:
    """Return a wrapper's parameters with those of the optimizer that it wraps in place of `**kwargs`."""
    bases = _bases(own, given) if "**" in own else []
    if not bases:
        return own
    passed_on = {name: value for name, value in given.items() if name not in own}
    allowed = {name: parameter for name, parameter in own.items() if name != "**"}
    for base in bases:
        allowed = {**allowed, **parameters("optimizer", base, passed_on), **allowed}
    return allowed
