"""The processes that compute a run's steps along with its own: rank 0 leads, the others follow."""

from __future__ import annotations

import multiprocessing
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import torch

from benchbench import backends, stepping
from benchbench.processes import die_with_parent, no_main_module
from benchbench.ranks import Ranks, joined
from benchbench.training import Training
from benchbench.values import RunSpec


@dataclass(frozen=True)
class _Place:
    """Where a follower belongs: what it computes on, and the file through which the ranks find each other."""

    rank: int
    device: str
    threads: int
    store: str


@dataclass(frozen=True)
class _Follower:
    rank: int
    process: ForkServerProcess
    orders: Connection


class Followers:
    """The other ranks of a run, none if it has only one.

    Attributes:
        ranks: This process among them; `None` if it is the only one.
    """

    def __init__(self, ranks: Ranks | None, device: torch.device, store: Path, started: list[_Follower]) -> None:
        self.ranks = ranks
        self._device = device
        self._store = store
        self._followers = started
        self._group = ExitStack()
        self._joined = False

    def begin(self, epoch: int) -> None:
        """Let all ranks make the steps of an epoch (from 1).

        Raises:
            RuntimeError: A rank has ended; its log says why.
        """
        if self.ranks is not None and not self._joined:
            self._joined = True
            self._await_all()
            self._group.enter_context(joined(self.ranks, self._device, self._store))
        for follower in self._followers:
            try:
                follower.orders.send(epoch)
            except OSError:
                raise _ended(follower) from None

    def _await_all(self) -> None:
        for follower in self._followers:
            wait([follower.orders, follower.process.sentinel])
            try:
                follower.orders.recv()
            except (EOFError, OSError):
                raise _ended(follower) from None
        for follower in self._followers:  # not before all of them can be relied on to come
            follower.orders.send(0)

    def end(self) -> None:
        """End the other ranks at once: all that counts is here."""
        for follower in self._followers:
            follower.process.kill()
            follower.process.join()
            follower.orders.close()
        self._group.close()


def _ended(follower: _Follower) -> RuntimeError:
    return RuntimeError(f"the process of rank {follower.rank} has ended; the log says why")


@contextmanager
def following(spec: RunSpec, device: torch.device, data: Path) -> Iterator[Followers]:
    """Start the other ranks of a run, which set up the same training meanwhile, and end them afterwards.

    On a CPU they share out this process's threads; on GPUs, each takes the next one that is visible.

    Args:
        spec: The run.
        device: Where this process computes.
        data: The folder in which data sets lie.
    """
    size = spec.execution.ranks
    if size == 1:
        yield Followers(None, device, Path(), [])
        return
    threads = torch.get_num_threads()
    share = max(1, threads // size)
    with tempfile.TemporaryDirectory(prefix="benchbench-") as folder:
        store = Path(folder, "ranks")
        started = []
        for rank in range(1, size):
            place = f"cuda:{rank}" if device.type == "cuda" else device.type
            started.append(_start(spec, data, _Place(rank, place, share, str(store))))
        torch.set_num_threads(share)
        followers = Followers(Ranks(0, size), device, store, started)
        try:
            yield followers
        finally:
            followers.end()
            torch.set_num_threads(threads)


def _start(spec: RunSpec, data: Path, place: _Place) -> _Follower:
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=follow,
        args=(spec.model_dump_json(), str(data), place, theirs),
        name=f"{spec.key}, rank {place.rank}",
        daemon=True,
    )
    with no_main_module():
        process.start()
    theirs.close()
    return _Follower(place.rank, process, ours)


def follow(spec: str, data: str, place: _Place, orders: Connection) -> None:
    """Make the steps of a run along with rank 0, epoch by epoch, in a process of its own.

    Args:
        spec: The run's spec as JSON.
        data: Path of the folder in which data sets lie.
        place: Where it belongs.
        orders: Where rank 0 says which epoch comes next.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    torch.set_num_threads(place.threads)
    run, device = RunSpec.model_validate_json(spec), torch.device(place.device)
    ranks = Ranks(place.rank, run.execution.ranks)
    with backends.configured(run.execution, device):
        training = Training(run, device, Path(data), ranks)
        orders.send(place.rank)
        orders.recv()
        with joined(ranks, device, Path(place.store)):
            while True:
                for batch in training.task.batches(orders.recv()):
                    training.step(batch)
                # Rank 0 is judged now. Showing its weights and putting them back may cost rounding.
                with stepping.evaluating(training.optimizer):
                    pass
