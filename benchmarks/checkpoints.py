"""What a checkpoint costs, beside the training that it saves: `python benchmarks/checkpoints.py`."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import torch
from figures import show, time_in_turns

from benchbench.plugins.factories import Factories
from benchbench.runs.checkpoint import Checkpoints
from benchbench.training.steps import Training
from benchbench.values import Component, RunSpec
from benchbench.workloads import DATA

CPU = torch.device("cpu")
SECONDS_BETWEEN = 5
"""The least time between two checkpoints."""

SHARE = 1.0
"""Per cent of a run's time."""


def training_of(workload: str) -> Training:
    """Return a training of a bundled workload with AdamW, a step of it made."""
    spec = RunSpec(
        suite="checkpoints",
        method="AdamW",
        workload_label=workload,
        workload=Component(target=workload),
        optimizer=Component(target="adamw", parameters={"lr": 0.001}),
        epochs=1,
        batch_size=128,
        seed=0,
    )
    training = Training(spec, Factories.of(spec), CPU, DATA)
    training.step(next(iter(training.task.batches(1))))
    return training


def main() -> None:
    torch.set_num_threads(1)
    for workload in ("digits-mlp", "digits-resnet8"):
        training = training_of(workload)
        with tempfile.TemporaryDirectory() as folder:
            checkpoints = Checkpoints(Path(folder))
            save = {"save": lambda kept=checkpoints, made=training: kept.save(1, made.state_dict())}
            milliseconds = 1000 * statistics.median(time_in_turns(save, rounds=25)["save"])
        show(f"a checkpoint, {workload} with AdamW", milliseconds, " ms")
        share = milliseconds / 10 / SECONDS_BETWEEN
        show(f"checkpoints / run at most, {workload}", share, " %", at_most=SHARE)


if __name__ == "__main__":
    main()
