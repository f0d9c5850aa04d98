"""Everything about a suite that can be known before its first run starts, all problems at once."""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter
from pathlib import Path

import torch
from pydantic import JsonValue

from benchbench import diagnostics, registry, stepping
from benchbench import suite as suites
from benchbench.objective import Objective
from benchbench.plugins import Kind, PluginError, describe_exception
from benchbench.problems import BadInputError, Place, Problem, in_order, nearest_name
from benchbench.signatures import named_kind
from benchbench.streams import Streams
from benchbench.suite.schema import MethodEntry, WorkloadEntry
from benchbench.suite.validation import value_text
from benchbench.values import Component, Origin, RunSpec, Suite, canonical_json
from benchbench.workloads import DATA, Setup

_FIRST_STEPS = 3
"""Steps after which an optimizer's state is taken to have all the tensors that it will have."""


def load(
    path: str | Path,
    *,
    overrides: Sequence[str] = (),
    only: Sequence[str] = (),
    data: Path | None = DATA,
    synthetic: bool = False,
    before: Callable[[Suite], None] | None = None,
) -> Suite:
    """Load a suite and check everything that can be known before its first run starts.

    Args:
        path: The file, or the name of a bundled suite.
        overrides: Changes such as `workloads.small.epochs=2`.
        only: Selections such as `method=A,seed=0`; the rest is not checked against plugins.
        data: The folder in which data sets lie; `None` if they may be missing.
        synthetic: Whether every workload that can shall make up its data.
        before: Called with what can be read of the suite before the code of any plugin is imported, which takes
            seconds that can be used.

    Returns:
        The selected part of the suite, ready to run.

    Raises:
        BadInputError: The suite cannot be run; carries every problem found, in the file and beyond.
    """
    suite, found = suites.read(path, overrides=overrides)
    if suite is not None:
        try:
            suite = suites.select(suite, only)
        except BadInputError as error:
            found += error.problems
        if before is not None:
            before(suite)
        if synthetic:
            suite = with_synthetic_data(suite)
        # Where the file itself is wrong, a second problem with the same value would only confuse.
        known = {(problem.file, problem.line, problem.field) for problem in found}
        found += [each for each in problems(suite, data) if (each.file, each.line, each.field) not in known]
    if suite is None or found:
        raise BadInputError(in_order(found))
    return suite


def with_synthetic_data(suite: Suite) -> Suite:
    """Return the suite with made-up data in every workload that can make up its own."""
    able = {target: _makes_up_data(target) for target in {spec.workload.target for spec in suite.specs}}
    specs = [
        spec.model_copy(update={"synthetic": spec.synthetic or able[spec.workload.target]}) for spec in suite.specs
    ]
    return suite.model_copy(update={"specs": tuple(specs)})


def _makes_up_data(target: str) -> bool:
    try:
        return bool(registry.resolve("workload", target).synthetic)
    except PluginError:  # reported with the workload itself
        return False


def problems(suite: Suite, data: Path | None = DATA) -> list[Problem]:
    """Return what would keep the runs of a suite from being set up.

    Optimizers and workloads are resolved and their parameters checked against their signatures. Every workload is asked
    for missing data, every optimizer is constructed and stepped once on a small parameter. Only for an optimizer that
    refuses parameters for their shape, a workload is set up, to see whether it refuses those as well.

    Args:
        suite: The suite.
        data: The folder in which data sets lie; `None` if they may be missing.
    """
    found: list[Problem] = []
    optimizers: dict[str, list[RunSpec]] = {}
    workloads: dict[str, RunSpec] = {}
    for spec in suite.specs:
        workloads.setdefault(spec.workload_label, spec)
        if spec.seed == suite.seeds[0]:
            content = [spec.method, spec.optimizer.model_dump(mode="json"), list(spec.schedule)]
            optimizers.setdefault(canonical_json(content), []).append(spec)
    for spec in workloads.values():
        subject = _Subject("workload", spec.workload, suite.origin, "", spec.workload_label)
        own = _parameter_problems(subject) or _synthetic_problems(subject, spec)
        if data is not None and not own and not spec.synthetic:
            own = _missing_data(subject, data)
        found += own
    usable = not found
    for specs in optimizers.values():
        subject = _Subject.of_optimizer(specs[0], suite.origin)
        own = _parameter_problems(subject) or _optimizer_problems(subject, specs[0])
        if not own and usable and _is_choosy(subject):
            own = [
                each
                for spec in specs
                for each in _shape_problems(_Subject.of_optimizer(spec, suite.origin), spec, data or DATA)
            ]
        found += own
    for spec in suite.specs:
        found += [each for each in _execution_problems(spec, suite.origin) if each not in found]
    found += _diagnostics_problems(suite, [specs[0] for specs in optimizers.values()])
    return in_order(found)


def _diagnostics_problems(suite: Suite, of_optimizers: Sequence[RunSpec]) -> list[Problem]:
    """Return which diagnostics no run of the suite can give, as far as its optimizers are known."""
    settings = suite.specs[0].diagnostics if suite.specs else None
    if settings is None:
        return []
    found = []
    if "curvature_change" in settings.record and any(spec.execution.ranks > 1 for spec in suite.specs):
        message = "several ranks have no Hessian-vector products beside their steps: leave it out, or set `ranks: 1`"
        found.append(suite.origin.find(name="diagnostics.curvature_change").problem(message))
    names = [_names_in_state(spec, suite.origin) for spec in of_optimizers] if settings.state else []
    known = set().union(*(each for each in names if each is not None))
    for name in settings.state if None not in names else ():
        if name not in known:
            message = f"no optimizer of the suite has such tensors in its state; allowed: {', '.join(sorted(known))}"
            place = suite.origin.find(name=f"diagnostics.{name}")
            found.append(place.problem(message, name, nearest_name(name, known)))
    return found


def _names_in_state(spec: RunSpec, origin: Origin) -> set[str] | None:
    """Return the names of the tensors in an optimizer's state after a few steps, or `None` if it makes none here."""

    def names() -> set[str]:
        model = _of_shapes((2, 2))
        create_graph = registry.needs_create_graph(spec.optimizer, spec.create_graph)
        optimizer, _ = _constructed(_Subject.of_optimizer(spec, origin), model)
        assert isinstance(optimizer, torch.optim.Optimizer)
        stepping.training(optimizer)
        for _ in range(_FIRST_STEPS):
            stepping.step(optimizer, _bowl(model, create_graph))
        return diagnostics.state_names(optimizer)

    found, _ = _called(names)
    return found if isinstance(found, set) else None


def _execution_problems(spec: RunSpec, origin: Origin) -> list[Problem]:
    """Return which settings of how gradients are computed cannot be."""
    execution, size = spec.execution, spec.batch_size
    wrong = {
        "accumulate": f"a batch of {size} examples has no {execution.accumulate} parts"
        if execution.accumulate > size
        else "",
        "ranks": _wrong_ranks(spec),
        "batch_norm": "with one rank there is nothing to synchronise: leave it out, or set `ranks`"
        if execution.batch_norm == "synchronised" and execution.ranks == 1
        else "",
    }
    return [
        origin.find(method=spec.method, workload=spec.workload_label, name=name).problem(
            message, value_text(getattr(execution, name))
        )
        for name, message in wrong.items()
        if message
    ]


def _wrong_ranks(spec: RunSpec) -> str:
    ranks, accumulate = spec.execution.ranks, spec.execution.accumulate
    if ranks == 1 or accumulate > spec.batch_size:
        return ""
    if ranks * accumulate > spec.batch_size:
        return f"a batch of {spec.batch_size} examples has no {accumulate} parts for each of {ranks} ranks"
    if torch.cuda.is_available():
        return "several ranks are supported on CPUs alone, and this machine has a GPU"
    try:
        create_graph = registry.needs_create_graph(spec.optimizer, spec.create_graph)
    except PluginError:  # reported with the optimizer itself
        return ""
    return "gradients that are summed over ranks have no graph, which `create_graph` asks for" if create_graph else ""


def missing_data(suite: Suite, data: Path) -> list[Problem]:
    """Return which data are missing: per workload, where they were looked for and how to get them."""
    specs = {spec.workload_label: spec for spec in suite.specs if not spec.synthetic}
    subjects = [_Subject("workload", spec.workload, suite.origin, "", label) for label, spec in specs.items()]
    return [problem for subject in subjects for problem in _missing_data(subject, data)]


def prepare(suite: Suite, data: Path) -> Iterator[str]:
    """Download and verify the data of every workload that does not make up its own.

    Args:
        suite: The suite.
        data: The folder in which data sets lie, or shall lie.

    Yields:
        The label of each workload, once its data is there.

    Raises:
        BadInputError: A workload or its parameters cannot be used, or data cannot be had.
    """
    specs = {spec.workload_label: spec for spec in suite.specs if not spec.synthetic}
    subjects = [_Subject("workload", spec.workload, suite.origin, "", label) for label, spec in specs.items()]
    if found := [problem for subject in subjects for problem in _parameter_problems(subject)]:
        raise BadInputError(in_order(found))
    for subject in subjects:
        _, text = _called(functools.partial(_workload_call, subject, "prepare", data))
        if text:
            raise BadInputError([subject.place().problem(f"data cannot be prepared: {text}")])
        yield subject.workload


def _workload_call(subject: _Subject, name: str, data: Path) -> object:
    workload = registry.resolve(subject.kind, subject.component.target)
    keywords = registry.arguments(registry.parameters(subject.kind, workload), subject.given)
    return getattr(workload, name)(data, **keywords)


@dataclass(frozen=True)
class _Subject:
    """A component, and the labels under which its parameters stand in the suite.

    A model or a data set also has the workload's `parameter` that names it.
    """

    kind: Kind
    component: Component
    origin: Origin
    method: str
    workload: str
    parameter: str = ""

    @classmethod
    def of_optimizer(cls, spec: RunSpec, origin: Origin) -> _Subject:
        return cls("optimizer", spec.optimizer, origin, spec.method, spec.workload_label)

    def place(self, name: str = "") -> Place:
        path = ".".join(part for part in (self.parameter, name) if part)
        return self.origin.find(method=self.method, workload=self.workload, name=path)

    def named(self, kind: Kind, name: str) -> _Subject:
        """Return what a parameter names.

        Raises:
            ValueError: The parameter's value names nothing.
        """
        component = registry.named(kind, self.given[name])
        return _Subject(kind, component, self.origin, self.method, self.workload, name)

    @property
    def given(self) -> dict[str, JsonValue]:
        return self.component.parameters


def _parameter_problems(subject: _Subject) -> list[Problem]:
    """Return what is wrong with a component's target and, by its signature, with its parameters."""
    try:
        factory = registry.resolve(subject.kind, subject.component.target)
    except PluginError as error:
        # A model stands in `model`, or in `name` below it; the latter has a place only where it is written.
        where = "name" if subject.parameter else subject.kind
        return [subject.place(where).problem(error.message, nearest=error.nearest)]
    own = _wrong_types(subject, registry.parameters(subject.kind, factory))
    try:
        allowed = registry.parameters(subject.kind, factory, subject.given)
    except ValueError:  # the base of a wrapper, which `own` has a problem with
        return own
    return [*_unknown(subject, allowed), *_wrong_types(subject, allowed), *_unset(subject, allowed)]


def _unknown(subject: _Subject, allowed: Mapping[str, Parameter]) -> list[Problem]:
    if registry.is_open(allowed):
        return []
    # A key of the suite itself that is misspelt ends up among the parameters.
    entries: dict[Kind, list[str]] = {
        "optimizer": [*MethodEntry.model_fields],
        "workload": [*WorkloadEntry.model_fields],
    }
    names = [*allowed, *entries.get(subject.kind, [])]
    message = f"unknown parameter of {subject.component.target}; allowed: {', '.join(allowed) or 'none'}"
    return [
        subject.place(name).problem(message, nearest=nearest_name(name, names))
        for name in subject.given
        if name not in allowed
    ]


def _wrong_types(subject: _Subject, allowed: Mapping[str, Parameter]) -> list[Problem]:
    found = []
    for name, value in subject.given.items():
        if name not in allowed:
            continue
        try:
            if kind := named_kind(allowed[name]):
                found += _parameter_problems(subject.named(kind, name))
            else:
                registry.convert(allowed[name], value)
        except PluginError as error:
            found.append(subject.place(name).problem(error.message, nearest=error.nearest))
        except ValueError as error:
            found.append(subject.place(name).problem(str(error), value_text(value)))
    return found


def _unset(subject: _Subject, allowed: Mapping[str, Parameter]) -> list[Problem]:
    needed = [
        name
        for name, parameter in allowed.items()
        if parameter.default is Parameter.empty and parameter.kind is not Parameter.VAR_KEYWORD
    ]
    return [
        subject.place().problem(f"{subject.component.target} needs the parameter {name!r}")
        for name in needed
        if name not in subject.given and name != registry.SEED
    ]


def component_problems(kind: Kind, component: Component) -> list[Problem]:
    """Return what is wrong with the target and the parameters of a component that stands in no suite."""
    return _parameter_problems(_Subject(kind, component, Origin(), "", ""))


def _optimizer_problems(subject: _Subject, spec: RunSpec) -> list[Problem]:
    """Return what is wrong once an optimizer is constructed and stepped as a run would, its schedules included."""
    target = subject.component.target
    model = _of_shapes((2, 2))
    optimizer, text = _constructed(subject, model)
    if text:
        name = _blamed(text, subject.given)
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


def _constructed(subject: _Subject, model: torch.nn.Module) -> tuple[object, str]:
    def build(params: object) -> object:
        return registry.build_optimizer(subject.component, params, seed=0, model=model)

    optimizer, text = _called(lambda: build(list(model.parameters())))
    if text:
        # An optimizer that wants to be told something about each group fails on tensors in ways that explain nothing.
        _, in_a_group = _called(lambda: build([{"params": list(model.parameters())}]))
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
    return _called(first_step)[0] is True


def _bowl(model: torch.nn.Module, create_graph: bool) -> Objective:
    """Return the sum of the squared parameters, as the loss of one step."""
    parameters = list(model.parameters())
    return Objective(
        lambda: torch.stack([p.square().sum() for p in parameters]).sum(), parameters, create_graph=create_graph
    )


def _is_choosy(subject: _Subject) -> bool:
    """Return whether an optimizer refuses parameters for their shape."""
    return bool(_constructed(subject, _of_shapes((2, 2), (2,), (2, 2, 1, 1)))[1])


def _shape_problems(subject: _Subject, spec: RunSpec, data: Path) -> list[Problem]:
    """Return whether an optimizer refuses the parameters of its workload, which is set up for this."""
    setup = Setup(torch.device("cpu"), spec.batch_size, Streams(spec.seed), spec.protocol, data, spec.synthetic)
    model, text = _called(lambda: registry.build_workload(spec.workload, setup).model)
    if not isinstance(model, torch.nn.Module):  # for the run itself to report
        return []
    _, text = _constructed(subject, model)
    if not text:
        return []
    message = f"{subject.component.target} refuses the parameters of {subject.workload}: {text}"
    return [subject.place(subject.kind).problem(message)]


def _unschedulable(subject: _Subject, optimizer: torch.optim.Optimizer, schedules: Iterable[str]) -> Iterator[Problem]:
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


def _synthetic_problems(subject: _Subject, spec: RunSpec) -> list[Problem]:
    if not spec.synthetic or _makes_up_data(subject.component.target):
        return []
    return [subject.place("synthetic").problem(f"{subject.component.target} cannot make up its data", "true")]


def _missing_data(subject: _Subject, data: Path) -> list[Problem]:
    missing, text = _called(functools.partial(_workload_call, subject, "missing", data))
    if text:
        return [subject.place().problem(f"cannot be checked for missing data: {text}")]
    return [subject.place().problem(str(missing))] if missing else []


def _called(function: Callable[[], object]) -> tuple[object, str]:
    # What foreign code returns, or a description of what it raises. The random state stays as it is, and
    # warnings are left to the log of the run itself.
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        try:
            return function(), ""
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - SystemExit included
            return None, describe_exception(error)


def _blamed(message: str, given: Mapping[str, JsonValue]) -> str:
    """Return the parameter that a message names, or whose value it shows, or an empty text."""
    for name in sorted(given, key=len, reverse=True):
        if re.search(rf"\b{re.escape(name)}\b", message):
            return name
    # The last word first: "invalid value at index 1: 1.5" is about the 1.5.
    for word in reversed(message.split()):
        for name, value in given.items():
            if any(_shows(word, each) for each in (value if isinstance(value, list) else [value])):
                return name
    return ""


def _shows(word: str, value: JsonValue) -> bool:
    word = word.strip(",;:'\"()[]")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return word == str(value)
    try:
        return float(word) == value
    except ValueError:
        return False
