"""Process state that the harness relies on, restored after third-party code has run."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

_HANDLED = (signal.SIGINT, signal.SIGTERM)

_STREAMS = (1, 2)
"""File descriptors of standard output and standard error."""

_OURS = ("MLFLOW_", "BENCHBENCH_", "RAY_ADDRESS", "TMPDIR")
"""Beginnings of the variables that say where the harness writes; others are a plugin's own affair."""


@contextmanager
def process_state_kept() -> Iterator[None]:
    """Put back, at the end, what foreign code has changed of this process.

    That is the current folder, the mask of new files, who handles Ctrl-C and SIGTERM, the standard streams, and the
    variables that say where the harness writes.
    """
    folder = os.open(".", os.O_RDONLY)
    os.umask(mask := os.umask(0o077))  # which can only be read by changing it
    handlers = {number: signal.getsignal(number) for number in _HANDLED}
    environment = _our_variables()
    streams, copies = (sys.stdout, sys.stderr), {number: _copy(number) for number in _STREAMS}
    sys.stdout, sys.stderr = (cast(TextIO, _Lent(stream)) for stream in streams)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams
        for number, copy in copies.items():
            if copy is not None:
                _put_back(copy, number)
        for name in _our_variables().keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                if handler is not None and signal.getsignal(number) != handler:
                    signal.signal(number, handler)
        os.umask(mask)
        with suppress(OSError):  # it was removed meanwhile
            os.fchdir(folder)
        os.close(folder)


class _Lent:
    """A stream that its user cannot close."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def close(self) -> None:
        """Leave the stream open for its owner."""
        self._stream.flush()


def _our_variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(_OURS)}


def _copy(number: int) -> int | None:
    try:
        return os.dup(number)
    except OSError:  # it was closed before
        return None


def _put_back(copy: int, number: int) -> None:
    try:
        is_other = not os.path.sameopenfile(copy, number)
    except OSError:
        is_other = True
    if is_other:
        os.dup2(copy, number)
    os.close(copy)
