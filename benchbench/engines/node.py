"""One run on a machine that another system has chosen for it: what a task of Ray and a job of Slurm do there."""

from __future__ import annotations

import os
from collections.abc import Callable

from benchbench.engines import Job
from benchbench.engines.local import LocalEngine
from benchbench.engines.slots import Slot, gpu_slots, merged, visible_gpus
from benchbench.values import RunResult

_POLL_SECONDS = 0.2


def execute(job: Job, slot: Slot, stop: Callable[[], bool]) -> RunResult:
    """Bring a run to an end in a process of its own, which dies with this one.

    Args:
        job: The run; all that it leaves lies in its folder afterwards.
        slot: What the run may use here.
        stop: Whether the run shall leave a checkpoint and end as `interrupted`.

    Returns:
        Its result, however it has ended.
    """
    engine = LocalEngine([slot])
    engine.submit(job)
    try:
        while not stop():
            for result in engine.poll(_POLL_SECONDS):
                return result
    finally:
        engine.stop()
    if (stopped := job.folder.result()) is not None:
        return stopped
    result = RunResult(key=job.spec.key, outcome="interrupted", message="killed, for it did not stop in time")
    job.folder.finish(result)
    return result


def slot_here(threads: int, *, gpus: bool) -> Slot:
    """Return what a run may use here.

    Args:
        threads: CPU threads of the run.
        gpus: Whether it may use the GPUs that this process sees, as far as there are any.
    """
    found = visible_gpus() if gpus else []
    if found:
        return merged(gpu_slots(found, max(threads, len(found))))
    # How many others the system really puts beside it, the run can't know.
    return Slot("cpu", "cpu", threads, sharing=max(1, (os.cpu_count() or 1) // threads))
