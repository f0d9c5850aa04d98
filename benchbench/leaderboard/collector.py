"""Work that makes many values which live on, without the garbage collector."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collector() -> Iterator[None]:
    """Pause the search for cycles of garbage; also a decorator.

    Of ten thousand runs there are a million values, which the collector would look through over and over: a quarter of
    the time of a large site. They have no cycles, so no more memory is used.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
