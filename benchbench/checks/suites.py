"""Whole suites: what would keep their runs from being set up, and data that are missing."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from benchbench.checks.foreign_code import called
from benchbench.checks.optimizers import (
    depends_on_model,
    optimizer_problems,
    task_of,
    uncalled,
    workload_problems,
)
from benchbench.checks.runs import diagnostics_problems, execution_problems
from benchbench.checks.subjects import Subject, parameter_problems
from benchbench.checks.workloads import trial_problems
from benchbench.plugins.names import PluginError, resolve
from benchbench.problems import BadInputError, Problem, in_order
from benchbench.values import RunSpec, Suite, canonical_json
from benchbench.workloads import DATA, Task


def with_synthetic_data(suite: Suite) -> Suite:
    """Return the suite with made-up data in every workload that can make up its own."""
    able = {}
    for target in {spec.workload.target for spec in suite.specs}:
        with suppress(PluginError):  # reported with the workload itself
            able[target] = resolve("workload", target).synthetic
    specs = [
        spec.model_copy(update={"synthetic": spec.synthetic or able.get(spec.workload.target, False)})
        for spec in suite.specs
    ]
    return suite.model_copy(update={"specs": tuple(specs)})


def problems(suite: Suite, data: Path = DATA, *, may_be_missing: bool = False) -> list[Problem]:
    """Return what would keep the runs of a suite from being set up.

    Optimizers and workloads are resolved and their parameters checked against their signatures. Every workload is asked
    for missing data, every optimizer is constructed and stepped once on a small parameter. Only where that says too
    little (it refuses or leaves out some parameters of another small model, or treats them by role), workloads are set
    up, to see what it does there.
    Workloads that do not come with benchbench are set up and tried.

    Args:
        suite: The suite.
        data: The folder in which data sets lie.
        may_be_missing: Whether missing data are no problem; a workload that lacks none is set up and tried.
    """
    if found := _unchosen(suite):
        return found
    optimizers: dict[str, dict[str, RunSpec]] = {}  # one run per workload, whatever its seed
    workloads: dict[str, RunSpec] = {}
    for spec in suite.specs:
        workloads.setdefault(spec.workload_label, spec)
        content = [spec.method, spec.optimizer.model_dump(mode="json"), list(spec.schedule)]
        optimizers.setdefault(canonical_json(content), {}).setdefault(spec.workload_label, spec)
    for spec in workloads.values():
        subject = Subject.of_workload(spec, suite.source)
        own = parameter_problems(subject)
        if not own and spec.synthetic and not subject.factory.code.synthetic:
            own = [subject.location("synthetic").problem(f"{spec.workload.target} cannot make up its data", "true")]
        if not may_be_missing and not own and not spec.synthetic:
            own = _missing_data(subject, data)
        found += own
    usable = not found
    set_up: dict[str, Task | None] = {}

    def task(spec: RunSpec) -> Task | None:
        if usable and spec.workload_label not in set_up:
            set_up[spec.workload_label] = task_of(spec, data)
        return set_up.get(spec.workload_label)

    alike = [[*of_workloads.values()] for of_workloads in optimizers.values()]
    for specs in alike:
        subject = Subject.of_optimizer(specs[0], suite.source)
        own = parameter_problems(subject) or optimizer_problems(subject, specs[0], functools.partial(task, specs[0]))
        if not own and usable and any(depends_on_model(subject, spec) for spec in specs):
            own = [
                each
                for spec in specs
                if (its_own := task(spec)) is not None
                for each in workload_problems(Subject.of_optimizer(spec, suite.source), spec, its_own)
            ]
        found += own
    for spec in suite.specs:
        found += [each for each in execution_problems(spec, suite.source) if each not in found]
    found += diagnostics_problems(suite, [specs[0] for specs in alike])
    if not found:
        lacking = {subject.workload for subject in _with_real_data(suite) if _missing_data(subject, data)}
        runs = [spec for spec in suite.specs if spec.workload_label not in lacking]
        found += trial_problems(runs, suite.source, data)
    return in_order(found)


def remarks(suite: Suite) -> list[Problem]:
    """Return what is to be said of the methods of a suite that has no problems, before its first run."""
    specs = {spec.method: spec for spec in suite.specs}.values()
    return [each for spec in specs for each in uncalled(Subject.of_optimizer(spec, suite.source), spec)]


def missing_data(suite: Suite, data: Path) -> list[Problem]:
    """Return which data are missing: per workload, where they were looked for and how to get them."""
    return [problem for subject in _with_real_data(suite) for problem in _missing_data(subject, data)]


def _with_real_data(suite: Suite) -> list[Subject]:
    """Return the workloads of a suite that do not make up their data."""
    specs = {spec.workload_label: spec for spec in suite.specs if not spec.synthetic}
    return [Subject.of_workload(spec, suite.source) for spec in specs.values()]


def prepare(suite: Suite, data: Path) -> Iterator[str]:
    """Download and verify the data of every workload that does not make up its own.

    Args:
        suite: The suite.
        data: The folder in which data sets lie, or are to lie.

    Yields:
        The label of each workload, once its data is there.

    Raises:
        BadInputError: A workload or its parameters cannot be used, or data cannot be had.
    """
    subjects = _with_real_data(suite)
    if found := [problem for subject in subjects for problem in parameter_problems(subject)]:
        raise BadInputError(in_order(found))
    for subject in subjects:
        _, text = called(functools.partial(subject.factory.call, "prepare", data))
        if text:
            raise BadInputError([subject.location().problem(f"data cannot be prepared: {text}")])
        yield subject.workload


def _unchosen(suite: Suite) -> list[Problem]:
    """Return that values are still to be chosen: a problem with the first of them."""
    for workload, of_methods in suite.spaces.items():
        for method, space in of_methods.items():
            if any(spec.method == method and spec.workload_label == workload for spec in suite.specs):
                location = suite.source.find(method=method, workload=workload, name=next(iter(space)))
                return [location.problem("is still to be chosen: `benchbench tune` writes a suite that can be run")]
    return []


def _missing_data(subject: Subject, data: Path) -> list[Problem]:
    missing, text = called(functools.partial(subject.factory.call, "missing", data))
    if text:
        return [subject.location().problem(f"cannot be checked for missing data: {text}")]
    return [subject.location().problem(str(missing))] if missing else []
