"""Memory of a process."""

from __future__ import annotations

import gc
import re
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def process_peak() -> int:
    """Return the most resident memory that this process has had, pages shared with its parent included."""
    # What getrusage says is never less than what the program had that started this one.
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text(encoding="utf-8")) if status.exists() else None
    if found is not None:
        return 1024 * int(found[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Disable the garbage collector; also a decorator.

    It is for work that makes many objects without cycles, which the collector would look through over and over: MLflow
    makes dozens per run, and of ten thousand runs there are a million, a quarter of the time of a large site.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
