"""Child processes: the server that they are forked from, their signals, and their death with the parent."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import wait
from multiprocessing.util import Finalize
from types import ModuleType

from benchbench.files import naming
from benchbench.processes.temporary import TemporaryFolder

_MOMENT = 1.0
"""Seconds within which the system brings a killed process to its end."""

_SET_DEATH_SIGNAL = 1
"""Of Linux's call `prctl`."""


@contextmanager
def no_main_module() -> Iterator[None]:
    """Keep multiprocessing from running the user's main script again in the child, which needs nothing of it.

    Without this, a script that calls `benchbench.run` outside an `if __name__ == "__main__"` block would start itself
    over and over.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def held_back(*numbers: signal.Signals) -> Iterator[None]:
    """Hold signals back, from this thread and from the processes that are started meanwhile, which inherit that."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _keep_sockets_apart() -> None:
    """Give multiprocessing a folder for its sockets; the one that it makes itself stays for good if this is killed."""
    config = vars(multiprocessing.current_process())["_config"]
    if "tempdir" not in config:
        folder = TemporaryFolder("bbmp-")  # a short name, for those of sockets have some 100 characters
        config["tempdir"] = str(folder.path)
        Finalize(None, folder.remove, exitpriority=-100)  # as multiprocessing does with its own


def start_fork_server(preload: Sequence[str]) -> None:
    """Start the process that others are forked from, unless it runs already; it goes on loading in the background.

    Signals for all processes of a job, such as Ctrl-C in a terminal, or those of Slurm when it preempts one or its time
    limit is near, must not take the server along, which reports how its children end. These inherit that SIGINT,
    SIGTERM and SIGUSR2 are held back.

    Args:
        preload: Modules to load.
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload(list(preload))
    with naming(tempfile.gettempdir()), held_back(signal.SIGUSR2, signal.SIGINT):
        _keep_sockets_apart()
        resource_tracker.ensure_running()  # it ignores SIGTERM itself; started below, it would lift the hold
        with held_back(signal.SIGTERM):
            forkserver.ensure_running()


def fork_server() -> int | None:
    """Return the process that others are forked from, `None` if it was never started."""
    pid: int | None = vars(forkserver._forkserver)["_forkserver_pid"]
    return pid


def has_died(server: int | None) -> bool:
    """Return whether a process that others were forked from has ended; one that was just killed gets a moment."""
    if server is None or server != fork_server() or sys.platform != "linux":
        return True
    try:
        process = os.pidfd_open(server)
    except ProcessLookupError:
        return True
    ended = bool(wait([process], _MOMENT))
    os.close(process)
    return ended


def stop_fork_server() -> None:
    """End the process that others are forked from, and with it what has been forked from it; another can be started."""
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


def die_with_parent() -> None:
    """Let this process end when the one that has started it does, however that ends.

    A thread waits for that, which a computation in C can keep from running. So Linux is asked to kill this process when
    the server ends that has forked it, which it does when its pipe is closed: this one gives its end up.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
        pipe = vars(forkserver._forkserver)
        os.close(pipe["_forkserver_alive_fd"])
        pipe["_forkserver_alive_fd"] = None
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def end_orphan(pid: int) -> None:
    """Kill a process, and return when it is dead, though no process here waits for it.

    Args:
        pid: Of a process that was alive a moment ago.
    """
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        if sys.platform == "linux":
            process = os.pidfd_open(pid)
            wait([process])  # also a process that is dead counts that has not been waited for
            os.close(process)
        else:
            while True:
                time.sleep(0.01)
                os.kill(pid, 0)
