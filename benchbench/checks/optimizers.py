"""Optimizers, constructed and stepped on small parameters as a run would."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch

from benchbench import registry, stepping
from benchbench.checks.foreign_code import blamed, called
from benchbench.checks.subjects import Subject
from benchbench.objective import Objective
from benchbench.problems import Problem, nearest_name
from benchbench.streams import Streams
from benchbench.suite.validation import value_text
from benchbench.training import diagnostics
from benchbench.values import Origin, RunSpec
from benchbench.workloads import Setup

_FIRST_STEPS = 3
"""Steps after which an optimizer's state is taken to have all the tensors that it will have."""


def names_in_state(spec: RunSpec, origin: Origin) -> set[str] | None:
    """Return the names of the tensors in an optimizer's state after a few steps, or `None` if it makes none here."""

    def names() -> set[str]:
        model = _of_shapes((2, 2))
        create_graph = registry.needs_create_graph(spec.optimizer, spec.create_graph)
        optimizer, _ = _constructed(Subject.of_optimizer(spec, origin), model)
        assert isinstance(optimizer, torch.optim.Optimizer)
        stepping.training(optimizer)
        for _ in range(_FIRST_STEPS):
            stepping.step(optimizer, _bowl(model, create_graph))
        return diagnostics.state_names(optimizer)

    found, _ = called(names)
    return found if isinstance(found, set) else None


def optimizer_problems(subject: Subject, spec: RunSpec) -> list[Problem]:
    """Return what is wrong once an optimizer is constructed and stepped as a run would, its schedules included."""
    target = subject.component.target
    model = _of_shapes((2, 2))
    optimizer, text = _constructed(subject, model)
    if text:
        name = blamed(text, subject.given)
        value = value_text(subject.given[name]) if name else ""
        value = "" if value in text else value
        return [subject.place(name).problem(f"{target} cannot be constructed: {text}", value)]
    if not isinstance(optimizer, torch.optim.Optimizer):
        message = f"{target} gives no torch.optim.Optimizer"
        return [subject.place(subject.kind).problem(message, value_text(type(optimizer).__name__))]
    found = list(_unschedulable(subject, optimizer, spec.schedule))
    if _lacks_graph(optimizer, model, registry.needs_create_graph(spec.optimizer, spec.create_graph)):
        message = f"{target} differentiates gradients itself: set `create_graph: true`"
        found.append(subject.place(subject.kind).problem(message))
    return found


def _of_shapes(*shapes: tuple[int, ...]) -> torch.nn.Module:
    return torch.nn.ParameterList([torch.nn.Parameter(torch.ones(shape)) for shape in shapes])


def _constructed(subject: Subject, model: torch.nn.Module) -> tuple[object, str]:
    def build(params: object) -> object:
        return registry.build_optimizer(subject.component, params, seed=0, model=model)

    optimizer, text = called(lambda: build(list(model.parameters())))
    if text:
        # An optimizer that wants to be told something about each group fails on tensors in ways that explain nothing.
        _, in_a_group = called(lambda: build([{"params": list(model.parameters())}]))
        text = in_a_group or text
    return optimizer, text


def _lacks_graph(optimizer: torch.optim.Optimizer, model: torch.nn.Module, create_graph: bool) -> bool:
    """Return whether a first step fails because the optimizer differentiates gradients and nothing has said so."""

    def first_step() -> bool:
        stepping.training(optimizer)
        try:
            stepping.step(optimizer, _bowl(model, create_graph))
        except stepping.MissingGraphError:
            return True
        return False

    # What else may be wrong with so small a problem says nothing about the run.
    return called(first_step)[0] is True


def _bowl(model: torch.nn.Module, create_graph: bool) -> Objective:
    """Return the sum of the squared parameters, as the loss of one step."""
    parameters = list(model.parameters())
    return Objective(
        lambda: torch.stack([p.square().sum() for p in parameters]).sum(), parameters, create_graph=create_graph
    )


def is_choosy(subject: Subject) -> bool:
    """Return whether an optimizer refuses parameters for their shape."""
    return bool(_constructed(subject, _of_shapes((2, 2), (2,), (2, 2, 1, 1)))[1])


def shape_problems(subject: Subject, spec: RunSpec, data: Path) -> list[Problem]:
    """Return whether an optimizer refuses the parameters of its workload, which is set up for this."""
    setup = Setup(torch.device("cpu"), spec.batch_size, Streams(spec.seed), spec.protocol, data, spec.synthetic)
    model, text = called(lambda: registry.build_workload(spec.workload, setup).model)
    if not isinstance(model, torch.nn.Module):  # for the run itself to report
        return []
    _, text = _constructed(subject, model)
    if not text:
        return []
    message = f"{subject.component.target} refuses the parameters of {subject.workload}: {text}"
    return [subject.place(subject.kind).problem(message)]


def _unschedulable(subject: Subject, optimizer: torch.optim.Optimizer, schedules: Iterable[str]) -> Iterator[Problem]:
    group = optimizer.param_groups[0]
    numbers = [
        name
        for name, value in group.items()
        if isinstance(value, int | float | torch.Tensor) and not isinstance(value, bool)
    ]
    for name in schedules:
        if name not in numbers:
            message = f"{subject.component.target} has no such number to schedule; allowed: {', '.join(numbers)}"
            yield subject.place(f"schedule.{name}").problem(message, nearest=nearest_name(name, numbers))
