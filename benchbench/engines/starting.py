"""Before the first run is put on a GPU: whether it starts, and what may be loaded ahead of the runs."""

from __future__ import annotations

from collections.abc import Sequence

from benchbench.devices import starting
from benchbench.engines.local import start_server
from benchbench.engines.slots import Slot, apart, merged
from benchbench.problems import BadInputError, Problem
from benchbench.processes.children import stop_fork_server
from benchbench.processes.separate import SeparateProcess

_SECONDS = 120.0
"""Time limit for the start of GPUs."""


def ready(slots: Sequence[Slot], preload: Sequence[str] = ()) -> list[str]:
    """Return the modules that the server of the local engine may load ahead of the runs.

    Where runs are to have GPUs, a process that is forked from that server tries to start them; this process would have
    to keep what it starts. A module that looks for GPUs when it is imported is left to the runs: a process that is
    forked from one that has started CUDA cannot start it, and the module would find all GPUs instead of the run's.

    Args:
        slots: Where runs are to be placed.
        preload: The modules.

    Raises:
        BadInputError: The GPUs do not start.
    """
    if not slots[0].devices:
        return list(preload)
    start_server(preload)
    if preload:
        with SeparateProcess(starting.__name__, forked=True) as process:
            has_looked_for_gpus = process.ask(_SECONDS, starting.consulted)
        if has_looked_for_gpus:
            stop_fork_server()
            preload = ()
            start_server(preload)
    every = merged(apart(slots[::-1], len(slots)))
    # Of the instances of divided GPUs, a process sees the first one alone.
    number = 1 if every.devices[0].startswith("MIG-") else len(every.devices)
    try:
        with SeparateProcess(starting.__name__, forked=True) as process:
            failure = process.ask(_SECONDS, starting.failure, every.device, number, every.environment)
    except TimeoutError:
        failure = f"{every.device} has not started after {_SECONDS:g} s{starting.remedy(every.device)}"
    except ChildProcessError as error:
        failure = f"{every.device} ends the process that starts it ({error}){starting.remedy(every.device)}"
    if failure is not None:
        raise BadInputError([Problem(failure, field="devices", value=",".join(every.devices))])
    return list(preload)
