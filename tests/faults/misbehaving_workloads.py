"""Workloads that misbehave towards their machine, named in suites as `FILE:attribute`."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from benchbench.workloads import Setup, Workload
from tests.helpers.stub_plugins import LineTask


class Vanishing(LineTask):
    """Removes the folders of all runs, as often as `times` says, counted by the lines of a file."""

    def __init__(self, setup: Setup, runs: str, marker: str, times: int = 99) -> None:
        super().__init__(setup)
        self._runs, self._marker, self._times = Path(runs), Path(marker), times

    def batches(self, epoch: int) -> Iterator[Tensor]:
        with self._marker.open("a+") as file:
            file.seek(0)
            if epoch == 2 and len(file.readlines()) < self._times:
                file.write("removed\n")
                for folder in self._runs.glob("[!.]*"):
                    shutil.rmtree(folder)
        yield from super().batches(epoch)


def _leave(what: str) -> None:
    """Change what the process has, in one of several ways."""
    if what == "folder":
        os.chdir("/")
    elif what == "mask":
        os.umask(0o777)
    elif what == "signals":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    elif what == "environment":
        os.environ["MLFLOW_TRACKING_URI"] = "sqlite:////nowhere/at/all.db"
        os.environ["TMPDIR"] = "/nowhere"
    elif what == "streams":
        sys.stdout.close()
        sys.stderr.close()
    elif what == "descriptors":
        os.close(1)
        os.close(2)


class Rude(LineTask):
    """Changes its process when it is set up, with every batch, or both."""

    def __init__(self, setup: Setup, what: str) -> None:
        super().__init__(setup)
        self._what = what
        _leave(what)

    def batches(self, epoch: int) -> Iterator[Tensor]:
        for batch in super().batches(epoch):
            with suppress(OSError):
                _leave(self._what)
            yield batch


class Filling(LineTask):
    """Fills a disk before its second epoch, where a file says that it shall."""

    def __init__(self, setup: Setup, disk: str) -> None:
        super().__init__(setup)
        self._disk = Path(disk)

    def batches(self, epoch: int) -> Iterator[Tensor]:
        if epoch == 2 and (self._disk / "fill").exists():
            with (self._disk / "ballast").open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(bytes(4096))
        yield from super().batches(epoch)


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
        print("stubborn from now on", flush=True)
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


def _vanishing(setup: Setup, *, runs: str, marker: str, times: int = 99) -> LineTask:
    return Vanishing(setup, runs, marker, times)


vanishing = Workload(_vanishing, trial=False)


def _rude(setup: Setup, *, what: str) -> LineTask:
    return Rude(setup, what)


rude = Workload(_rude)


def _filling(setup: Setup, *, disk: str) -> LineTask:
    return Filling(setup, disk)


filling = Workload(_filling, trial=False)
