"""What second derivatives cost: ratios of times, each to its own baseline in the same process.

The variants of one model take turns, the order reversed every second round; each figure is the median over the rounds
of variant / baseline in the same round. By floating-point operations alone, a gradient with a Hessian-vector product
would cost 3.0 gradients, a SASSHA step with a Hessian every 10 steps 2.2 and an AdaHessian step 3.0 SGD steps.

    python benchmarks/second_order.py --rounds 9 --models resnet20 resnet32 gpt
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor
from torch.optim import SGD

sys.path.insert(0, str(Path(__file__).parent.parent))

from baselines.adahessian import AdaHessian
from benchbench.optim import objective as objectives
from benchbench.optim.objective import Objective
from benchmarks import models
from benchmarks.figures import show
from sassha import SASSHA

Run = Callable[[], object]

TARGETS = {
    ("resnet20", "gradient + product"): 3.5,
    ("resnet32", "gradient + product"): 3.5,
    ("gpt", "gradient + product"): 3.4,
    ("resnet32", "SASSHA step, k = 10"): 2.35,
    ("gpt", "SASSHA step, k = 10"): 2.38,
    ("resnet32", "AdaHessian step"): 3.6,
}
PERIOD = 10
"""Steps between two Hessians of SASSHA; a run of an optimizer is one period."""


def without_routes(run: Run) -> Run:
    """Return `run` with torch's own second derivatives."""

    def call() -> None:
        routes = objectives.FastSecondDerivatives
        objectives.FastSecondDerivatives = nullcontext  # type: ignore[assignment, misc]
        try:
            run()
        finally:
            objectives.FastSecondDerivatives = routes  # type: ignore[misc]

    return call


def evaluations(loss: Callable[[], Tensor], parameters: list[Tensor]) -> dict[str, Run]:
    probe = [[torch.randn_like(p).sign() for p in parameters]]

    def gradient() -> None:
        Objective(loss, parameters)()

    def product() -> None:
        Objective(loss, parameters).with_hvp(probe)

    return {
        "gradient": gradient,
        "gradient + product": product,
        "the same, torch's own": without_routes(product),
    }


def steps(loss: Callable[[], Tensor], parameters: list[Tensor], name: str) -> dict[str, Run]:
    def period(optimizer: torch.optim.Optimizer, count: int) -> Run:
        def run() -> None:
            for _ in range(count):
                optimizer.step(Objective(loss, parameters))  # type: ignore[arg-type]

        return run

    # A learning rate of zero: every round sees the same network.
    runs = {
        "SGD step": period(SGD(parameters, lr=0.0, momentum=0.9), PERIOD),
        "SASSHA step, k = 10": period(SASSHA(parameters, lr=0.0, lazy_hessian=PERIOD), PERIOD),
    }
    if name != "gpt":
        runs["AdaHessian step"] = period(AdaHessian(parameters, lr=0.0), PERIOD)
    return runs


def seconds(run: Run) -> float:
    # CPU time, in one thread: the time slices of other processes do not count.
    started = time.process_time()
    run()
    return time.process_time() - started


def compare(name: str, runs: dict[str, Run], rounds: int) -> None:
    """Print the ratio of every run to the first."""
    base, *others = runs
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {label: [] for label in runs}
    for index in range(rounds):
        for label in reversed(runs) if index % 2 else runs:
            times[label].append(seconds(runs[label]))
    for label in others:
        ratios = [a / b for a, b in zip(times[label], times[base], strict=True)]
        low, median, high = statistics.quantiles(ratios)
        show(f"{label} / {base}, {name}", (median, low, high), at_most=TARGETS.get((name, label)))


def peak(name: str, label: str) -> None:
    """Print by how much one evaluation raises the peak memory of this process, in MiB."""
    model, loss = models.build(name)
    run = evaluations(loss, list(model.parameters()))[label]
    before = high_water()
    run()
    print(high_water() - before)


def high_water() -> float:
    """Return the largest resident memory of this process so far, in MiB (Linux)."""
    # Not getrusage: what it reports can be that of the process that started this one.
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1]) / 1024


def compare_memory(name: str) -> None:
    """Print the peak memory of each evaluation, each in a process of its own."""
    found = {}
    for label in ("gradient", "gradient + product", "the same, torch's own"):
        command = [sys.executable, __file__, "--peak", name, label]
        shown = subprocess.run(command, capture_output=True, text=True, check=True)
        found[label] = float(shown.stdout)
    print(f"peak memory, {name}: " + ", ".join(f"{label} {mebibytes:.0f} MiB" for label, mebibytes in found.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description="Ratios of the times of second-order evaluations and steps.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--models", nargs="+", default=["resnet20", "resnet32", "gpt"])
    parser.add_argument("--only", choices=["evaluations", "steps", "memory"])
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.peak:
        peak(*arguments.peak)
        return
    for name in arguments.models:
        model, loss = models.build(name)
        parameters: list[Tensor] = list(model.parameters())
        if arguments.only in (None, "evaluations"):
            compare(name, evaluations(loss, parameters), arguments.rounds)
        if arguments.only in (None, "steps") and name != "resnet20":
            compare(name, steps(loss, parameters, name), max(3, arguments.rounds // 3))
        if arguments.only in (None, "memory"):
            compare_memory(name)


if __name__ == "__main__":
    main()
