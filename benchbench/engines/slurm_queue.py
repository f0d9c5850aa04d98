"""States of jobs, by Slurm's own commands."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Sequence

ENDED = frozenset(
    {
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "REVOKED",
        "TIMEOUT",
        "UNKNOWN",
    }
)
"""States of jobs that Slurm will not run any more (`UNKNOWN`: that it doesn't know, or not any more)."""

PATIENCE = 5.0
"""Seconds after which a job that has ended without a result is believed to have: one that is queued up again, by the
run in it, by preemption or because its node broke, may be shown as ended for a moment."""

_LONGEST_LINE = 500
"""Jobs in one command."""


_GPUS = re.compile(r"(?:^|,)gpu:(?:[^:,()]+:)?(\d+)")
"""In what Slurm says of a node's resources, such as `gpu:a100:4(S:0-1),shard:16`."""


class SlurmError(RuntimeError):
    """Slurm refuses something; the message is its own, in one line."""


def states(jobs: Sequence[str]) -> dict[str, str]:
    """Return the state of every job, in Slurm's words.

    Slurm's controller is asked first; what it has forgotten, the accounting may still know, on clusters that have one.

    Args:
        jobs: Such as `12`, or `12_3` in an array.

    Raises:
        SlurmError: The controller does not answer.
    """
    found: dict[str, str] = {}
    for start in range(0, len(jobs), _LONGEST_LINE):
        some = jobs[start : start + _LONGEST_LINE]
        found |= _queued(some)
        if forgotten := [job for job in some if job not in found]:
            found |= _accounted(forgotten)
    return {job: found.get(job, "UNKNOWN") for job in jobs}


def signal_steps(jobs: Sequence[str], name: str) -> None:
    """Send a signal to what runs in jobs, which stay jobs."""
    _scancel([f"--signal={name}", *jobs])


def cancel(jobs: Sequence[str], *, pending_only: bool = False) -> None:
    """Take jobs away, running ones by SIGTERM and, some time later, SIGKILL."""
    _scancel([*(["--state=PENDING"] if pending_only else []), *jobs])


def requeue(job: str) -> None:
    """End a running job and let it wait for resources again.

    Raises:
        SlurmError: The cluster doesn't allow it.
    """
    _checked(["scontrol", "requeue", job])


def cores_per_gpu(partition: str | None) -> int | None:
    """Return the cores that there are for each GPU, on the node with the fewest; `None` where Slurm knows of no GPU.

    Args:
        partition: Of which partition (default: of all).

    Raises:
        SlurmError: Slurm does not answer, or there is no such partition.
    """
    named = [f"--partition={partition}"] if partition else []
    done = _checked(["sinfo", "--noheader", "--exact", "--format=%c|%G", *named])
    shares = []
    for line in done.stdout.splitlines():
        cores, _, resources = line.partition("|")
        gpus = sum(int(count) for count in _GPUS.findall(resources))
        if gpus:
            shares.append(max(1, int(cores.strip().rstrip("+")) // gpus))
    return min(shares, default=None)


def _queued(jobs: Sequence[str]) -> dict[str, str]:
    command = ["squeue", "--noheader", "--array", "--states=all", "--format=%i|%T", f"--jobs={','.join(jobs)}"]
    done = _run(command)
    if done.returncode and "Invalid job id" not in done.stderr:
        raise SlurmError(_reason(done))
    return _pairs(done.stdout.splitlines())


def _accounted(jobs: Sequence[str]) -> dict[str, str]:
    command = ["sacct", "--noheader", "--parsable2", "--allocations", "--format=JobID,State"]
    try:
        done = _run([*command, f"--jobs={','.join(jobs)}"])
    except SlurmError:  # no such command: a cluster without accounting
        return {}
    return _pairs(done.stdout.splitlines()) if done.returncode == 0 else {}


def _pairs(lines: Iterable[str]) -> dict[str, str]:
    """Return states by job; `CANCELLED by 1000` is cut short."""
    pairs = (line.partition("|") for line in lines if "|" in line)
    return {job: state.split()[0].rstrip("+") for job, _, state in pairs if state.strip()}


def _scancel(arguments: Sequence[str]) -> None:
    # That a job has ended meanwhile is no error here, and whatever else goes wrong shows in the jobs' states.
    _run(["scancel", "--quiet", *arguments])


def _checked(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    done = _run(command)
    if done.returncode:
        raise SlurmError(_reason(done))
    return done


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except FileNotFoundError:
        raise SlurmError(f"there is no command {command[0]}: this machine is no login node of Slurm") from None
    except subprocess.TimeoutExpired:
        raise SlurmError(f"{command[0]} does not answer") from None


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
    return f"{done.args[0]}: {lines[-1]}"
