"""The processes that compute a run's steps along with its own: rank 0 leads, the others are its workers."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import torch

from benchbench.devices import use
from benchbench.optim import stepping
from benchbench.optim.execution.ranks import LEAVE_SECONDS, RankEndedError, Ranks, joined
from benchbench.plugins.factories import Factories
from benchbench.processes.children import die_with_parent, no_main_module, start_fork_server
from benchbench.processes.temporary import temporary_folder
from benchbench.runs.checkpoint import load_tensors, save_tensors
from benchbench.training import backends
from benchbench.training.steps import Training
from benchbench.values import RunSpec


@dataclass(frozen=True)
class _Assignment:
    """A worker's rank, device and threads, and the private folder in which the ranks find each other."""

    rank: int
    device: str
    threads: int
    folder: str


@dataclass(frozen=True)
class _Epoch:
    """Message of rank 0 before each epoch: its number, the batches in it that are done, and what plateaus look at."""

    number: int
    done: int
    scores: list[float]


_STATE, _STORE = "state", "ranks"
"""Files in that folder."""


@dataclass(frozen=True)
class _Worker:
    rank: int
    process: ForkServerProcess
    orders: Connection


class RankWorkers:
    """The other ranks of a run, none if it has only one.

    Attributes:
        ranks: This process among them; `None` if it is the only one.
    """

    def __init__(self, ranks: Ranks | None, device: torch.device, folder: Path, started: list[_Worker]) -> None:
        self.ranks = ranks
        self._device = device
        self._folder = folder
        self._workers = started
        self._group = ExitStack()
        self._joined = False
        self._abandoned: BaseException | None = None

    @contextmanager
    def along(self, epoch: int, done: int, training: Training) -> Iterator[None]:
        """Have all ranks make the steps of an epoch, which this process makes inside.

        A rank that ends meanwhile ends this process too, unless it has noticed by itself: where a device waits for that
        rank, an exception cannot reach the process that waits for the device.

        Args:
            epoch: Its number, from 1.
            done: Batches in it that an earlier attempt has done.
            training: This process's training, whose state the others take over in the first call if it comes from a
                checkpoint.

        Raises:
            RankEndedError: A rank has ended; the log says why.
        """
        if self.ranks is None:
            yield
            return
        if not self._joined:
            self._joined = True
            self._await_all()
            if training.ledger.steps:
                save_tensors(self._folder / _STATE, training.state_dict())
            self._tell(None)
            self._group.enter_context(joined(self.ranks, self._folder / _STORE, self._device))
        self._tell(_Epoch(epoch, done, list(training.schedules.scores)))
        over, end = multiprocessing.Pipe(duplex=False)
        threading.Thread(target=self._end_with_the_first, args=(over,), daemon=True).start()
        try:
            yield
        finally:
            end.close()

    def _end_with_the_first(self, over: Connection) -> None:
        with over:
            wait([over, *(worker.process.sentinel for worker in self._workers)])
            if not over.poll(LEAVE_SECONDS):
                ranks = [worker.rank for worker in self._workers if not worker.process.is_alive()]
                sys.stderr.write(f"the process of rank {ranks[0]} has ended, and this one ends for it\n")
                sys.stderr.flush()
                os._exit(1)

    def _await_all(self) -> None:
        for worker in self._workers:
            wait([worker.orders, worker.process.sentinel])
            try:
                worker.orders.recv()
            except (EOFError, OSError):
                raise RankEndedError(worker.rank) from None

    def _tell(self, order: _Epoch | None) -> None:
        for worker in self._workers:
            try:
                worker.orders.send(order)
            except OSError:
                raise RankEndedError(worker.rank) from None

    def abandon(self, error: BaseException) -> None:
        """Cut the connection to the other ranks at the end, for they are wherever an error has left them."""
        self._abandoned = error

    @contextmanager
    def leaving(self) -> Iterator[None]:
        """Make all ranks leave the group together at the end, or abort it after an error."""
        with self._group:
            yield
            if (error := self._abandoned) is not None:
                self._group.__exit__(type(error), error, error.__traceback__)
                return
            if not self._joined:
                return
            with suppress(RankEndedError):  # one that has died since its last step takes nothing along
                self._tell(None)
        for worker in self._workers:
            worker.process.join(LEAVE_SECONDS)

    def end(self) -> None:
        """End the other ranks, wherever they are: all that counts is here."""
        for worker in self._workers:
            worker.process.kill()
            worker.process.join()
            worker.orders.close()


@contextmanager
def rank_workers(spec: RunSpec, device: torch.device, data: Path) -> Iterator[RankWorkers]:
    """Start the other ranks of a run, which set up the same training meanwhile, and end them afterwards.

    What the run has given must be on the disk before the end of this context, where ranks wait for each other.

    They share out this process's threads. On GPUs, each has one to itself: those that follow this process's.

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
        yield RankWorkers(None, device, Path(), [])
        return
    if (reason := use.lacks(device, "ranks")) is not None:
        raise ValueError(f"ranks: {reason}")
    first = device.index or 0
    if use.is_accelerator(device) and (count := use.count(device) - first) < size:
        raise ValueError(f"ranks: each of {size} needs a GPU of its own, and there are {count}")
    threads = torch.get_num_threads()
    share = max(1, threads // size)
    with temporary_folder("benchbench-ranks-") as folder:
        places = range(1, size)
        devices = {
            rank: f"{device.type}:{first + rank}" if use.is_accelerator(device) else device.type for rank in places
        }
        started = [_start(spec, data, _Assignment(rank, devices[rank], share, str(folder))) for rank in places]
        torch.set_num_threads(share)
        workers = RankWorkers(Ranks(0, size), device, folder, started)
        try:
            with workers.leaving():
                yield workers
        finally:
            workers.end()
            torch.set_num_threads(threads)


def _start(spec: RunSpec, data: Path, assigned: _Assignment) -> _Worker:
    context = multiprocessing.get_context("forkserver")
    start_fork_server([__name__])  # torch is loaded once for all of them
    ours, theirs = context.Pipe()
    process = context.Process(
        target=step_along,
        args=(spec.model_dump_json(), str(data), assigned, theirs),
        name=f"{spec.key}, rank {assigned.rank}",  # no daemon, which could have no processes that load data
    )
    with no_main_module():
        process.start()
    theirs.close()
    return _Worker(assigned.rank, process, ours)


def step_along(spec: str, data: str, assigned: _Assignment, orders: Connection) -> None:
    """Make the steps of a run along with rank 0, epoch by epoch, in a process of its own.

    Args:
        spec: The run's spec as JSON.
        data: Path of the folder in which data sets lie.
        assigned: Its rank, device and threads.
        orders: Where rank 0 says which epoch comes next.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # meant for the run, with which this process dies
        signal.signal(number, signal.SIG_IGN)
    die_with_parent()
    torch.set_num_threads(assigned.threads)
    run, device = RunSpec.model_validate_json(spec), torch.device(assigned.device)
    use.make_current(device)
    ranks = Ranks(assigned.rank, run.execution.ranks)
    with backends.configured(run.execution, device):
        training = Training(run, Factories.of(run), device, Path(data), ranks)
        orders.send(assigned.rank)
        orders.recv()
        if (state := Path(assigned.folder, _STATE)).exists():
            training.load_state_dict(load_tensors(state))
        with joined(ranks, Path(assigned.folder, _STORE), device):
            epoch: _Epoch
            while (epoch := orders.recv()) is not None:
                training.schedules.scores = epoch.scores
                for batch in islice(training.task.batches(epoch.number), epoch.done, None):
                    training.step(batch)
                # Rank 0 is evaluated now. Showing its weights and putting them back may cost rounding.
                with stepping.evaluating(training.optimizer):
                    pass
