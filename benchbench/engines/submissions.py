"""Runs that were handed over to another system and go on there, whether or not a command waits for them."""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchbench.engines import EngineError, Job, slurm, slurm_queue
from benchbench.runs.folder import RunFolder
from benchbench.values import RunResult


class Collecting:
    """Stands for an engine where results are only brought in: it takes no job."""

    name = "slurm"
    capacity = 0

    def submit(self, job: Job) -> None:
        """Refuse the job.

        Raises:
            EngineError: Always.
        """
        raise EngineError("nothing is run while results are collected")

    def poll(self, seconds: float) -> Sequence[RunResult]:
        """Return nothing: no job runs here."""
        return []

    def stop(self, *, at_once: bool = False) -> None:
        """Do nothing: no job runs here."""


def states(folders: Sequence[RunFolder]) -> dict[RunFolder, str]:
    """Return what other systems say about the runs that were handed over to them, in small letters.

    Raises:
        EngineError: A system does not answer.
    """
    submissions = {folder: found for folder in folders if (found := folder.submission()) is not None}
    if not submissions:
        return {}
    try:
        known = slurm_queue.states([found.job for found in submissions.values()])
    except slurm_queue.SlurmError as error:
        raise EngineError(str(error)) from None
    return {folder: known[found.job].lower() for folder, found in submissions.items()}


def is_over(state: str) -> bool:
    """Return whether a run of which another system says this has ended there."""
    return state.upper() in slurm_queue.ENDED


def in_queue(folders: Sequence[RunFolder], other_than: str = "") -> list[RunFolder]:
    """Return the runs that another system still answers for.

    Args:
        folders: Folders of runs.
        other_than: Name of an engine whose runs do not count.

    Raises:
        EngineError: A system does not answer.
    """
    others = [folder for folder in folders if (found := folder.submission()) is not None and found.engine != other_than]
    return [folder for folder, state in states(others).items() if not is_over(state)]


def ended(folders: Sequence[RunFolder], patience: float = slurm_queue.PATIENCE) -> dict[RunFolder, RunResult]:
    """Return how runs have ended that were handed over.

    Args:
        folders: Folders of runs.
        patience: Seconds after which those that have ended without an answer are asked for a second time, since they
            may be on their way back into the queue.

    Raises:
        EngineError: A system does not answer.
    """
    known = states(folders)
    over = {folder: folder.result() for folder, state in known.items() if is_over(state)}
    if doubtful := [folder for folder, result in over.items() if result is None or not result.conclusive]:
        time.sleep(patience)
        known |= states(doubtful)
    found = {}
    for folder, state in known.items():
        submission = folder.submission()
        if submission is not None and is_over(state):
            found[folder] = slurm.ended_result(folder.path.name, folder, submission.job, state.upper())
    return found


def forget(folder: RunFolder) -> None:
    """Forget that a run was handed over."""
    slurm.forget(folder)
