"""Several submissions as one comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchbench.leaderboard.submission import StoredRun, Submission
from benchbench.reporting.joint import join
from benchbench.values import Component, RunSpec, Suite


@dataclass(frozen=True)
class Entry:
    """A run as the site shows it.

    Attributes:
        key: The run's key.
        spec: Its spec, under the labels that it has among all submissions.
        stored: What it left, or `None` where it has not been run.
        submission: Name of the submission it is shown from.
    """

    key: str
    spec: RunSpec
    stored: StoredRun | None
    submission: str


def merge(submissions: Sequence[Submission]) -> tuple[Suite, list[Entry]]:
    """Return all workloads and methods as one suite, and its runs.

    Workloads with equal labels that differ are told apart as in joint reports. A method whose label stands for other
    settings on the same workload in an earlier submission gets the name of its submission. A run that several
    submissions hold is shown once, from the first of them.

    Args:
        submissions: The submissions, at least one, with names of their own.
    """
    suites = _distinct([each.suite.model_copy(update={"name": each.name}) for each in submissions])
    joined = join(suites)
    held: dict[str, tuple[StoredRun, str]] = {}
    for submission in submissions:
        for key, run in submission.runs.items():
            held.setdefault(key, (run, submission.name))
    entries = []
    for spec in joined.specs:
        stored, name = held.get(key := spec.key, (None, spec.suite))
        entries.append(Entry(key, spec, stored, name))
    return joined, entries


def _distinct(suites: Sequence[Suite]) -> list[Suite]:
    """Return the suites with those methods renamed whose label is taken by other settings."""
    taken: dict[tuple[str, str], str] = {}
    renamed = []
    for suite in suites:
        meanings = {method.label: _meanings(suite, method.label) for method in suite.methods}
        labels = {
            label: f"{label} ({suite.name})" if any(taken.get(at, is_) != is_ for at, is_ in found.items()) else label
            for label, found in meanings.items()
        }
        for found in meanings.values():
            for at, is_ in found.items():
                taken.setdefault(at, is_)
        methods = tuple(method.model_copy(update={"label": labels[method.label]}) for method in suite.methods)
        specs = tuple(
            spec.model_copy(update={"method": labels[spec.method], "suite": suite.name}) for spec in suite.specs
        )
        renamed.append(suite.model_copy(update={"methods": methods, "specs": specs}))
    return renamed


def _meanings(suite: Suite, label: str) -> dict[tuple[str, str], str]:
    """Return what a method's settings are on each workload: hashes that leave out the seed."""
    blank = {"seed": 0, "optimizer": Component(target=""), "schedule": {}, "create_graph": None}
    first = {spec.workload_label: spec for spec in reversed(suite.specs) if spec.method == label}
    return {
        (label, spec.model_copy(update=blank).key): spec.model_copy(update={"seed": 0}).key for spec in first.values()
    }
