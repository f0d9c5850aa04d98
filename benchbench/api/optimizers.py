"""Checking an optimizer, a workload or a data set that is in no suite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from inspect import Parameter
from typing import TYPE_CHECKING, NamedTuple

from benchbench import suite as suites
from benchbench.api.workspace import HERE, Workspace
from benchbench.problems import BadInputError
from benchbench.values import Component, RunSpec

if TYPE_CHECKING:
    from benchbench.checks.conformance import Verdict
    from benchbench.plugins.names import Kind


def check_component(
    target: str,
    settings: Sequence[str] = (),
    *,
    create_graph: bool | None = None,
    batch_size: int = 32,
    workspace: Workspace = HERE,
) -> Iterator[Verdict]:
    """Check whether an optimizer, a workload or a data set keeps what the harness relies on.

    Args:
        target: A registered name, `module:attribute` or `path/to/file.py:attribute`.
        settings: Parameters such as `lr=0.1`.
        create_graph: Whether an optimizer differentiates gradients itself (default: what it declares).
        batch_size: Examples per step of a workload.
        workspace: Where data sets are.

    Yields:
        One verdict per promise, as soon as it is known.

    Raises:
        BadInputError: There is no such thing, or it has no such parameter.
    """
    from benchbench.checks import component_problems, conformance
    from benchbench.checks.conformance import datasets, workloads

    kind, component = _kind_of(target), Component(target=target, parameters=suites.settings(settings))
    if found := component_problems(kind, component):
        raise BadInputError(found)
    if kind == "optimizer":
        yield from conformance.verdicts(component, create_graph=create_graph)
        return
    if kind == "dataset":
        yield from datasets.verdicts(component, workspace.data)
        return
    yield from workloads.verdicts(_spec_of(target, component, batch_size), workspace.data)


class ParameterInfo(NamedTuple):
    """A parameter of a workload's model: its name, shape and role."""

    name: str
    shape: tuple[int, ...]
    role: str


def model_parameters(
    target: str, settings: Sequence[str] = (), *, workspace: Workspace = HERE
) -> list[ParameterInfo] | str:
    """Return the parameters of a workload's model with their roles, or why they are not known.

    The workload is set up, on made-up data where it can make them up.

    Args:
        target: A registered name, `module:attribute` or `path/to/file.py:attribute`.
        settings: Parameters such as `model=resnet20`.
        workspace: Where data sets are.

    Raises:
        BadInputError: There is no such workload, or it has no such parameter.
    """
    from benchbench.checks import component_problems
    from benchbench.checks.foreign_code import called
    from benchbench.checks.optimizers import task_of
    from benchbench.optim.roles import ParameterRoles
    from benchbench.plugins.factories import Factory
    from benchbench.training.steps import parameter_roles

    component = Component(target=target, parameters=suites.settings(settings))
    factory = Factory("workload", component)
    required = [name for name, each in factory.parameters.items() if each.default is each.empty]
    if missing := [name for name in required if name not in component.parameters]:
        return f"they depend on {', '.join(missing)}: --set {missing[0]}=..."
    if found := component_problems("workload", component):
        raise BadInputError(found)
    spec = _spec_of(target, component, 2).model_copy(update={"synthetic": factory.code.synthetic})
    task = task_of(spec, workspace.data) if factory.code.trial else None
    if task is None:
        return "the workload cannot be set up here"
    roles, wrong = called(lambda: parameter_roles(spec, task, task.model))
    if not isinstance(roles, ParameterRoles):
        return wrong
    return [ParameterInfo(roles.names[each], tuple(each.shape), role) for each, role in roles.items()]


def _spec_of(target: str, workload: Component, batch_size: int) -> RunSpec:
    """Return a run of a workload that is in no suite; there is no optimizer in it."""
    return RunSpec(
        suite="check",
        method="check",
        workload_label=target,
        workload=workload,
        optimizer=Component(target="none"),
        epochs=1,
        batch_size=batch_size,
        seed=0,
    )


def _kind_of(target: str) -> Kind:
    """Return the kind of a target: workload or data set if it can be told, else optimizer."""
    from benchbench.plugins.names import PluginError, plugins, resolve
    from benchbench.plugins.signatures import signature_of

    kinds: tuple[Kind, ...] = ("optimizer", "workload", "dataset")
    if ":" not in target:
        return next((kind for kind in kinds if target in plugins(kind)), "optimizer")
    for kind in ("workload", "dataset"):
        try:
            found = resolve(kind, target)
            # A data set's factory has nothing that parameters could be handed to.
            if kind == "workload" or all(each.kind is Parameter.KEYWORD_ONLY for each in signature_of(found).values()):
                return kind
        except PluginError:  # it is none of this kind; what else is wrong with it is said when it is checked
            continue
    return "optimizer"
