"""Components and their parameters, checked against the signatures of their factories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from inspect import Parameter

from pydantic import JsonValue

from benchbench.plugins.factories import SEED, Factory, convert, named_component
from benchbench.plugins.names import Kind, PluginError
from benchbench.plugins.signatures import named_kind
from benchbench.problems import Problem, SourceLocation, SourceMap, nearest_name
from benchbench.suite.schema import MethodEntry, WorkloadEntry
from benchbench.suite.validation import value_text
from benchbench.values import Component, RunSpec


@dataclass(frozen=True)
class Subject:
    """A component, and the labels under which its parameters stand in the suite.

    A model or a data set also has the workload's `parameter` that names it.
    """

    kind: Kind
    component: Component
    source: SourceMap
    method: str
    workload: str
    parameter: str = ""

    @classmethod
    def of_optimizer(cls, spec: RunSpec, source: SourceMap) -> Subject:
        """Return the optimizer of a run."""
        return cls("optimizer", spec.optimizer, source, spec.method, spec.workload_label)

    @classmethod
    def of_workload(cls, spec: RunSpec, source: SourceMap) -> Subject:
        """Return the workload of a run."""
        return cls("workload", spec.workload, source, "", spec.workload_label)

    def location(self, name: str = "") -> SourceLocation:
        """Return where a parameter is written in the suite, or the component itself."""
        path = ".".join(part for part in (self.parameter, name) if part)
        return self.source.find(method=self.method, workload=self.workload, name=path)

    def named(self, kind: Kind, name: str) -> Subject:
        """Return what a parameter names.

        Raises:
            ValueError: The parameter's value names nothing.
        """
        component = named_component(kind, self.given[name])
        return Subject(kind, component, self.source, self.method, self.workload, name)

    @cached_property
    def factory(self) -> Factory:
        """The component, resolved.

        Raises:
            PluginError: It cannot be found.
        """
        return Factory(self.kind, self.component)

    @property
    def given(self) -> dict[str, JsonValue]:
        """The parameters that the suite sets."""
        return self.component.parameters


def parameter_problems(subject: Subject) -> list[Problem]:
    """Return what is wrong with a component's target and, by its signature, with its parameters."""
    try:
        factory = subject.factory
    except PluginError as error:
        # A model stands in `model`, or in `name` below it; the latter has a place only where it is written.
        where = "name" if subject.parameter else subject.kind
        return [subject.location(where).problem(error.message, nearest=error.nearest)]
    try:
        allowed = factory.parameters
    except ValueError:  # the base of a wrapper, which is among its own parameters
        return _wrong_types(subject, factory.own_parameters)
    return [*_unknown(subject, allowed), *_wrong_types(subject, allowed), *_unset(subject, allowed)]


def _unknown(subject: Subject, allowed: Mapping[str, Parameter]) -> list[Problem]:
    if "**" in allowed:
        return []
    # A key of the suite itself that is misspelt ends up among the parameters.
    entries: dict[Kind, list[str]] = {
        "optimizer": [*MethodEntry.model_fields],
        "workload": [*WorkloadEntry.model_fields],
    }
    names = [*allowed, *entries.get(subject.kind, [])]
    message = f"unknown parameter of {subject.component.target}; allowed: {', '.join(allowed) or 'none'}"
    return [
        subject.location(name).problem(message, nearest=nearest_name(name, names))
        for name in subject.given
        if name not in allowed
    ]


def _wrong_types(subject: Subject, allowed: Mapping[str, Parameter]) -> list[Problem]:
    found = []
    for name, value in subject.given.items():
        if name not in allowed:
            continue
        try:
            if kind := named_kind(allowed[name]):
                found += parameter_problems(subject.named(kind, name))
            else:
                convert(allowed[name], value)
        except PluginError as error:
            found.append(subject.location(name).problem(error.message, nearest=error.nearest))
        except ValueError as error:
            found.append(subject.location(name).problem(str(error), value_text(value)))
    return found


def _unset(subject: Subject, allowed: Mapping[str, Parameter]) -> list[Problem]:
    return [
        subject.location().problem(f"{subject.component.target} needs the parameter {name!r}")
        for name, parameter in allowed.items()
        if parameter.default is Parameter.empty and name not in ("**", SEED, *subject.given)
    ]


def component_problems(kind: Kind, component: Component) -> list[Problem]:
    """Return what is wrong with the target and the parameters of a component given by options rather than a suite."""

    def find(*, method: str = "", workload: str = "", name: str = "") -> SourceLocation:
        parameter = next((each for each in (name, name.rpartition(".")[0]) if each in component.parameters), None)
        return SourceLocation() if parameter is None else SourceLocation("--set", field=parameter)

    return parameter_problems(Subject(kind, component, SourceMap(find), "", ""))
