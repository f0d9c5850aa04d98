"""What SASSHA does besides differentiating: its time against a plain loop, and the memory of its steps.

Time: perturbing, restoring and updating, with gradients that are handed over ready-made, against Algorithm 1 written
as a loop over tensors, on the parameter lists of two networks of the paper. The two take turns in this process.

Memory: what a training step without a Hessian adds to the peak of its process, against a step of SAM on the same
network and batch, each in processes of its own.

    python benchmarks/optimizer_arithmetic.py --rounds 15
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from figures import ratio, show, time_in_turns
from models import resnet
from networks import images, resnet32_shapes, wide_resnet_shapes
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.sam import SAM
from benchbench.optim.objective import Objective, Vectors
from benchbench.processes.memory import process_peak
from sassha import SASSHA

NEVER_AGAIN = 10**9
LR, RHO, BETA1, BETA2, EPS, DECAY = 0.15, 0.1, 0.9, 0.999, 1e-4, 5e-4


class ReadyMade(Objective):
    """Hands over gradients that are there already, first the ones at x, then the ones at x~."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        super().__init__(lambda: torch.zeros(()), parameters)
        self._sets = [[torch.randn_like(p) for p in parameters] for _ in range(2)]
        self._calls = 0

    def __call__(self) -> Tensor:
        """Leave one of the two sets in `p.grad`."""
        for parameter, gradient in zip(self.parameters, self._sets[self._calls % 2], strict=True):
            parameter.grad = gradient
        self._calls += 1
        return torch.zeros(())

    def with_hvp(self, vectors: Sequence[Vectors]) -> tuple[Tensor, list[list[Tensor]]]:
        """Take the Hessian for the identity."""
        return self(), [list(vector) for vector in vectors]


class PlainLoop(torch.optim.Optimizer):
    """Algorithm 1 as a plain torch optimizer: tensor by tensor, the denominator computed in every step.

    Its exponent is a hyperparameter, as ours is and as it is in the released code.
    """

    def __init__(self, params: Sequence[Tensor]) -> None:
        defaults = {"lr": LR, "rho": RHO, "betas": (BETA1, BETA2), "eps": EPS, "weight_decay": DECAY, "power": 0.5}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Objective) -> None:
        """Make one step."""
        closure()
        for group in self.param_groups:
            norm = torch.stack([p.grad.norm() for p in group["params"]]).norm()
            for p in group["params"]:
                self.state[p]["offset"] = p.grad * (group["rho"] / (norm + 1e-12))
                p.add_(self.state[p]["offset"])
        closure()
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(self.state[p]["offset"])
        for group in self.param_groups:
            for p in group["params"]:
                self._update(p, group, self.state[p])

    def _update(self, p: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        if "step" not in state:
            state.update(step=0, exp_avg=torch.zeros_like(p), exp_hessian=torch.ones_like(p))
        state["step"] += 1
        beta1, beta2 = group["betas"]
        p.mul_(1 - group["lr"] * group["weight_decay"])
        state["exp_avg"].mul_(beta1).add_(p.grad, alpha=1 - beta1)
        correction = (1 - beta2 ** state["step"]) ** group["power"]
        denominator = state["exp_hessian"].abs() ** group["power"] / correction + group["eps"]
        p.addcdiv_(state["exp_avg"], denominator, value=-group["lr"] / (1 - beta1 ** state["step"]))


def arithmetic(name: str, shapes: Sequence[tuple[int, ...]], target: float, rounds: int) -> None:
    ours, plain = ([nn.Parameter(torch.randn(shape)) for shape in shapes] for _ in range(2))
    optimizer = SASSHA(ours, LR, rho=RHO, betas=(BETA1, BETA2), weight_decay=DECAY, lazy_hessian=NEVER_AGAIN)
    loop = PlainLoop(plain)
    gradients, same = ReadyMade(ours), ReadyMade(plain)
    variants = {"ours": lambda: optimizer.step(gradients), "loop": lambda: loop.step(same)}
    numbers = sum(parameter.numel() for parameter in ours)
    seconds = time_in_turns(variants, rounds=rounds, repeats=max(1, 2 * 10**7 // numbers), warmup=3)
    title = f"SASSHA's arithmetic / plain loop, {name} ({len(shapes)} tensors, {numbers / 1e6:.2f} M)"
    loop_ms = 1e3 * statistics.median(seconds["loop"])
    show(title, ratio(seconds, "ours", "loop"), at_most=target, note=f", loop {loop_ms:.2f} ms")


def resident() -> int:
    """Return the resident memory of this process, in bytes (Linux)."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def peak_of_steps(method: str) -> int:
    """Return what some steps without a Hessian add to the peak of this process, in bytes."""
    torch.manual_seed(0)
    model, inputs_labels = resnet(32), images(64)
    few = [tensor[:2] for tensor in inputs_labels]
    optimizer = (
        SAM(model.parameters(), lr=0.1, momentum=0.9)
        if method == "SAM"
        else SASSHA(model.parameters(), LR, lazy_hessian=NEVER_AGAIN)
    )

    def step(inputs: Tensor, labels: Tensor) -> None:
        optimizer.step(lambda: F.cross_entropy(model(inputs), labels))

    step(*few)  # with the Hessian, on two images
    before = resident()
    for _ in range(3):
        step(*inputs_labels)
    return process_peak() - before


def memory(repeats: int) -> None:
    # Freed blocks shall go back at once: what the allocator keeps differs from run to run by more than the methods do.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    peaks: dict[str, list[int]] = {"SAM": [], "SASSHA": []}
    for _ in range(repeats):
        for method, found in peaks.items():
            command = [sys.executable, __file__, "--peak-of", method]
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
            found.append(int(done.stdout))
    ratios = [ours / theirs for ours, theirs in zip(peaks["SASSHA"], peaks["SAM"], strict=True)]
    low, median, high = statistics.quantiles(ratios)
    sizes = ", ".join(f"{method} +{statistics.median(found) / 2**20:.0f} MiB" for method, found in peaks.items())
    title = "peak memory of a step without Hessian, SASSHA / SAM, ResNet-32"
    show(title, (median, low, high), at_most=1.10, note=f", {sizes}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Ratio of SASSHA's arithmetic to a plain loop, and its memory.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--peak-of", choices=("SAM", "SASSHA"), help="print the peak of this method and end")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.peak_of:
        print(peak_of_steps(arguments.peak_of))
        return
    arithmetic("ResNet-32", resnet32_shapes(), 0.30, arguments.rounds)
    arithmetic("WRN-28-10", wide_resnet_shapes(), 0.50, arguments.rounds)
    memory(repeats=3)


if __name__ == "__main__":
    main()
