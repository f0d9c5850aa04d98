"""Engines: where runs execute. All offer the same three calls, so a suite does not care which one it gets."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue

from benchbench.engines.slots import Placement, apart, available_slots, merged, room_for_ranks
from benchbench.runs.folder import RunFolder
from benchbench.values import RunResult, RunSpec, Shortage


@dataclass(frozen=True)
class Job:
    """A run to execute.

    Attributes:
        spec: Its spec.
        folder: Where it leaves its files.
        data: The folder in which data sets lie.
        memory: Bytes of memory that it is expected to need, 0 where nothing is known.
        alone: Memory that it must share with no other run, since it ran out next to others.
    """

    spec: RunSpec
    folder: RunFolder
    data: Path
    memory: int = 0
    alone: Shortage = ""


class Engine(Protocol):
    """Executes jobs; every job that was submitted is answered by exactly one result, however it ends.

    Attributes:
        name: Name of the engine on the command line.
    """

    name: str

    @property
    def capacity(self) -> int:
        """Number of jobs that can be submitted now."""
        ...

    def submit(self, job: Job) -> None:
        """Start a job, or queue it where it will be started."""
        ...

    def poll(self, seconds: float) -> Sequence[RunResult]:
        """Return the results of jobs that have ended since the last call, waiting up to `seconds` for one."""
        ...

    def stop(self, *, at_once: bool = False) -> None:
        """End all running jobs, which may leave a checkpoint first; `poll` gives no result of theirs.

        Args:
            at_once: Give them no time for that, also where an earlier call was broken off.
        """
        ...


FORK_SERVER = "fork_server"
"""In the environment of a result: that the process has died from which this run and others had been forked."""

ENGINES = ("local", "inline", "ray", "slurm")
"""Names of the engines that `create` knows."""


class EngineError(RuntimeError):
    """An engine cannot be used; the message says why, in one line."""


def create(
    name: str,
    placement: Placement,
    preload: Sequence[str] = (),
    *,
    address: str | None = None,
    options: Mapping[str, JsonValue] | None = None,
    ranks: int = 1,
) -> Engine:
    """Return an engine by name.

    Args:
        name: One of `ENGINES`.
        placement: What the user says about the places of runs.
        preload: Modules that every run will need, loaded once where the engine can.
        address: A cluster to use, for engines that know several.
        options: What is asked for on behalf of every run, in the engine's own words.
        ranks: The most that a run has.

    Raises:
        BadInputError: Runs cannot be placed as the user says, or this machine, if it is to take the runs, has too few
            GPUs for the ranks of one, or they do not start.
        EngineError: There is no such engine, or it cannot be used here.
    """
    if name not in ENGINES:
        raise EngineError(f"there is no engine {name!r}; allowed: {', '.join(ENGINES)}")
    if name == "slurm":
        from benchbench.engines.slurm import SlurmEngine

        placement.check_for_cluster(shares_gpus=False)
        return SlurmEngine(placement.slots, options, on_cpu=placement.on_cpu, ranks=ranks)
    if name == "ray" and (address := address or os.environ.get("RAY_ADDRESS")):
        from benchbench.engines.ray import RayEngine

        placement.check_for_cluster(shares_gpus=True)
        share = 0.0 if placement.on_cpu else 1 / placement.per_device
        return RayEngine([], placement.slots, address, options, share)
    if name == "inline":
        placement.check_for_one()
    slots = available_slots(placement)
    room_for_ranks(slots, ranks)
    from benchbench.engines import starting

    preload = starting.ready(slots, preload if name == "local" else ())
    if name == "ray":
        from benchbench.engines.ray import RayEngine

        return RayEngine(slots, placement.slots, None, options, 1 / slots[0].sharing if slots[0].devices else 0.0)
    if name == "inline":
        from benchbench.engines.inline import InlineEngine

        # The first GPUs, in their order; on CPUs ranks share a slot.
        return InlineEngine(merged(apart(slots[::-1], ranks)) if slots[0].devices else slots[0])
    from benchbench.engines.local import LocalEngine

    return LocalEngine(slots, preload)
