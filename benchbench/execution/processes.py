"""What processes need that are started by the harness."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
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
