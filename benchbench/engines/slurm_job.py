"""The program that runs in a job of Slurm."""

from __future__ import annotations

import os
import platform
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

from benchbench.devices.visible import built_for, visible
from benchbench.engines import Job, slurm_queue
from benchbench.problems import BadInputError
from benchbench.runs.folder import RunFolder
from benchbench.values import RunSpec, Submission

NAME = "slurm"
"""Of the engine."""

_LONGEST_END = 60.0
"""Seconds that a job waits to be ended after it has been queued up again."""


def run_as_job(spec: str, folder: str, data: str, gpus: int) -> None:
    """Execute a run inside a job of Slurm.

    On SIGTERM (`scancel`, preemption, the end of a node) and on SIGUSR2 (the time limit is near) the run leaves a
    checkpoint. After SIGUSR2 the job queues up again, provided that it has come further than the last time; in the
    other cases it is Slurm that knows whether to start it again.

    Args:
        spec: The run's spec as JSON.
        folder: Path of the run's folder.
        data: Path of the folder in which data sets lie.
        gpus: GPUs that the run is meant for, of those that Slurm has given the job; 0 for the CPU.
    """
    from benchbench.engines.node import Wanted, execute, refuse

    files = RunFolder(Path(folder))
    submission = files.submission()
    if submission is not None and submission.job != _own_job():
        return  # its command was killed before it could say so, and the run has another job by now
    received: list[int] = []
    for number in (signal.SIGTERM, signal.SIGUSR2):  # in place of submitit's handlers
        signal.signal(number, lambda number, _: received.append(number))
    job = Job(RunSpec.model_validate_json(spec), files, Path(data))
    if submission is None:  # the command that submits the job writes it too, maybe a moment later
        job.folder.submit(new_submission(_own_job()))
    threads = int(os.environ.get("SLURM_CPUS_PER_TASK") or len(os.sched_getaffinity(0)))
    if gpus and (reason := _unknown_gpus()) is not None:
        refuse(job, reason)
        return
    before = job.folder.checkpoints.latest_steps()
    result = execute(job, Wanted(threads, gpus), lambda: bool(received))
    if result.outcome != "interrupted" or signal.SIGUSR2 not in received:
        return
    if job.folder.checkpoints.latest_steps() <= before:
        message = f"no progress within the time limit of the job: {result.message}"
        job.folder.finish(result.model_copy(update={"outcome": "timeout", "message": message}))
        return
    try:
        slurm_queue.requeue(_own_job())
    except slurm_queue.SlurmError as error:
        message = f"stopped before the time limit of the job, and not queued up again: {error}: {result.message}"
        job.folder.finish(result.model_copy(update={"outcome": "timeout", "message": message}))
        return
    # An exit of our own at the same moment would reach Slurm as that of the next attempt, and fail it.
    deadline = time.monotonic() + _LONGEST_END
    while signal.SIGTERM not in received and time.monotonic() < deadline:
        time.sleep(0.1)


def _unknown_gpus() -> str | None:
    """Return why it cannot be known which GPUs of this node are this job's, `None` if it can.

    Slurm says it in the variable by which processes are restricted to devices. Where a cluster has turned that off,
    it may hide the others instead. Where it does neither, all jobs of the node would take the first GPU.
    """
    kind = built_for()
    if kind.variable is None or kind.variable in os.environ:
        return None
    try:
        seen = len(visible().identifiers)
    except BadInputError as error:
        return f"on {platform.node()}: {error}"
    if os.environ.get("SLURM_GPUS_ON_NODE") == str(seen):
        return None
    where = os.environ.get("SLURMD_NODENAME", platform.node())
    return f"Slurm does not say which of the {seen} GPUs of {where} are this job's: {kind.variable} is not set"


def new_submission(job: str) -> Submission:
    """Return a note that a run has been given to a job just now."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Submission(engine=NAME, job=job, submitted_at=now)


def _own_job() -> str:
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]
