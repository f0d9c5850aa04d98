"""The local engine: a process per run on the slots of this machine."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from ctypes import c_int
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from typing import Any

from benchbench.engines import FORK_SERVER, EngineError, Job
from benchbench.engines.host_memory import oom_kills, room
from benchbench.engines.slots import Slot, apart, merged
from benchbench.engines.worker import work
from benchbench.processes.children import (
    end_orphan,
    fork_server,
    has_died,
    no_main_module,
    start_fork_server,
    stop_fork_server,
)
from benchbench.values import Outcome, RunResult

GRACE_SECONDS = 10.0
"""Seconds in which stopped runs may finish their step and leave a checkpoint; then they are killed."""

_LOG_LINES = 8

_STARTS = 3
"""Attempts to start a process."""

_PAUSE_SECONDS = 0.2

_UNKNOWN_STATUS = 255
"""Exit status of a process whose server was killed: multiprocessing takes it for dead, but it may go on."""

_PRELOAD = ("benchbench.engines.worker", "benchbench.training.trainer", "torch._dynamo")
"""Modules of every run; torch loads its compiler, which takes seconds, with the first optimizer that is built."""


@dataclass
class _Running:
    job: Job
    slots: list[Slot]
    concurrent_runs: c_int  # shared with the process: the most runs on its devices at a time, itself included
    process: ForkServerProcess
    deadline: float
    oom_kills: int | None  # of this machine when it was started
    server: int | None  # the process that it was forked from
    neighbours: int = 1  # the most runs that there have been on this machine at a time, itself included


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
        # An engine of a single slot sees nothing of what else is put on its device.
        self._unseen = slots[0].sharing if len(slots) == 1 else 1
        self._waiting: list[Job] = []
        self._running: list[_Running] = []
        self._has_unknown = False
        self._preload = preload
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
        every = [*self._free, *(slot for running in self._running for slot in running.slots)]
        while self._waiting and self._has_memory(self._waiting[0]):
            job = self._waiting[0]
            free = self._free_for(job)
            slots = apart(free, job.spec.execution.ranks)
            if len(slots) < len(apart(every, job.spec.execution.ranks)):
                return
            self._start(self._waiting.pop(0), slots, self._kept_by(job, slots))

    def _free_for(self, job: Job) -> list[Slot]:
        """Return the free slots that a job can be put on; a job that must be alone needs an empty device."""
        taken = {slot.device_name for running in self._running for slot in running.slots}
        if job.alone == "host" and taken:
            return []
        return [slot for slot in self._free if not (job.alone and slot.device_name in taken)]

    def _kept_by(self, job: Job, slots: Sequence[Slot]) -> list[Slot]:
        """Return the slots that are not free while a job runs on some: those of its device too, where it is alone."""
        devices = {slot.device_name for slot in slots}
        beside = [slot for slot in self._free if job.alone == "host" or slot.device_name in devices]
        return beside if job.alone else list(slots)

    def _has_memory(self, job: Job) -> bool:
        taken = sum(running.job.memory for running in self._running)
        return not self._running or self._memory is None or taken + job.memory <= self._memory

    def _start(self, job: Job, slots: list[Slot], kept: list[Slot]) -> None:
        self._free = [slot for slot in self._free if slot not in kept]
        job.folder.prepare(job.spec)
        concurrent_runs: c_int = multiprocessing.get_context("forkserver").RawValue(c_int, self._unseen)
        try:
            process = _process(job, merged(slots), concurrent_runs, self._preload)
            deadline = time.monotonic() + (job.spec.timeout or float("inf"))
            self._running.append(_Running(job, kept, concurrent_runs, process, deadline, oom_kills(), fork_server()))
        except BaseException:  # Ctrl-C, say: the process may be there
            self._has_unknown = True
            raise
        self._count_concurrent_runs()

    def _count_concurrent_runs(self) -> None:
        devices = [{slot.device_name for slot in running.slots} for running in self._running]
        for running, own in zip(self._running, devices, strict=True):
            running.neighbours = max(running.neighbours, len(self._running))
            running.concurrent_runs.value = max(
                running.concurrent_runs.value, sum(not own.isdisjoint(each) for each in devices)
            )

    def poll(self, seconds: float) -> Sequence[RunResult]:
        """Return the results of the runs whose process has ended or whose time is up."""
        wait([running.process.sentinel for running in self._running], timeout=seconds)
        results = []
        for running in list(self._running):
            if time.monotonic() > running.deadline and running.process.is_alive():
                self._end(running)
                # A result is there already when time ran out while something was measured after the run.
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
        if self._has_unknown:
            self._has_unknown = False
            stop_fork_server()

    def _end(self, running: _Running) -> None:
        running.process.kill()
        running.process.join()
        if running.process.exitcode == _UNKNOWN_STATUS and running.process.pid is not None:
            end_orphan(running.process.pid)
        self._running.remove(running)
        self._free.extend(running.slots)


def start_server(preload: Sequence[str]) -> None:
    """Start the process that runs are forked from, unless it runs already; it goes on loading in the background.

    Args:
        preload: Modules to load besides what every run needs.
    """
    start_fork_server([*_PRELOAD, *preload])


def _process(job: Job, slot: Slot, concurrent_runs: c_int, preload: Sequence[str]) -> ForkServerProcess:
    """Start a run's process; a server that has been killed is replaced.

    Raises:
        EngineError: Its successors are killed as well.
    """
    paths = str(job.folder.path.absolute()), str(job.data.absolute())  # a plugin may change the current folder
    arguments = (job.spec.model_dump_json(), *paths, slot, concurrent_runs)
    for _ in range(_STARTS):
        start_server(preload)
        process = multiprocessing.get_context("forkserver").Process(target=work, args=arguments, name=job.spec.key)
        with no_main_module(), suppress(ConnectionError, EOFError):
            process.start()
            return process
        time.sleep(_PAUSE_SECONDS)  # for the system to bring a killed server to its end
    raise EngineError("the server that runs are forked from is killed again and again")


def _crash(running: _Running) -> RunResult:
    code = running.process.exitcode or 0
    if code == _UNKNOWN_STATUS and has_died(running.server):
        message = "the server that had forked it was killed"
        return _broken(running.job, "crashed", message, environment={FORK_SERVER: "killed"})
    if code >= 0:
        return _broken(running.job, "crashed", f"exited with status {code}")
    if code != -signal.SIGKILL:
        return _broken(running.job, "crashed", f"the run's process was killed by {signal.Signals(-code).name}")
    if (running.oom_kills or 0) >= (oom_kills() or 0):
        hint = ", as the system does when memory runs out"
        return _broken(running.job, "crashed", f"the run's process was killed by SIGKILL{hint}")
    message = "the run's process was killed by the system, whose memory had run out"
    concurrent_runs = {"concurrent_runs": str(running.neighbours)}
    return _broken(running.job, "crashed", message, out_of_memory="host", environment=concurrent_runs)


def _broken(job: Job, outcome: Outcome, message: str, **known: Any) -> RunResult:
    text = f"{message}\n{job.folder.log_tail(_LOG_LINES)}"
    result = RunResult(key=job.spec.key, outcome=outcome, message=text, **known)
    try:
        job.folder.finish(result)
    except OSError as error:  # a full disk, say; the next command runs it again, as it does what it finds no result of
        why = f"{error.filename}: {error.strerror}"
        return result.model_copy(update={"outcome": "failed", "message": f"{why}\n{text}"})
    return result
