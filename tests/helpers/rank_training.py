"""Trainings that ranks share, for tests: as a program, one of two ranks trains all cases and writes what it has."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed import distributed_c10d
from torch.utils.data import DataLoader

from benchbench.optim.execution.ranks import Ranks, joined
from benchbench.plugins.factories import Factories
from benchbench.training import rank_workers
from benchbench.training.steps import Training
from benchbench.values import Metrics
from benchbench.workloads import DATA, Setup, Workload
from tests.helpers.specs import run_spec

SIZES = (6, 5, 1)
"""Examples per batch: even shares, uneven ones, and one that is empty."""

RHO = 0.3

METHODS: dict[str, dict[str, Any]] = {
    "sgd": {"lr": 0.1, "momentum": 0.9},
    "sam": {"base": "sgd", "lr": 0.1, "rho": RHO},
    "adahessian": {"lr": 0.1},
    "sassha": {"lr": 0.1, "lazy_hessian": 2},
}

CASES: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    **{f"{method} mlp": (method, "mlp", {}, {}) for method in METHODS},
    **{f"{method} conv": (method, "conv", {}, {"batch_norm": "synchronised"}) for method in METHODS},
    "accumulated": ("sassha", "mlp", {}, {"accumulate": 2}),
    "clipped": ("sassha", "conv", {}, {"clip_norm": 0.1, "batch_norm": "synchronised"}),
    "per rank": ("sam", "mlp", {"per_rank": True}, {}),
    "per rank, curvature": ("sassha", "mlp", {"per_rank": True}, {}),
}


class SmallTask:
    """Regression on made-up images of 3x3 pixels, in double precision."""

    selection_metric = "loss"
    higher_is_better = False
    steps_per_epoch = len(SIZES)

    def __init__(self, model: nn.Module) -> None:
        self.model = model.double()

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(epoch)
        for size in SIZES:
            images = torch.randn(size, 1, 3, 3, generator=generator, dtype=torch.float64)
            yield images, images.square().mean((1, 2, 3))

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        images, targets = batch
        return (self.model(images).squeeze(1) - targets).square().mean()

    def evaluate(self, split: str) -> Metrics:
        return {"loss": 0.0}


def build_mlp(setup: Setup) -> SmallTask:
    """Perceptron."""
    return SmallTask(nn.Sequential(nn.Flatten(), nn.Linear(9, 4), nn.Tanh(), nn.Linear(4, 1)))


def build_conv(setup: Setup) -> SmallTask:
    """Convolution and batch norm."""
    head = nn.Linear(8, 1)
    return SmallTask(nn.Sequential(nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), nn.Tanh(), nn.Flatten(), head))


class DeadlyTask(SmallTask):
    """Ends the process of rank 1 in the second epoch."""

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        if epoch == 2 and torch.distributed.get_rank() == 1:
            os._exit(3)
        return super().batches(epoch)


def build_deadly(setup: Setup) -> SmallTask:
    """Perceptron whose rank 1 dies."""
    return DeadlyTask(build_mlp(setup).model)


class DeafTask(SmallTask):
    """Ends the process of rank 1 while rank 0 waits for something else, as for a device that waits for rank 1."""

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        rank_workers.LEAVE_SECONDS = 0.1
        if torch.distributed.get_rank() == 1:
            os._exit(3)
        time.sleep(600)
        return super().batches(epoch)


def build_deaf(setup: Setup) -> SmallTask:
    """Perceptron whose rank 1 dies, which rank 0 does not notice."""
    return DeafTask(build_mlp(setup).model)


class LoadingTask(SmallTask):
    """Has its batches made by a process of its own on every rank."""

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        yield from DataLoader(list(super().batches(epoch)), batch_size=None, num_workers=1)


def build_loading(setup: Setup) -> SmallTask:
    """Perceptron whose batches other processes make."""
    return LoadingTask(build_mlp(setup).model)


class FailingTask(SmallTask):
    """Raises in the evaluation, which rank 0 does alone."""

    def evaluate(self, split: str) -> Metrics:
        raise RuntimeError("this task cannot be evaluated")


def build_waiting(setup: Setup, *, folder: str, fails: bool = False) -> SmallTask:
    """Perceptron whose ranks wait for all others, without a limit, when they leave, as NCCL's do; each one tells."""
    destroy, abort = torch.distributed.destroy_process_group, distributed_c10d._abort_process_group
    here = Path(folder)

    def tell(what: str) -> None:
        ended = any(here.glob("runs/*/result.json"))
        (here / f"{what}-{torch.distributed.get_rank()}").write_text("result" if ended else "no result")

    def leave_together() -> None:
        tell("leave")
        while len(list(here.glob("leave-*"))) < torch.distributed.get_world_size():
            time.sleep(0.01)
        destroy()

    def leave_alone() -> None:
        tell("abort")
        abort()

    torch.distributed.destroy_process_group = leave_together
    distributed_c10d._abort_process_group = leave_alone
    return (FailingTask if fails else SmallTask)(build_mlp(setup).model)


mlp, conv, deadly = Workload(build_mlp), Workload(build_conv), Workload(build_deadly, trial=False)
loading = Workload(build_loading, trial=False)
waiting, deaf = Workload(build_waiting, trial=False), Workload(build_deaf, trial=False)


def training(case: str, ranks: Ranks | None) -> Training:
    """Return what a case trains."""
    method, workload, parameters, execution = CASES[case]
    fields = {"batch_size": max(SIZES), "execution": {**execution, "ranks": 2}}
    spec = run_spec(method, f"{__file__}:{workload}", parameters={**METHODS[method], **parameters}, **fields)
    with torch.random.fork_rng(devices=[]):
        return Training(spec, Factories.of(spec), torch.device("cpu"), DATA, ranks)


def trained(case: str, ranks: Ranks | None) -> dict[str, Any]:
    """Return losses, weights, statistics of the first batch's step and of all steps, and the counts."""
    made = training(case, ranks)
    losses = []
    states = []
    with torch.random.fork_rng(devices=[]):
        for batch in made.task.batches(1):
            losses.append(made.step(batch))
            states.append({name: value.clone() for name, value in made.task.model.state_dict().items()})
    return {
        "losses": torch.stack(losses),
        "first": states[0],
        "last": states[-1],
        "counts": made.state_dict()["counts"],
    }


def main(rank: int, folder: Path) -> None:
    """Train all cases as one of two ranks."""
    ranks = Ranks(rank, 2)
    with joined(ranks, folder / "store", torch.device("cpu")):
        found = {case: trained(case, Ranks(rank, 2)) for case in CASES}
    torch.save(found, folder / f"{rank}.pt")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
