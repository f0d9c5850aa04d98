"""The processes that compute a run's steps along with its own: rank 0 leads, the others follow."""

from __future__ import annotations

import multiprocessing
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import torch

from benchbench import stepping
from benchbench.execution import backends
from benchbench.execution.processes import die_with_parent, no_main_module, start_fork_server
from benchbench.execution.ranks import RankEndedError, Ranks, joined
from benchbench.runs.checkpoint import load_tensors, save_tensors
from benchbench.training.steps import Training
from benchbench.values import RunSpec


@dataclass(frozen=True)
class _Place:
    """Where a follower belongs, and the private folder in which the ranks find each other."""

    rank: int
    device: str
    threads: int
    folder: str


@dataclass(frozen=True)
class _Epoch:
    """What rank 0 says before each epoch: which one, the batches in it that are done, and what plateaus look at."""

    number: int
    done: int
    scores: list[float]


_STATE, _STORE = "state", "ranks"
"""Files in that folder."""


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

    def __init__(self, ranks: Ranks | None, device: torch.device, folder: Path, started: list[_Follower]) -> None:
        self.ranks = ranks
        self._device = device
        self._folder = folder
        self._followers = started
        self._group = ExitStack()
        self._joined = False

    def begin(self, epoch: int, done: int, training: Training) -> None:
        """Let all ranks make the steps of an epoch.

        Args:
            epoch: Its number, from 1.
            done: Batches in it that an earlier attempt has done.
            training: This process's training, whose state the others take over in the first call if it comes from a
                checkpoint.

        Raises:
            RankEndedError: A rank has ended; the log says why.
        """
        if self.ranks is None:
            return
        if not self._joined:
            self._joined = True
            self._await_all()
            if training.ledger.steps:
                save_tensors(self._folder / _STATE, training.state_dict())
            self._tell(None)
            self._group.enter_context(joined(self.ranks, self._folder / _STORE, self._device))
        self._tell(_Epoch(epoch, done, list(training.schedules.scores)))

    def _await_all(self) -> None:
        for follower in self._followers:
            wait([follower.orders, follower.process.sentinel])
            try:
                follower.orders.recv()
            except (EOFError, OSError):
                raise RankEndedError(follower.rank) from None

    def _tell(self, order: _Epoch | None) -> None:
        for follower in self._followers:
            try:
                follower.orders.send(order)
            except OSError:
                raise RankEndedError(follower.rank) from None

    def end(self) -> None:
        """End the other ranks at once: all that counts is here."""
        for follower in self._followers:
            follower.process.kill()
            follower.process.join()
            follower.orders.close()
        self._group.close()


@contextmanager
def following(spec: RunSpec, device: torch.device, data: Path) -> Iterator[Followers]:
    """Start the other ranks of a run, which set up the same training meanwhile, and end them afterwards.

    They share out this process's threads. On GPUs, each has one to itself: this process the first one that it sees.

    Args:
        spec: The run.
        device: Where this process computes.
        data: The folder in which data sets lie.

    Yields:
        The other ranks.

    Raises:
        ValueError: There are fewer GPUs than ranks.
    """
    size = spec.execution.ranks
    if size == 1:
        yield Followers(None, device, Path(), [])
        return
    if device.type == "cuda" and torch.cuda.device_count() < size:
        raise ValueError(f"ranks: each of {size} needs a GPU of its own, and there are {torch.cuda.device_count()}")
    threads = torch.get_num_threads()
    share = max(1, threads // size)
    with tempfile.TemporaryDirectory(prefix="benchbench-") as folder:
        devices = [device.type if device.type == "cpu" else f"{device.type}:{rank}" for rank in range(size)]
        started = [_start(spec, data, _Place(rank, devices[rank], share, folder)) for rank in range(1, size)]
        torch.set_num_threads(share)
        followers = Followers(Ranks(0, size), device, Path(folder), started)
        try:
            yield followers
        finally:
            followers.end()
            torch.set_num_threads(threads)


def _start(spec: RunSpec, data: Path, place: _Place) -> _Follower:
    context = multiprocessing.get_context("forkserver")
    start_fork_server([__name__])  # torch is loaded once for all of them
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
    for number in (signal.SIGINT, signal.SIGTERM):  # meant for the run, with which this process dies
        signal.signal(number, signal.SIG_IGN)
    die_with_parent()
    torch.set_num_threads(place.threads)
    run, device = RunSpec.model_validate_json(spec), torch.device(place.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    ranks = Ranks(place.rank, run.execution.ranks)
    with backends.configured(run.execution, device):
        training = Training(run, device, Path(data), ranks)
        orders.send(place.rank)
        orders.recv()
        if (state := Path(place.folder, _STATE)).exists():
            training.load_state_dict(load_tensors(state))
        with joined(ranks, Path(place.folder, _STORE), device):
            while True:
                epoch: _Epoch = orders.recv()
                training.schedules.scores = epoch.scores
                for batch in islice(training.task.batches(epoch.number), epoch.done, None):
                    training.step(batch)
                # Rank 0 is judged now. Showing its weights and putting them back may cost rounding.
                with stepping.evaluating(training.optimizer):
                    pass
