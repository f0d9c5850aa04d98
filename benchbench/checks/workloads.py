"""Workloads, set up and tried as a run would, before the first of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from benchbench import distribution
from benchbench.checks.conformance import workloads as conformance
from benchbench.checks.foreign_code import called
from benchbench.checks.subjects import Subject
from benchbench.plugins.names import plugins
from benchbench.problems import Problem, SourceMap
from benchbench.values import RunSpec
from benchbench.workloads import Setup
from benchbench.workloads.streams import Streams

_PATIENCE = 3.0
"""Seconds that one part of a trial may take."""


def trial_problems(specs: Sequence[RunSpec], source: SourceMap, data: Path) -> list[Problem]:
    """Return which promises the workloads of a suite break.

    What comes with benchbench keeps them, and is not set up unless a batch or a part of one has a single example.

    Args:
        specs: Runs without other problems.
        source: Where they are in the suite.
        data: The folder in which data sets lie; nothing is missing there.
    """
    found: list[Problem] = []
    tried: dict[str, set[tuple[object, ...]]] = {}
    for spec in specs:
        execution = spec.execution
        sizes = spec.batch_size, execution.accumulate, execution.ranks, execution.batch_norm, execution.drop_last
        known = tried.setdefault(spec.workload_label, set())
        if sizes in known:
            continue
        subject = Subject("workload", spec.workload, source, spec.method, spec.workload_label)
        only_sizes = bool(known) or _is_ours(subject)
        known.add(sizes)
        if not subject.factory.code.trial:
            continue
        examples = _examples(subject, spec, data)
        if execution.drop_last and examples is not None and examples < spec.batch_size:
            message = f"{examples} training examples make no batch of {spec.batch_size}"
            found.append(subject.location("drop_last").problem(message, "true"))
            continue
        least, _ = conformance.smallest_part(spec, spec.batch_size if examples is None else examples)
        if least == 1 or not only_sizes:
            found += _broken(subject, spec, data, only_sizes=only_sizes)
    return list(dict.fromkeys(found))


def _broken(subject: Subject, spec: RunSpec, data: Path, *, only_sizes: bool) -> Iterator[Problem]:
    only = [conformance.SMALLEST] if only_sizes else None
    verdicts, text = called(lambda: list(conformance.verdicts(spec, data, patience=_PATIENCE, only=only)))
    if text:
        yield subject.location().problem(f"{spec.workload.target} cannot be tried: {text}")
    for verdict in verdicts if isinstance(verdicts, list) else ():
        if verdict.grade == "FAIL":
            is_size = verdict.promise == conformance.SMALLEST
            remedy = ": set `drop_last: true`, or another `batch_size`" if is_size else ""
            location = subject.location("batch_size" if is_size else subject.kind)
            yield location.problem(f"{spec.workload.target}: {verdict.reason}{remedy}")


def _is_ours(subject: Subject) -> bool:
    """Return whether a workload, and all that it names, come with benchbench."""
    found = [plugins(kind).get(name) for kind, name in subject.factory.plugins()]
    return all(plugin is not None and plugin.distribution == distribution.NAME for plugin in found)


def _examples(subject: Subject, spec: RunSpec, data: Path) -> int | None:
    """Return the number of training examples where it is known without reading the data."""
    setup = Setup(torch.device("cpu"), spec.batch_size, Streams(spec.seed), spec.protocol, data, spec.synthetic)
    count, _ = called(lambda: subject.factory.call("examples", setup))
    return count if isinstance(count, int) else None
