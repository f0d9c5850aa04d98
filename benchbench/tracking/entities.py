"""Specs and results as MLflow's parameters, metrics and tags, and back."""

from __future__ import annotations

import json
import math
import sys
import time
from typing import TYPE_CHECKING, TypeVar

from benchbench.values import (
    CONCLUSIVE,
    Cost,
    EpochRecord,
    Frozen,
    Memory,
    Metrics,
    RunResult,
    RunSpec,
    canonical_json,
)

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run


_T = TypeVar("_T")
TAG = "benchbench."
LONGEST_TEXT = 4000


def parameters(spec: RunSpec) -> dict[str, object]:
    """Return what of a spec MLflow shows as parameters."""
    return {
        "workload": spec.workload.target,
        "optimizer": spec.optimizer.target,
        "seed": spec.seed,
        "epochs": spec.epochs,
        "batch_size": spec.batch_size,
        **{f"optimizer.{name}": value for name, value in spec.optimizer.parameters.items()},
        **{f"workload.{name}": value for name, value in spec.workload.parameters.items()},
        **{f"schedule.{name}": value.model_dump_json() for name, value in spec.schedule.items()},
    }


def epoch_metrics(record: EpochRecord) -> list[Metric]:
    """Return what a run recorded after an epoch, by epoch."""
    values = {**record.metrics, **_cost_metrics(record.cost)}
    return [metric(name, value, record.epoch) for name, value in values.items()]


def result_metrics(result: RunResult) -> Metrics:
    """Return the numbers of a result."""
    return {
        **{f"final/{name}": value for name, value in result.final.items()},
        **{f"best/{name}": value for name, value in result.best.items()},
        **{f"memory/{name}": float(value) for name, value in result.memory.model_dump(exclude_none=True).items()},
        **({} if result.gc_measured is None else {"cost/gc_measured": result.gc_measured}),
    }


def _cost_metrics(cost: Cost) -> Metrics:
    return {f"cost/{name}": float(value) for name, value in cost.model_dump().items()}


def result_tags(result: RunResult) -> dict[str, object]:
    """Return what of a result is no number."""
    return {
        f"{TAG}outcome": result.outcome,
        f"{TAG}message": result.message,
        f"{TAG}selection_metric": result.selection_metric,
        f"{TAG}higher_is_better": result.higher_is_better,
        f"{TAG}epochs": result.epochs,
        f"{TAG}best_epoch": result.best_epoch,
        f"{TAG}unmetered": result.unmetered,
        f"{TAG}sharpness_settings": result.sharpness_settings,
        f"{TAG}sharpness_missing": result.sharpness_missing,
        **{f"{TAG}environment.{name}": value for name, value in result.environment.items()},
    }


def has_ended(run: Run) -> bool:
    """Return whether a run of MLflow has a result."""
    return run.data.tags.get(f"{TAG}outcome") not in (None, "running")


def is_conclusive(run: Run) -> bool:
    """Return whether a run of MLflow has answered what it asked."""
    return run.data.tags.get(f"{TAG}outcome") in CONCLUSIVE


def read_result(run: Run) -> RunResult:
    """Return the result that was written as a run of MLflow."""
    tags = {name.removeprefix(TAG): value for name, value in run.data.tags.items() if name.startswith(TAG)}
    metrics = {name: _as_written(value) for name, value in run.data.metrics.items()}
    return RunResult.model_validate(
        {
            "key": tags["key"],
            "outcome": tags["outcome"],
            "message": tags.get("message", ""),
            "selection_metric": tags.get("selection_metric", ""),
            "higher_is_better": json.loads(tags.get("higher_is_better", "null")),
            "epochs": tags.get("epochs", 0),
            "best_epoch": tags.get("best_epoch", 0),
            "final": _below("final/", metrics),
            "best": _below("best/", metrics),
            "cost": _fields(Cost, _below("cost/", metrics)),
            "gc_measured": metrics.get("cost/gc_measured"),
            "unmetered": tags.get("unmetered", ""),
            "sharpness_settings": tags.get("sharpness_settings", ""),
            "sharpness_missing": tags.get("sharpness_missing", ""),
            "memory": _fields(Memory, _below("memory/", metrics)),
            "environment": _below("environment.", tags),
        }
    )


def _as_written(value: float) -> float:
    """Undo what SQL stores do to an infinite metric: they keep the largest number instead."""
    largest = sys.float_info.max
    return math.copysign(math.inf, value) if abs(value) >= largest else value


def _below(prefix: str, values: dict[str, _T]) -> dict[str, _T]:
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


def _fields(model: type[Frozen], values: Metrics) -> Metrics:
    return {name: value for name, value in values.items() if name in model.model_fields}


def metric(name: str, value: float, step: int) -> Metric:
    """Return a number as MLflow's metric, recorded now."""
    from mlflow.entities import Metric

    return Metric(name, value, int(time.time() * 1000), step)


def text(value: object) -> str:
    """Return a value as text that a tag or a parameter can hold."""
    written = value if isinstance(value, str) else canonical_json(value)
    return written[:LONGEST_TEXT]
