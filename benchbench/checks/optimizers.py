"""Optimizers, constructed and stepped on small parameters as a run would."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import cast

import torch

from benchbench.checks.foreign_code import blamed, called
from benchbench.checks.subjects import Subject
from benchbench.checks.uncalled import uncalled_methods
from benchbench.optim import stepping
from benchbench.optim.execution.shared_state import shared_state_kept
from benchbench.optim.ledger import Ledger
from benchbench.optim.objective import EvaluatedOnceError, Objective
from benchbench.plugins.factories import Factory
from benchbench.problems import Problem, SourceMap, nearest_name
from benchbench.suite.validation import value_text
from benchbench.training import coverage, diagnostics
from benchbench.training.steps import build_optimizer, parameter_roles
from benchbench.values import RunSpec
from benchbench.workloads import Setup, Task
from benchbench.workloads.streams import Streams

_SEED = 2**32 - 1
"""The largest seed that a run gives to an optimizer."""

_FIRST_STEPS = 3
"""Steps after which an optimizer's state is taken to have all the tensors that it will have."""


def names_in_state(spec: RunSpec, source: SourceMap) -> set[str] | None:
    """Return the names of the tensors in an optimizer's state after a few steps, or `None` if it makes none here."""

    def names() -> set[str]:
        model = _of_shapes((2, 2))
        subject = Subject.of_optimizer(spec, source)
        create_graph = subject.factory.needs_graph(spec.create_graph)
        optimizer, _ = _constructed(subject, model)
        assert isinstance(optimizer, torch.optim.Optimizer)
        stepping.training(optimizer)
        for _ in range(_FIRST_STEPS):
            _step(optimizer, model, create_graph)
        return diagnostics.state_names(optimizer)

    found, _ = called(names)
    return found if isinstance(found, set) else None


def optimizer_problems(subject: Subject, spec: RunSpec, task_of_run: Callable[[], Task | None]) -> list[Problem]:
    """Return what is wrong once an optimizer is constructed and stepped as a run would, its schedules included.

    Args:
        subject: The optimizer.
        spec: One of its runs.
        task_of_run: Returns its workload, for an optimizer that cannot be constructed for a small model.
    """
    target = subject.component.target
    model = _of_shapes((2, 2))
    optimizer, text = _constructed(subject, model)
    name = blamed(text, subject.given)
    if text and not name and (own := task_of_run()) is not None:
        copied, _ = called(lambda: copy.deepcopy(own.model))
        on_its_own, refused = _constructed(subject, cast(torch.nn.Module, copied)) if copied else (None, text)
        if not refused:
            model, optimizer, text = cast(torch.nn.Module, copied), on_its_own, ""
    if text:
        value = value_text(subject.given[name]) if name else ""
        value = "" if value in text else value
        return [subject.location(name).problem(f"{target} cannot be constructed: {text}", value)]
    if not isinstance(optimizer, torch.optim.Optimizer):
        message = f"{target} gives no torch.optim.Optimizer"
        return [subject.location(subject.kind).problem(message, value_text(type(optimizer).__name__))]
    found = list(_unschedulable(subject, optimizer, [name for name in spec.schedule if "." not in name]))
    if refused := _shared_evaluation_refused(subject, spec):
        return [*found, subject.location(subject.kind).problem(f"{target} cannot make a step: {refused}")]
    if _lacks_graph(optimizer, model, subject.factory.needs_graph(spec.create_graph)):
        message = f"{target} differentiates gradients itself: set `create_graph: true`"
        found.append(subject.location(subject.kind).problem(message))
    return found


def uncalled(subject: Subject, spec: RunSpec) -> list[Problem]:
    """Return which methods of an optimizer no step calls, although a training loop may be meant to."""
    model = _of_shapes((2, 2))
    create_graph = subject.factory.needs_graph(spec.create_graph)
    names = uncalled_methods(
        lambda: subject.factory.build_optimizer(list(model.parameters()), seed=_SEED, model=model),
        lambda optimizer: _step(optimizer, model, create_graph),
    )
    if not names:
        return []
    message = (
        f"nothing calls {', '.join(names)} of {subject.component.target}: if a training loop is meant to, the results "
        "are not those of this method; let `step` call it"
    )
    return [subject.location(subject.kind).problem(message)]


def _of_shapes(*shapes: tuple[int, ...]) -> torch.nn.Module:
    return torch.nn.ParameterList([torch.nn.Parameter(torch.ones(shape)) for shape in shapes])


def _constructed(subject: Subject, model: torch.nn.Module) -> tuple[object, str]:
    build = partial(subject.factory.build_optimizer, seed=_SEED, model=model)
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
            with shared_state_kept(optimizer):
                _step(optimizer, model, create_graph)
        except stepping.MissingGraphError:
            return True
        return False

    # What else may be wrong with so small a problem says nothing about the run.
    return called(first_step)[0] is True


def _shared_evaluation_refused(subject: Subject, spec: RunSpec) -> str:
    """Return which part of an optimizer asks for more than the gradient that it shares with the others, and why."""

    def first_step() -> str:
        model = _EveryShape()
        optimizer = subject.factory.build_optimizer(list(model.parameters()), seed=_SEED, model=model)
        stepping.training(optimizer)
        try:
            _step(optimizer, model, subject.factory.needs_graph(spec.create_graph))
        except EvaluatedOnceError as error:
            return str(error)
        return ""

    return str(called(first_step)[0] or "") if subject.factory.wants_roles else ""


def _step(optimizer: torch.optim.Optimizer, model: torch.nn.Module, create_graph: bool, *, scale: float = 1.0) -> None:
    """Make a step on the sum of the squared parameters, or a multiple of it."""
    parameters, ledger = list(model.parameters()), Ledger()

    def loss() -> torch.Tensor:
        return scale * torch.stack([p.square().sum() for p in parameters]).sum()

    with ledger.metered():
        stepping.step(optimizer, Objective(loss, parameters, ledger=ledger, create_graph=create_graph))


class _EveryShape(torch.nn.Module):
    """Parameters of all shapes and under all the names that optimizers commonly tell apart."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(3, 2)
        self.conv = torch.nn.Conv2d(2, 2, 1)
        self.norm = torch.nn.LayerNorm(2)
        self.layers = torch.nn.ModuleList([torch.nn.Linear(2, 2)])
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.head = torch.nn.Linear(2, 3)


def _rejects_shapes(subject: Subject) -> bool:
    """Return whether an optimizer refuses or leaves out parameters for their shape or their names."""
    with torch.random.fork_rng(devices=[]):
        model = _EveryShape()
    parameters = coverage.trainable(model)
    optimizer, text = _constructed(subject, model)
    return bool(text) or any(coverage.faults(parameters, cast(torch.optim.Optimizer, optimizer), ()))


def depends_on_model(subject: Subject, spec: RunSpec) -> bool:
    """Return whether what an optimizer does with a parameter cannot be seen on another model than the workload's."""
    has_parts = any("." in name for name in spec.schedule)
    return subject.factory.wants_roles or bool(spec.roles or spec.no_decay) or has_parts or _rejects_shapes(subject)


def workload_problems(subject: Subject, spec: RunSpec, task: Task) -> list[Problem]:
    """Return whether an optimizer refuses parameters of its workload's model, or leaves some of them out unsaid."""
    model = task.model
    _, wrong = called(lambda: parameter_roles(spec, task, model))
    if wrong:
        return [subject.location("roles").problem(f"roles of {subject.workload}: {wrong}")]
    parameters = coverage.trainable(model)
    optimizer, text = called(
        lambda: build_optimizer(spec, subject.factory, task, list(model.parameters()), model, _SEED)
    )
    if text:
        message = f"{subject.component.target} refuses the parameters of {subject.workload}: {text}"
        _, of_a_matrix = _constructed(subject, _of_shapes((2, 2)))
        advice = (
            "" if of_a_matrix else "; `by_role` gives it hidden matrices, and all other parameters to another optimizer"
        )
        return [subject.location(subject.kind).problem(message + advice)]
    assert isinstance(optimizer, torch.optim.Optimizer)
    return [
        *(
            subject.location(setting).problem(f"{subject.component.target} on {subject.workload} {fault}")
            for setting, fault in coverage.faults(parameters, optimizer, spec.leave_out, spec.no_decay)
        ),
        *_unschedulable(subject, optimizer, spec.schedule),
        *_decayed_all_the_same(subject, spec, task),
    ]


def _decayed_all_the_same(subject: Subject, spec: RunSpec, task: Task) -> Iterator[Problem]:
    """Yield which parameters shrink in a step on a gradient of zero although `no_decay` names their role."""

    def shrunk() -> list[str]:
        model: torch.nn.Module = copy.deepcopy(task.model)
        roles = parameter_roles(spec, task, model)
        optimizer = build_optimizer(spec, subject.factory, task, list(model.parameters()), model, _SEED)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(0.5)
        _step(optimizer, model, subject.factory.needs_graph(spec.create_graph), scale=0.0)
        kept = [parameter for parameter, role in roles.items() if role in spec.no_decay and parameter.requires_grad]
        return [roles.names[parameter] for parameter in kept if bool((parameter.abs() < 0.5).all())]

    names = called(shrunk)[0] if spec.no_decay else None
    if isinstance(names, list) and names:
        message = f"{subject.component.target} on {subject.workload} decays {names[0]} all the same"
        yield subject.location("no_decay").problem(message)


def task_of(spec: RunSpec, data: Path) -> Task | None:
    """Return a run's workload, or `None` where it cannot be set up, which the run itself reports."""
    setup = Setup(torch.device("cpu"), spec.batch_size, Streams(spec.seed), spec.protocol, data, spec.synthetic)
    task, _ = called(lambda: Factory("workload", spec.workload).build_task(setup))
    return cast(Task, task) if isinstance(getattr(task, "model", None), torch.nn.Module) else None


def _unschedulable(subject: Subject, optimizer: torch.optim.Optimizer, schedules: Iterable[str]) -> Iterator[Problem]:
    numbers = list(
        dict.fromkeys(
            each
            for group in optimizer.param_groups
            for name, value in group.items()
            if isinstance(value, int | float | torch.Tensor) and not isinstance(value, bool)
            for each in (name, *([f"{group['part']}.{name}"] if "part" in group else []))
        )
    )
    for name in schedules:
        if name not in numbers:
            message = f"{subject.component.target} has no such number to schedule; allowed: {', '.join(numbers)}"
            yield subject.location(f"schedule.{name}").problem(message, nearest=nearest_name(name, numbers))
