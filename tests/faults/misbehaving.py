"""Workloads that misbehave towards their machine; suites name them as `tests/faults/misbehaving.py:attribute`."""

from __future__ import annotations

import ctypes
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from benchbench.workloads import Setup, Workload
from tests.stubs import LineTask


class Hungry(LineTask):
    """Asks for more memory than its process may have."""

    def batches(self, epoch: int) -> Iterator[Tensor]:
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (used + 2**30, used + 2**30))
        yield torch.ones(2**33)


class Vast(LineTask):
    """Asks its device for more memory than any has."""

    def batches(self, epoch: int) -> Iterator[Tensor]:
        yield torch.empty(2**50, device=self._setup.device)


class Flooding(LineTask):
    """Prints a mebibyte with every batch."""

    def batches(self, epoch: int) -> Iterator[Tensor]:
        for number, batch in enumerate(super().batches(epoch)):
            print("x" * 2**20)
            print(f"batch {number} of epoch {epoch}", flush=True)
            yield batch


class Listening(LineTask):
    """Writes down at which addresses its process listens, as Linux shows them."""

    def __init__(self, setup: Setup, folder: str) -> None:
        super().__init__(setup)
        self._folder = Path(folder)

    def batches(self, epoch: int) -> Iterator[Tensor]:
        sockets = set(map(_target, Path("/proc/self/fd").iterdir()))
        tables = [Path(f"/proc/self/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
        lines = [line.split() for table in tables for line in table]
        mine = [line[1].split(":")[0] for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in sockets]
        (self._folder / f"{os.getpid()}.addresses").write_text("\n".join(mine))
        yield from super().batches(epoch)


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:  # it was open for this very look
        return ""


class Stubborn(LineTask):
    """Hears of no stop for an hour."""

    def loss(self, batch: Tensor) -> Tensor:
        time.sleep(3600)
        return super().loss(batch)


class Deaf(LineTask):
    """Computes in C for an hour, and lets no other thread of Python run meanwhile."""

    def loss(self, batch: Tensor) -> Tensor:
        print("deaf from now on", flush=True)
        ctypes.PyDLL(None).sleep(3600)
        return super().loss(batch)


deaf = Workload(Deaf, trial=False)
hungry = Workload(Hungry, trial=False)
vast = Workload(Vast, trial=False)


def _flooding(setup: Setup, *, steps: int = 4, pause: float = 0.0) -> LineTask:
    return Flooding(setup, steps, pause)


flooding = Workload(_flooding, trial=False)


def _listening(setup: Setup, *, folder: str) -> LineTask:
    return Listening(setup, folder)


listening = Workload(_listening, trial=False)
stubborn = Workload(Stubborn, trial=False)
