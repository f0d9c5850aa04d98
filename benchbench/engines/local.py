"""The local engine: a process per run on the slots of this machine."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess

from benchbench.engines import Job
from benchbench.engines.memory import room
from benchbench.engines.slots import Slot, merged
from benchbench.engines.stopping import held_back
from benchbench.engines.worker import work
from benchbench.execution.processes import no_main_module
from benchbench.values import Outcome, RunResult

GRACE_SECONDS = 10.0
"""What runs get to finish their step and leave a checkpoint when they are stopped; then they are killed."""

_LOG_LINES = 8

_PRELOAD = ("benchbench.engines.worker", "benchbench.training.trainer", "torch._dynamo")
"""What every run needs; torch loads its compiler, which takes seconds, with the first optimizer that is built."""


@dataclass(frozen=True)
class _Running:
    job: Job
    slots: list[Slot]
    process: ForkServerProcess
    deadline: float


class LocalEngine:
    """Gives every run a process of its own, forked from a server that has torch loaded already.

    A run starts in milliseconds and dies alone. When this process dies, its runs die with it.

    Args:
        slots: What the runs are placed on, one at a time each; a run with several ranks gets one for each of them, or
            all there are.
        preload: Modules that the server loads besides the trainer, such as those of the suite's plugins.
        grace: Seconds that runs get to leave a checkpoint when they are stopped.
        memory: Bytes that runs may take up together (default: what is available now, within the limit of the control
            group). A run that is expected to need more than what is left waits, unless it would be the only one.
    """

    name = "local"

    def __init__(
        self,
        slots: Sequence[Slot],
        preload: Sequence[str] = (),
        grace: float = GRACE_SECONDS,
        memory: int | None = None,
    ) -> None:
        self._grace = grace
        self._memory = room() if memory is None else memory
        self._free = list(reversed(slots))
        self._waiting: list[Job] = []
        self._running: list[_Running] = []
        self._context = multiprocessing.get_context("forkserver")
        start_server(preload)

    @property
    def capacity(self) -> int:
        """Number of free slots; none while a job waits for several of them, or for memory."""
        return 0 if self._waiting else len(self._free)

    def submit(self, job: Job) -> None:
        """Start a job as soon as there are as many free slots as it has ranks, and the memory that it needs."""
        self._waiting.append(job)
        self._start_waiting()

    def _start_waiting(self) -> None:
        total = len(self._free) + sum(len(running.slots) for running in self._running)
        while self._waiting and self._has_memory(self._waiting[0]):
            count = min(self._waiting[0].spec.execution.ranks, total)
            if len(self._free) < count:
                return
            self._start(self._waiting.pop(0), [self._free.pop() for _ in range(count)])

    def _has_memory(self, job: Job) -> bool:
        taken = sum(running.job.memory for running in self._running)
        return not self._running or self._memory is None or taken + job.memory <= self._memory

    def _start(self, job: Job, slots: list[Slot]) -> None:
        slot = merged(slots)
        job.folder.prepare(job.spec)
        process = self._context.Process(
            target=work, args=(job.spec.model_dump_json(), str(job.folder.path), str(job.data), slot), name=job.spec.key
        )
        with no_main_module():
            process.start()
        deadline = time.monotonic() + (job.spec.timeout or float("inf"))
        self._running.append(_Running(job, slots, process, deadline))

    def poll(self, seconds: float) -> Sequence[RunResult]:
        """Return the results of the runs whose process has ended or whose time is up."""
        wait([running.process.sentinel for running in self._running], timeout=seconds)
        results = []
        for running in list(self._running):
            if time.monotonic() > running.deadline and running.process.is_alive():
                self._end(running)
                # A result is there already when time ran out while something was measured beside the run.
                stopped = running.job.folder.result()
                results.append(
                    stopped or _broken(running.job, "timeout", f"stopped after {running.job.spec.timeout:g} s")
                )
            elif not running.process.is_alive():
                self._end(running)
                results.append(running.job.folder.result() or _crash(running))
        self._start_waiting()
        return results

    def stop(self, *, at_once: bool = False) -> None:
        """Ask all runs to leave a checkpoint and end, and kill those that take longer than the grace."""
        self._waiting.clear()
        for running in self._running:
            running.process.terminate()
        deadline = time.monotonic() + (0.0 if at_once else self._grace)
        for running in list(self._running):
            running.process.join(max(0.0, deadline - time.monotonic()))
            self._end(running)

    def _end(self, running: _Running) -> None:
        running.process.kill()
        running.process.join()
        self._running.remove(running)
        self._free.extend(running.slots)


def start_server(preload: Sequence[str]) -> None:
    """Start the process that runs are forked from, unless it runs already; it goes on loading in the background.

    Args:
        preload: Modules to load besides what every run needs.
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload([*_PRELOAD, *preload])
    resource_tracker.ensure_running()  # a process that would be started below and lift the hold again
    # A SIGTERM for all processes of a job, or a Ctrl-C in their terminal, must not take the server along, which reports
    # how the runs end.
    with held_back(signal.SIGTERM, signal.SIGINT):
        forkserver.ensure_running()


def _crash(running: _Running) -> RunResult:
    code = running.process.exitcode or 0
    if code >= 0:
        return _broken(running.job, "crashed", f"exited with status {code}")
    hint = ", as the system does when memory runs out" if code == -signal.SIGKILL else ""
    return _broken(running.job, "crashed", f"the run's process was killed by {signal.Signals(-code).name}{hint}")


def _broken(job: Job, outcome: Outcome, message: str) -> RunResult:
    result = RunResult(key=job.spec.key, outcome=outcome, message=f"{message}\n{job.folder.log_tail(_LOG_LINES)}")
    with suppress(OSError):  # a full disk, say; the next command runs it again, as it does what it finds no result of
        job.folder.finish(result)
    return result
