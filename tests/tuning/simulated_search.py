"""Searches over functions instead of runs: results are made up from what is tried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchbench.tuning.study import Study, StudyStatus, status_of
from benchbench.values import Cost, RunResult, RunSpec, Space, Tuning
from tests.helpers.specs import run_spec

METRIC = "validation/accuracy"


def study(space: dict[str, dict[str, Any]], tuning: dict[str, Any]) -> Study:
    template = run_spec(workload="line", parameters={})
    spaces = {name: Space.model_validate(each) for name, each in space.items()}
    return Study(template, spaces, Tuning.model_validate(tuning))


def result(spec: RunSpec, value: float, gradients: float = 100, **changes: Any) -> RunResult:
    said = {
        "outcome": "finished", "selection_metric": METRIC, "higher_is_better": True, "final": {METRIC: value},
        "cost": Cost(steps=100, gradients=int(gradients), train_seconds=gradients / 50),
    }  # fmt: skip
    return RunResult.model_validate({"key": spec.key, **said, **changes})


def search(
    one: Study, answer: Callable[[RunSpec], RunResult], at_a_time: int | None = None
) -> tuple[StudyStatus, list[RunSpec]]:
    """Run a search to its end, some of the pending runs at a time; returns also the runs in their order."""
    known: dict[str, RunResult] = {}
    made: list[RunSpec] = []
    while pending := status_of(one, known).pending[:at_a_time]:
        assert not {spec.key for spec in pending} & known.keys()
        made += pending
        known |= {spec.key: answer(spec) for spec in pending}
    return status_of(one, known), made
