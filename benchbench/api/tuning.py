"""Choosing hyperparameters."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from benchbench import suite as suites
from benchbench.api.engines import EngineOptions, engine_of
from benchbench.api.suites import check
from benchbench.api.workspace import HERE, Workspace
from benchbench.distribution import own_version
from benchbench.problems import BadInputError, Problem
from benchbench.values import RunSpec, Suite, Tuning

if TYPE_CHECKING:
    from benchbench.scheduling.runner import Observer
    from benchbench.suite.yaml_source import Document
    from benchbench.tuning.study import StudyStatus
    from benchbench.tuning.tuner import Tuner


def tune(
    suite: Suite,
    *,
    engine: str = "local",
    workspace: Workspace = HERE,
    observe: Observer = lambda event: None,
    warn: Callable[[str], None] = lambda text: None,
    **options: Unpack[EngineOptions],
) -> list[StudyStatus]:
    """Search the hyperparameters of a suite to the end of its budget, and train the best again on other seeds.

    What an earlier call has done is not repeated. No run of it reads test data.

    Args:
        suite: A suite with search spaces and a section `tuning`.
        engine: As for `run`.
        workspace: Where results are tracked, runs leave their files, and data sets are.
        observe: Called with every event.
        warn: Called with one line for whatever goes wrong outside the runs.
        **options: As for `run`.

    Returns:
        The status of each search.

    Raises:
        BadInputError: The suite cannot be tuned; no run was started.
        EngineError: The engine cannot be used.
        TrackingError: The tracking store cannot be used.
        KeyboardInterrupt: On Ctrl-C or SIGTERM, after everything has been put in order.
    """
    tuner = _tuner(suite, workspace)
    check(_samples(suite, tuner), workspace=workspace)
    chosen = engine_of(suite, engine, **options)
    try:
        return tuner.run(chosen, workspace.data, observe, warn)
    finally:
        chosen.stop()


def tuning_state(suite: Suite, *, workspace: Workspace = HERE) -> list[StudyStatus]:
    """Return the status of every search of a suite. Runs nothing.

    Args:
        suite: A suite with search spaces and a section `tuning`.
        workspace: Where results are tracked and runs leave their files.

    Raises:
        BadInputError: The suite cannot be tuned.
        TrackingError: The tracking store cannot be read.
    """
    return _tuner(suite, workspace).statuses()


def write_tuned(
    path: str | Path,
    statuses: Sequence[StudyStatus],
    out: Path,
    *,
    overrides: Sequence[str] = (),
    warn: Callable[[str], None] = lambda text: None,
) -> None:
    """Write a suite file with what was chosen, ready for `run`.

    Args:
        path: The suite that was tuned: its file, or the name of a bundled one.
        statuses: The status of its searches.
        out: The file to write.
        overrides: The changes with which the suite was loaded.
        warn: Told in one line when the comments of the suite are lost.

    Raises:
        BadInputError: A search has no winner, or the file cannot be written.
    """
    from benchbench.tuning.writer import tuned_suite

    without = [f"{each.study.method} on {each.study.workload}" for each in statuses if each.winner is None]
    if without:
        raise BadInputError([Problem(f"no trial has come to a result: {', '.join(without)}", file=str(out))])
    document = _source(path, overrides, out)
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    _write(out, tuned_suite(document, statuses, out, version=own_version(), date=today, warn=warn))


def write_matched(
    path: str | Path,
    suite: Suite,
    out: Path,
    *,
    overrides: Sequence[str] = (),
    warn: Callable[[str], None] = lambda text: None,
) -> None:
    """Write a suite file in which every method trains for as many epochs as the same gradients pay for.

    What a step of a method takes is found on a problem of a few numbers. Values may still be to be searched.

    Args:
        path: The suite: its file, or the name of a bundled one.
        suite: The same, loaded.
        out: The file to write.
        overrides: The changes with which the suite was loaded.
        warn: Told in one line when the comments of the suite are lost.

    Raises:
        BadInputError: What a method takes cannot be found out, it is swept, or the file cannot be written.
    """
    from benchbench.plugins.factories import Factory
    from benchbench.training.estimate import evaluations
    from benchbench.tuning.matching import matched_suite, price

    specs: dict[tuple[str, str], RunSpec] = {}
    for spec in suite.specs:
        specs.setdefault((spec.workload_label, spec.method), spec)
    asked = {pair: evaluations(Factory("optimizer", spec.optimizer), spec.create_graph) for pair, spec in specs.items()}
    found = [
        suite.source.find(method=each.label).problem("a swept method has no epochs of its own: list its combinations")
        for each in suite.methods
        if each.swept
    ]
    found += [
        suite.source.find(method=method).problem("what a step takes cannot be found out on a problem of a few numbers")
        for (_, method), each in asked.items()
        if each is None
    ]
    if found:
        raise BadInputError(list(dict.fromkeys(found)))
    document = _source(path, overrides, out)
    prices = {pair: price(each) for pair, each in asked.items() if each is not None}
    _write(out, matched_suite(document, specs, prices, out, warn))


def _source(path: str | Path, overrides: Sequence[str], out: Path) -> Document:
    """Return a suite's file, its content changed as asked for.

    Raises:
        BadInputError: It is the file to write.
    """
    from benchbench.suite import changes, yaml_source

    file = suites.find(path)
    if out.exists() and out.samefile(file):
        raise BadInputError([Problem("is the suite itself: write to another file", file=str(out))])
    document = yaml_source.read(file)
    changes.apply(document, overrides)
    return document


def _write(out: Path, text: str) -> None:
    try:
        out.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise BadInputError([Problem(f"cannot be written: {error.strerror}", file=str(out))]) from None


def _tuner(suite: Suite, workspace: Workspace) -> Tuner:
    from benchbench.tuning.tuner import Tuner, studies

    return Tuner(suite, studies(suite, _settings(suite)), workspace.tracker(), workspace.runs_dir)


def _settings(suite: Suite) -> Tuning:
    """Return how the suite wants to be tuned.

    Raises:
        BadInputError: It does not say so, there is nothing to search, or a grid is too large.
    """
    from benchbench.tuning.samplers import LARGEST_GRID
    from benchbench.tuning.spaces import grid_size

    location = suite.source.find()
    if suite.tuning is None:
        message = "nothing says how to tune: a section such as `tuning: {budget: {trials: 20}}` is required"
        raise BadInputError([replace(location, field="tuning").problem(message)])
    if not suite.spaces:
        message = "nothing to tune: no method has a search space, such as `search: {lr: {log_uniform: [1e-3, 1]}}`"
        raise BadInputError([replace(location, field="methods").problem(message)])
    for of_methods in suite.spaces.values() if suite.tuning.sampler == "grid" else ():
        for method, space in of_methods.items():
            if (size := grid_size(space, suite.tuning.grid_points)) > LARGEST_GRID:
                message = f"a grid of {size:,} points; at most {LARGEST_GRID:,} are allowed"
                raise BadInputError([suite.source.find(method=method).problem(message)])
    return suite.tuning


def _samples(suite: Suite, tuner: Tuner) -> Suite:
    """Return a suite with a run for the ends of every interval and for every choice, to be checked beforehand."""
    from benchbench.tuning.spaces import extremes

    specs = tuple(
        spec.model_copy(update={"method": study.method, "seed": suite.seeds[0]})
        for study in tuner.studies
        for values in extremes(study.space)
        for spec in study.specs(0, values, suite.seeds[:1])
    )
    return suite.model_copy(update={"spaces": {}, "specs": specs}).with_source(suite.source)
