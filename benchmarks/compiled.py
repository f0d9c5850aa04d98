"""What compiled gradients save: a SASSHA step with compiled gradients against the eager one, and SGD beside it.

A Hessian is taken every 10 steps; it stays eager in both. Compiling comes first, takes up to minutes and is not part of
the figures.

    python benchmarks/compiled.py --models gpt resnet20 --rounds 7
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchbench.optim.execution.buffers import ModelBuffers
from benchbench.optim.execution.compilation import CompiledLoss
from benchbench.optim.execution.parts import Part
from benchbench.optim.objective import Objective
from benchmarks import models
from benchmarks.figures import ratio, show, time_in_turns
from sassha import SASSHA

TARGETS = {"gpt": 0.88, "resnet20": 0.78}
PERIOD = 10


def period(
    optimizer: Optimizer, model: nn.Module, loss: Callable[[], Tensor], compiled: CompiledLoss | None
) -> Callable[[], None]:
    """Return one period of steps, the first of them with a Hessian."""
    buffers = ModelBuffers(model.modules(), hide=compiled is None)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    fast = None if compiled is None else lambda: compiled(None)

    def run() -> None:
        for _ in range(PERIOD):
            optimizer.step(Objective([Part(loss, fast)], parameters, buffers=buffers))  # type: ignore[arg-type]

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description="Ratio of steps with compiled gradients to eager ones.")
    parser.add_argument("--models", nargs="+", choices=list(TARGETS), default=list(TARGETS))
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.models:
        model, loss = models.build(name)
        compiled = CompiledLoss(lambda _, loss=loss: loss())
        # A learning rate of zero: every round sees the same network.
        variants = {
            f"{kind}, {label}": period(make(model.parameters(), lr=0.0), model, loss, fast)
            for label, make in (("SASSHA", SASSHA), ("SGD", SGD))
            for kind, fast in (("eager", None), ("compiled", compiled))
        }
        seconds = time_in_turns(variants, rounds=arguments.rounds)
        print(f"{name}: {compiled.account(hvps=1)}")
        for method, target in (("SASSHA", TARGETS[name]), ("SGD", None)):
            gain = ratio(seconds, f"compiled, {method}", f"eager, {method}")
            show(f"{method} step with compiled gradients / eager, {name}", gain, at_most=target)


if __name__ == "__main__":
    main()
