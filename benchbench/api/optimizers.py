"""Checking an optimizer, a workload or a data set that is in no suite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from inspect import Parameter
from typing import TYPE_CHECKING

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
    spec = RunSpec(
        suite="check",
        method="check",
        workload_label=target,
        workload=component,
        optimizer=Component(target="none"),  # a workload is tried without one
        epochs=1,
        batch_size=batch_size,
        seed=0,
    )
    yield from workloads.verdicts(spec, workspace.data)


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
