"""Training at matched compute: each method gets the epochs that one budget of gradients pays for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchbench.suite.yaml_source import Document
from benchbench.training.estimate import EvaluationCounts
from benchbench.tuning.writer import renamed, with_comments, with_files_from
from benchbench.values import RunSpec
from benchbench.values.prices import ASSUMPTION, counted, unit_name

Pair = tuple[str, str]
"""Labels of a workload and a method."""

_IN_EPOCHS = ("milestones", "warmup_epochs")
"""Settings of schedules that count epochs."""


def price(asked: EvaluationCounts) -> float:
    """Return what a step costs in GC (FLOPs), of which only the numbers of gradients and products are known."""
    return counted(asked.gradients, asked.hvps, "flops").amount


def epochs_at(spec: RunSpec, gc_per_step: float) -> int:
    """Return the epochs that cost as much as the spec's would at one gradient a step: whole ones, at least one."""
    return max(1, math.floor(spec.epochs / gc_per_step + 0.5))


def matched_suite(
    suite: Document,
    specs: Mapping[Pair, RunSpec],
    prices: Mapping[Pair, float],
    out: Path,
    warn: Callable[[str], None] = lambda text: None,
) -> str:
    """Return the text of a suite file in which every method has its epochs by workload.

    Schedules that count epochs are scaled along: a drop of the learning rate comes at the same share of training.

    Args:
        suite: The suite's file.
        specs: A run of each workload and method.
        prices: What a step of each costs, as `price` returns it.
        out: Where the text will be written.
        warn: Told in one line when the comments of the suite are lost.
    """
    content = with_files_from(suite.data, Path(suite.file).parent, out.parent)
    for (workload, method), spec in specs.items():
        gc_per_step = prices[workload, method]
        epochs = epochs_at(spec, gc_per_step)
        if epochs == spec.epochs:
            continue
        override = content["methods"][method].setdefault("overrides", {}).setdefault(workload, {})
        override["epochs"] = epochs
        scaled = {
            name: _scaled(each.model_dump(mode="json"), epochs / spec.epochs) for name, each in spec.schedule.items()
        }
        if any(name in each for each in scaled.values() for name in _IN_EPOCHS):
            override["schedule"] = scaled
    content["name"] = renamed(str(content["name"]), out, "matched")
    listed = "; ".join(f"{method} on {workload}: {gc:.4g}" for (workload, method), gc in prices.items())
    said = f"# Epochs at matched compute, by {unit_name('flops')} of a step, {ASSUMPTION}. {listed}"
    head = said.encode("unicode_escape").decode()
    return f"{head}\n{with_comments(suite, content, warn)}"


def _scaled(schedule: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """Return a schedule with what counts epochs in it multiplied, and without what is left at its default."""
    scaled = dict(schedule)
    for name in _IN_EPOCHS:
        value = scaled.get(name)
        if isinstance(value, list):
            scaled[name] = [float(f"{factor * each:.6g}") for each in value]
        elif value:
            scaled[name] = float(f"{factor * value:.6g}")
        else:
            scaled.pop(name, None)
    return scaled
