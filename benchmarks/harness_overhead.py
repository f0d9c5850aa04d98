"""What the harness costs: its training run against a bare loop on the same model, data and optimizer.

Both train, evaluate after every epoch and keep the mean training loss; the harness also counts cost, applies a
schedule, derives random streams and writes its files. They take turns in this process, the order reversed every second
round; the figure is the median over the rounds of the ratio harness / bare.

    python benchmarks/harness_overhead.py --rounds 15
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from figures import show

from benchbench.plugins.factories import Factory
from benchbench.runs.folder import RunFolder
from benchbench.training.trainer import run_in_folder
from benchbench.values import Component, MultiStep, RunSpec
from benchbench.workloads import Setup
from benchbench.workloads.streams import Streams

CPU = torch.device("cpu")
RATIO_TARGETS = {"digits-resnet8": 1.02}
STEP_TARGETS = {"digits-mlp": 0.3}
"""Milliseconds: a step of the perceptron is so short that a ratio says little."""


def spec_of(workload: str, epochs: int) -> RunSpec:
    return RunSpec(
        suite="overhead",
        method="SGD",
        workload_label=workload,
        workload=Component(target=workload),
        optimizer=Component(target="sgd", parameters={"lr": 0.05, "momentum": 0.9}),
        epochs=epochs,
        batch_size=128,
        schedule={"lr": MultiStep(milestones=(epochs / 2,))},
        seed=0,
    )


def bare(spec: RunSpec) -> None:
    """Train as a script would: nothing but torch."""
    streams = Streams(spec.seed)
    torch.manual_seed(streams.seed("init"))
    task = Factory("workload", spec.workload).build_task(Setup(CPU, spec.batch_size, streams))
    optimizer = torch.optim.SGD(task.model.parameters(), lr=0.05, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [spec.epochs // 2])
    for epoch in range(1, spec.epochs + 1):
        loss_sum = torch.zeros(())
        for batch in task.batches(epoch):
            optimizer.zero_grad()
            loss = task.loss(batch)
            loss.backward()
            optimizer.step()
            loss_sum += loss.detach()
        scheduler.step()
        loss_sum.item()
        task.evaluate("validation")
        task.evaluate("test")


def harness(spec: RunSpec) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = RunFolder(Path(folder))
        files.prepare(spec)
        result = run_in_folder(spec, CPU, files)
        assert result.outcome == "finished", result.message


def seconds(run: Callable[[RunSpec], None], spec: RunSpec) -> float:
    started = time.perf_counter()
    run(spec)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description="Ratio of the harness to a bare training loop.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--epochs", type=int, default=4)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for workload in ("digits-resnet8", "digits-mlp"):
        spec = spec_of(workload, arguments.epochs)
        pair = (harness, bare)
        for run in pair:
            run(spec)
        times: dict[Callable[[RunSpec], None], list[float]] = {run: [] for run in pair}
        for index in range(arguments.rounds):
            for run in pair if index % 2 else reversed(pair):
                times[run].append(seconds(run, spec))
        ratios = [a / b for a, b in zip(times[harness], times[bare], strict=True)]
        steps = spec.epochs * 10
        extra = statistics.median(a - b for a, b in zip(times[harness], times[bare], strict=True)) / steps
        low, median, high = statistics.quantiles(ratios)
        show(f"harness / bare loop, {workload}", (median, low, high), at_most=RATIO_TARGETS.get(workload))
        show(f"what the harness adds to a step, {workload}", 1e3 * extra, " ms", at_most=STEP_TARGETS.get(workload))


if __name__ == "__main__":
    main()
