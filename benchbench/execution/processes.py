"""What processes need that are started by the harness."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from types import ModuleType


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


def die_with_parent() -> None:
    """Let this process end when the one that has started it does, however that ends."""
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
            wait([process])  # also a process that is dead counts which nobody has taken note of
            os.close(process)
        else:
            while True:
                time.sleep(0.01)
                os.kill(pid, 0)
