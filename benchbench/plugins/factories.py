"""Factories: components of a spec, resolved, and what a suite may say about them."""

from __future__ import annotations

import functools
import inspect
import json
import operator
import types
import typing
import warnings
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from inspect import Parameter
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ConfigDict, JsonValue, TypeAdapter, ValidationError

from benchbench import plugin_files
from benchbench.plugins.names import Kind, PluginError, resolve
from benchbench.plugins.signatures import filled_by_harness, named_kind, signature_of, wants_optimizer
from benchbench.processes.state import process_state_kept
from benchbench.values import Component, RunSpec

if TYPE_CHECKING:
    import torch

    from benchbench.optim.roles import ParameterRoles
    from benchbench.workloads import Setup, Task


SEED = "seed"
"""The parameter through which an optimizer that draws random numbers gets the run's seed."""

# fmt: off
METHOD_KEYS = frozenset({
    "accumulate", "autocast", "autocast_evaluation", "batch_norm", "category", "channels_last", "clip_norm",
    "compile", "create_graph", "cudnn_benchmark", "deterministic", "drop_last", "epochs", "leave_out", "memory",
    "no_decay", "optimizer", "overrides", "ranks", "schedule", "search", "sweep", "tf32", "tuned", "tuned_on",
})
# fmt: on
"""Keys of a method in a suite; a parameter of such a name is written with an underscore behind it."""


class Factory:
    """A component whose target is resolved: says what a suite may set, and builds.

    Args:
        kind: What it builds.
        component: The target, and the parameters that the suite sets.

    Raises:
        PluginError: The target cannot be found, or a file of the component has changed since the suite was read.

    Attributes:
        kind: What it builds.
        component: The target, and the parameters that the suite sets.
        code: What the target names: a callable or, for a workload, a `Workload`.
    """

    def __init__(self, kind: Kind, component: Component) -> None:
        _check_unchanged(component)
        self.kind: Kind = kind
        self.component = component
        self.code: Any = resolve(kind, component.target)

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """Parameters that a suite may set, by name; annotations are evaluated as far as they can be.

        An entry `**` means that any other name is allowed as well. A wrapper passes on the parameters of
        the optimizer that the suite chooses. Parameters of a model without a default are not for a suite to set: the
        workload fills them.

        Raises:
            PluginError: The base of a wrapper cannot be found.
        """
        if self.kind == "optimizer":
            return _with_bases(self.own_parameters, self.component.parameters)
        return self.own_parameters

    @cached_property
    def own_parameters(self) -> dict[str, Parameter]:
        """Parameters that a suite may set, apart from what a wrapper passes on."""
        if self.kind == "optimizer":
            return _own(self.code)
        return {
            name: parameter
            for name, parameter in signature_of(self.code.build if self.kind == "workload" else self.code).items()
            if parameter.kind is Parameter.VAR_KEYWORD
            or (
                parameter.kind is Parameter.KEYWORD_ONLY
                and (self.kind != "model" or parameter.default is not Parameter.empty)
            )
        }

    @cached_property
    def named(self) -> dict[str, Factory]:
        """The plugins that the suite names in parameters marked with `Named`.

        Raises:
            PluginError: One of them cannot be found.
            ValueError: A value names nothing.
        """
        kinds = {name: named_kind(parameter) for name, parameter in self.parameters.items()}
        return {
            name: Factory(kind, named_component(kind, value))
            for name, value in self.component.parameters.items()
            if (kind := kinds.get(name)) is not None
        }

    def arguments(self) -> dict[str, Any]:
        """Return the suite's values as the code wants them (see `convert`), by its own names of parameters."""
        return {
            self.parameters[name].name if name in self.parameters else name: self._argument(name, value)
            for name, value in self.component.parameters.items()
        }

    def _argument(self, name: str, value: JsonValue) -> object:
        if name in self.named:
            return functools.partial(self.named[name].code, **self.named[name].arguments())
        return convert(self.parameters[name], value) if name in self.parameters else value

    def plugins(self) -> Iterator[tuple[Kind, str]]:
        """Yield the kind and the target of the component and of all plugins that its parameters name."""
        yield self.kind, self.component.target
        for name, value in self.component.parameters.items():
            if name in self.named:
                yield from self.named[name].plugins()
            elif name in self.parameters and wants_optimizer(self.parameters[name]) and isinstance(value, str):
                yield "optimizer", value

    def needs_graph(self, declared: bool | None = None) -> bool:
        """Return whether gradients must keep their graph, because an optimizer differentiates them itself.

        The suite's word (`declared`) counts first, then an attribute `create_graph` of the optimizer or, for a wrapper,
        of the one that it wraps.
        """
        if declared is not None:
            return declared
        codes = [self.code, *_bases(self.own_parameters, self.component.parameters)]
        return any(getattr(each, "create_graph", False) is True for each in codes)

    def build_optimizer(
        self,
        params: Iterable[Any],
        *,
        seed: int,
        model: torch.nn.Module | None = None,
        roles: ParameterRoles | None = None,
    ) -> torch.optim.Optimizer:
        """Build an optimizer over `params`.

        Args:
            params: What it optimizes: tensors or parameter groups. The code gets them as a list, and those of each
                group too, so it may walk over them as often as it likes.
            seed: Given to code that has a parameter `seed`, unless the suite sets it.
            model: Given to code that has a parameter annotated as `torch.nn.Module`.
            roles: Given to code that has a parameter annotated as `ParameterRoles`, by default as the model has them.
        """
        keywords = self.arguments()
        if SEED in self.parameters:
            keywords.setdefault(SEED, seed)
        listed = [
            {**each, "params": list(each["params"])}
            if isinstance(each, dict) and isinstance(each.get("params"), Iterator)
            else each
            for each in params
        ]
        signature = signature_of(self.code)
        filled = filled_by_harness(signature)
        keywords |= filled.keywords(listed, model, roles)
        # In the first place the name does not matter, and need not be usable.
        first = [keywords.pop(name) for name in list(signature)[:1] if name == filled.params]
        with process_state_kept():
            return self.code(*first, **keywords)  # type: ignore[no-any-return]

    @property
    def wants_roles(self) -> bool:
        """True if the optimizer takes the roles of parameters."""
        return bool(filled_by_harness(signature_of(self.code)).roles)

    def build_task(self, setup: Setup) -> Task:
        """Return a workload, set up for a run."""
        return self.call("build", setup)  # type: ignore[no-any-return]

    def call(self, method: str, subject: object) -> Any:
        """Return what a method of a workload gives for a run's set-up or a folder of data."""
        with process_state_kept():
            return getattr(self.code, method)(subject, **self.arguments())


class Factories(NamedTuple):
    """The factories of a run, and whether gradients must keep their graph for its optimizer."""

    workload: Factory
    optimizer: Factory
    create_graph: bool

    @classmethod
    def of(cls, spec: RunSpec) -> Factories:
        """Resolve what a spec names.

        Raises:
            PluginError: It cannot be found, or a file that it comes from has changed since the suite was read.
        """
        optimizer = Factory("optimizer", spec.optimizer)
        return cls(Factory("workload", spec.workload), optimizer, optimizer.needs_graph(spec.create_graph))


def convert(parameter: Parameter, value: JsonValue) -> object:
    """Return a suite's value as its factory wants it: a list as a tuple, the name of an optimizer as its class.

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
    # Pydantic checks an `Iterable` lazily; its factory must get the list.
    return value if isinstance(converted, Iterator) else converted


def named_component(kind: Kind, value: JsonValue) -> Component:
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


def _requirement(parameter: Parameter, error: ValidationError) -> str:
    """Return what a value must be: its type or, where that is right, what else pydantic asks for."""
    [first, *others] = error.errors()
    if others or not hasattr(parameter.annotation, "__metadata__") or first["type"].endswith("_type"):
        return f"must be {type_text(parameter)}"
    return first["msg"].replace("Input should be", "must be")


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


def _own(factory: Any) -> dict[str, Parameter]:
    """Return what a suite may set of an optimizer, apart from what a wrapper passes on."""
    signature = signature_of(factory)
    filled = filled_by_harness(signature).names
    return {
        f"{name}_" if name in METHOD_KEYS else name: parameter
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
        allowed = {**allowed, **_with_bases(_own(base), passed_on), **allowed}
    return allowed
