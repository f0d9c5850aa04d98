"""What a measurement of sharpness costs: against a training epoch, and how it grows with data and probes.

Everything is measured on the same network in one process, in turns; the figures are medians over the rounds of ratios
within a round. Data and probes are doubled: a ratio of 2 is linear growth, less is what is paid once.

    python benchmarks/sharpness.py --rounds 5
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from figures import ratio, show, time_in_turns

from benchbench.runs.folder import RunFolder
from benchbench.training.measurement import measure_run
from benchbench.training.trainer import run_in_folder
from benchbench.values import Component, RunSpec
from benchbench.values.sharpness import SharpnessSettings
from benchbench.values.sharpness.settings import EigenvalueSettings, TraceSettings

CPU = torch.device("cpu")
ITERATIONS = 5
PROBES = 10
GROWTH = 2.0
"""In time, with twice the examples or twice the probes."""


def spec_of(**sharpness: object) -> RunSpec:
    settings: dict[str, object] = {
        # So many iterations whatever the solution, or the amount of work would be a matter of luck.
        "eigenvalues": EigenvalueSettings(tolerance=1e-300, max_iterations=ITERATIONS),
        "trace": TraceSettings(products=PROBES),
        **sharpness,
    }
    return RunSpec(
        suite="sharpness",
        method="SGD",
        workload_label="digits",
        workload=Component(target="digits-resnet8"),
        optimizer=Component(target="sgd", parameters={"lr": 0.1, "momentum": 0.9}),
        epochs=1,
        batch_size=128,
        seed=0,
        sharpness=SharpnessSettings.model_validate(settings),
    )


def trace_alone(products: int) -> RunSpec:
    return spec_of(
        eigenvalues=EigenvalueSettings(tolerance=1e-300, max_iterations=1),
        trace=TraceSettings(products=products),
        radii=(0.1,),
        draws=1,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of a measurement of sharpness.")
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as path:
        folder = RunFolder(Path(path))
        folder.prepare(spec_of())
        run_in_folder(spec_of(), CPU, folder)
        measured = {
            "all": spec_of(),
            "half the data": spec_of(examples=512),
            "the data": spec_of(examples=1024),
            "half the probes": trace_alone(PROBES),
            "the probes": trace_alone(2 * PROBES),
        }
        variants: dict[str, Callable[[], object]] = {
            name: partial(measure_run, spec, CPU, folder) for name, spec in measured.items()
        }
        epochs: list[float] = []
        variants["epoch"] = lambda: epochs.append(run_in_folder(spec_of(), CPU, folder).cost.train_seconds)
        times = time_in_turns(variants, rounds=rounds, warmup=1)
        cost = measure_run(spec_of(), CPU, folder).epochs

    against = statistics.median(a / b for a, b in zip(times["all"], epochs[-rounds:], strict=True))
    show("measurement of sharpness / training epoch with SGD", against, note=f" in time, {cost:.3g} in gradients")
    show("measurement of 1,024 / of 512 examples", ratio(times, "the data", "half the data"), at_most=GROWTH)
    show(f"{2 * PROBES} / {PROBES} probes", ratio(times, "the probes", "half the probes"), at_most=GROWTH)


if __name__ == "__main__":
    main()
