"""What counting costs: steps with the ledger's meter on against the same steps with it off.

A small and a large step take turns in this process, with SGD (one call of autograd per step) and AdaHessian (whose
Hessian-vector products the meter tells from gradients, though behind the objective's back it would do more).

    python benchmarks/ledger.py --rounds 201
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import nullcontext

import torch
from figures import ratio, show, time_in_turns
from models import resnet
from networks import images
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.adahessian import AdaHessian
from benchbench.optim.execution.buffers import ModelBuffers
from benchbench.optim.ledger import Ledger
from benchbench.optim.objective import Objective

TARGET = 1.01


def stepper(
    model: nn.Module, optimizer: torch.optim.Optimizer, batch: tuple[Tensor, Tensor], *, metered: bool
) -> Callable[[], None]:
    ledger, parameters, buffers = Ledger(), list(model.parameters()), ModelBuffers(model.modules())
    inputs, labels = batch

    def step() -> None:
        objective = Objective(
            lambda: F.cross_entropy(model(inputs), labels), parameters, ledger=ledger, buffers=buffers
        )
        with ledger.metered() if metered else nullcontext():
            optimizer.step(objective)

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description="Ratio of steps with the ledger's meter on to steps with it off.")
    parser.add_argument("--rounds", type=int, default=201)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    small = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 64), nn.ReLU(), nn.Linear(64, 100))
    for name, model, count, repeats in (("perceptron", small, 128, 5), ("ResNet-8", resnet(8), 8, 1)):
        for make in (torch.optim.SGD, AdaHessian):
            optimizer = make(model.parameters(), lr=0.01)
            steps = {state: stepper(model, optimizer, images(count), metered=state == "on") for state in ("on", "off")}
            seconds = time_in_turns(steps, rounds=arguments.rounds, repeats=repeats)
            show(f"ledger on / off, {name}, {make.__name__}", ratio(seconds, "on", "off"), at_most=TARGET)


if __name__ == "__main__":
    main()
