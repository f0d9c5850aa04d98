"""The inline engine: runs in this process, one after the other, for debugging and tests."""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout

from benchbench.devices.visible import visible
from benchbench.engines import Job
from benchbench.engines.slots import Slot
from benchbench.problems import BadInputError, Problem
from benchbench.processes.signals import stopping_on
from benchbench.processes.state import process_state_kept
from benchbench.values import RunResult


class InlineEngine:
    """Runs each job when it is submitted, before `submit` returns.

    A debugger stops where it should; a crash takes this process along, and a spec's timeout ends a run only between
    two steps.

    Args:
        slot: Device and threads of every run; its environment is not applied, for this process may have other uses for
            its GPUs, or have started them already.

    Raises:
        BadInputError: Its GPUs cannot be named to this process by number.
    """

    name = "inline"

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        self._device = device_here(slot)
        self._results: list[RunResult] = []

    @property
    def capacity(self) -> int:
        """One job, once the last one's result has been taken."""
        return 0 if self._results else 1

    def submit(self, job: Job) -> None:
        """Run a job to its end.

        Raises:
            KeyboardInterrupt: On Ctrl-C or SIGTERM, once the run has left a checkpoint; on a second one, at once.
        """
        import torch

        from benchbench.devices import use
        from benchbench.training.trainer import run_in_folder

        job.folder.prepare(job.spec)
        deadline = time.monotonic() + (job.spec.timeout or math.inf)
        threads = torch.get_num_threads()
        torch.set_num_threads(self._slot.threads)
        try:
            # What a plugin prints must not end up among the tables.
            with (
                process_state_kept(),
                stopping_on(signal.SIGINT, signal.SIGTERM) as stop,
                redirect_stdout(sys.stderr),
            ):

                def is_over() -> bool:
                    return stop() or time.monotonic() > deadline

                device = torch.device(self._device)
                try:
                    use.start(device)
                    with use.current(device):
                        result = run_in_folder(job.spec, device, job.folder, data=job.data, stop=is_over)
                except use.DeviceMissingError as error:
                    message = f"meant for {self._slot.name}: {error}"
                    result = RunResult(key=job.spec.key, outcome="failed", message=message)
                    job.folder.finish(result)
        finally:
            torch.set_num_threads(threads)
        if stop():
            raise KeyboardInterrupt
        if result.outcome == "interrupted" and job.spec.timeout is not None:
            message = f"stopped after {job.spec.timeout:g} s: {result.message}"
            result = result.model_copy(update={"outcome": "timeout", "message": message})
            job.folder.finish(result)
        self._results.append(result)

    def poll(self, seconds: float) -> Sequence[RunResult]:
        """Return the result of the last job."""
        results, self._results = self._results, []
        return results

    def stop(self, *, at_once: bool = False) -> None:
        """Do nothing: no job runs between calls."""


def device_here(slot: Slot) -> str:
    """Return what this process calls the device of a slot: the first one, and ranks take those that follow it.

    Raises:
        BadInputError: This process cannot name them.
    """
    if not slot.devices:
        return slot.device
    here = visible()
    numbers = [here.identifiers.index(gpu) if gpu in here.identifiers else None for gpu in slot.devices]
    first = numbers[0]
    in_turn = first is not None and numbers == list(range(first, first + len(numbers)))
    # Of the instances of a divided GPU, a process that is not restricted sees the first one alone.
    if first is None or not in_turn or (first > 0 and slot.devices[0].startswith("MIG-")):
        chosen = ",".join(slot.devices)
        message = f"this engine cannot choose it; allowed: {here.kind.variable}={chosen} before the command, or local"
        raise BadInputError([Problem(message, file="--devices", value=chosen)])
    return f"{slot.device}:{first}"
