"""Signatures of factories: the parameters that a suite sets, and those that the harness fills in."""

from __future__ import annotations

import collections.abc
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import Parameter
from typing import Any

from benchbench.plugins.names import Kind

PARAMS = "params"
"""The name under which torch's optimizers take what they optimize."""


@dataclass(frozen=True)
class Named:
    """Marks a parameter, as in `Annotated[Callable[..., nn.Module], Named("model")]`, that a suite sets to a plugin.

    The suite writes its name, or a mapping with its `name` and its own parameters; the factory that has the parameter
    gets the plugin with these parameters filled in.

    Attributes:
        kind: What the suite names.
    """

    kind: Kind


@dataclass(frozen=True)
class Filled:
    """The parameters of an optimizer's factory that the harness fills.

    Attributes:
        params: Takes what is optimized; `None` when the factory takes that from the model.
        models: Take the model.
        roles: Take the roles of the model's parameters.
    """

    params: str | None
    models: tuple[str, ...]
    roles: tuple[str, ...]

    @property
    def names(self) -> set[str]:
        """All of them."""
        return {*self.models, *self.roles, *([] if self.params is None else [self.params])}

    def keywords(self, params: Any, model: Any, roles: Any) -> dict[str, Any]:
        """Return what is handed to the factory; roles that are not known are found in the model."""
        filled = dict.fromkeys(self.models, model)
        if self.roles:
            from benchbench.optim.roles import ParameterRoles

            filled |= dict.fromkeys(self.roles, ParameterRoles(model) if roles is None else roles)
        return filled if self.params is None else {self.params: params, **filled}


def signature_of(function: Callable[..., Any]) -> dict[str, Parameter]:
    """Return parameters by name, `**kwargs` as `**`; annotations that cannot be evaluated are left out."""
    try:
        found = list(inspect.signature(function, eval_str=True).parameters.values())
    except Exception:  # noqa: BLE001 - evaluating annotations runs foreign code
        try:
            found = list(inspect.signature(function).parameters.values())
        except Exception:  # noqa: BLE001 - a `__signature__` can be foreign code, too
            found = [Parameter(PARAMS, Parameter.POSITIONAL_ONLY), Parameter("any", Parameter.VAR_KEYWORD)]
    empty = Parameter.empty
    known = [each.replace(annotation=empty) if isinstance(each.annotation, str) else each for each in found]
    return {("**" if each.kind is Parameter.VAR_KEYWORD else each.name): each for each in known}


def filled_by_harness(signature: Mapping[str, Parameter]) -> Filled:
    """Return which parameters of an optimizer's factory the harness fills.

    What is optimized goes to the parameter `params`, else to the first one. If that takes the model, the factory
    finds what it optimizes there; if it takes another optimizer, `params` goes through `**kwargs` to that one.
    """
    models = tuple(name for name, parameter in signature.items() if wants_model(parameter))
    roles = tuple(name for name, parameter in signature.items() if wants_roles(parameter))
    first = next(iter(signature), None)
    if PARAMS in signature or (first is not None and wants_optimizer(signature[first])):
        return Filled(PARAMS, models, roles)
    return Filled(None if first in models else first, models, roles)


def wants_optimizer(parameter: Parameter) -> bool:
    """Return whether a parameter wants the class of another optimizer."""
    import torch

    classes = [typing.get_args(each)[:1] for each in _options(parameter) if typing.get_origin(each) is type]
    return any(inspect.isclass(each) and issubclass(each, torch.optim.Optimizer) for (each,) in classes)


def wants_model(parameter: Parameter) -> bool:
    """Return whether a parameter wants the network."""
    import torch

    return any(inspect.isclass(each) and issubclass(each, torch.nn.Module) for each in _options(parameter))


def wants_roles(parameter: Parameter) -> bool:
    """Return whether a parameter wants the roles of the network's parameters."""
    from benchbench.optim.roles import ParameterRoles

    return any(each is ParameterRoles for each in _options(parameter))


def named_kind(parameter: Parameter) -> Kind | None:
    """Return which kind of plugin a suite names in a parameter, or `None` where it names none.

    What makes an optimizer, `Callable[..., torch.optim.Optimizer]`, needs no mark.
    """
    marks = getattr(parameter.annotation, "__metadata__", ())
    marked = next((mark.kind for mark in marks if isinstance(mark, Named)), None)
    return marked or ("optimizer" if any(map(_makes_optimizer, _options(parameter))) else None)


def _makes_optimizer(annotation: Any) -> bool:
    import torch

    if typing.get_origin(annotation) is not collections.abc.Callable:
        return False
    made = typing.get_args(annotation)[-1]
    return inspect.isclass(made) and issubclass(made, torch.optim.Optimizer)


def _options(parameter: Parameter) -> tuple[Any, ...]:
    wanted = parameter.annotation
    union = typing.get_origin(wanted) in (typing.Union, types.UnionType)
    return typing.get_args(wanted) if union else (wanted,)
