"""One run on a machine that another system has chosen for it: what a task of Ray and a job of Slurm do there."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass, replace

from benchbench.devices.kinds import CPU
from benchbench.devices.use import DeviceMissingError
from benchbench.devices.visible import visible
from benchbench.engines import Job
from benchbench.engines.local import LocalEngine
from benchbench.engines.slots import Slot, gpu_slots, merged
from benchbench.problems import BadInputError
from benchbench.values import Outcome, RunResult

_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Wanted:
    """The device and the threads that a run is meant to have.

    Attributes:
        threads: CPU threads.
        gpus: GPUs, 0 for the CPU: a run that is meant for GPUs and does not find them fails.
        chosen: Those that the other system has given it, where that says so (default: those that this process sees).
        sharing: Runs that there can be on the same GPU.
    """

    threads: int
    gpus: int
    chosen: tuple[str, ...] | None = None
    sharing: int = 1


def execute(job: Job, wanted: Wanted, stop: Callable[[], bool]) -> RunResult:
    """Bring a run to an end in a process of its own, which dies with this one.

    Args:
        job: The run; all that it leaves lies in its folder afterwards.
        wanted: What the run is meant to have here.
        stop: Whether the run must leave a checkpoint and end as `interrupted`.

    Returns:
        Its result, however it has ended.
    """
    try:
        engine = LocalEngine([slot_here(wanted)])
    except DeviceMissingError as error:
        return refuse(job, str(error))
    engine.submit(job)
    try:
        while not stop():
            for result in engine.poll(_POLL_SECONDS):
                return result
    finally:
        engine.stop()
    if (stopped := job.folder.result()) is not None:
        return stopped
    return _ended(job, "interrupted", "killed, for it did not stop in time")


def refuse(job: Job, reason: str) -> RunResult:
    """Fail a run that would not run where it is meant to, and return the result.

    Args:
        job: The run, which has not been started.
        reason: Why, in one line.
    """
    job.folder.prepare(job.spec)
    return _ended(job, "failed", reason)


def _ended(job: Job, outcome: Outcome, message: str) -> RunResult:
    result = RunResult(key=job.spec.key, outcome=outcome, message=message)
    job.folder.finish(result)
    return result


def slot_here(wanted: Wanted) -> Slot:
    """Return what a run may use here.

    Raises:
        DeviceMissingError: There are fewer GPUs than it is meant for.
    """
    gpus, threads = wanted.gpus, wanted.threads
    if not gpus:
        # The run can't know how many others the system really puts on the same device.
        return Slot("cpu", CPU.type, threads, sharing=max(1, (os.cpu_count() or 1) // threads))
    try:
        here = visible()
    except BadInputError as error:
        raise DeviceMissingError(f"on {platform.node()}: {error}") from None
    chosen = here.identifiers if wanted.chosen is None else wanted.chosen
    found = [gpu for gpu in chosen if here.named(gpu) is not None]
    if len(found) < gpus:
        given = f"; given to it: {', '.join(chosen)}" if chosen else ""
        raise DeviceMissingError(
            f"meant for {gpus} GPU{'s' * (gpus > 1)}, and {platform.node()} has {len(found)} for it{given}"
        )
    slot = merged(gpu_slots(here, found[:gpus], max(threads, gpus)))
    return replace(slot, sharing=wanted.sharing)
