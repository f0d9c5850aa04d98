"""Asking runs to stop, by signals."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class StopFlag:
    """Set from outside, by a signal say; the training loop looks at it after every step by calling it."""

    def __init__(self) -> None:
        self._set = False

    def __call__(self) -> bool:
        """Whether a stop was asked for."""
        return self._set

    def set(self) -> None:
        """Ask for a stop."""
        self._set = True


@contextmanager
def stopping_on(*numbers: signal.Signals) -> Iterator[StopFlag]:
    """Let the first of these signals ask for a stop; the next one does what it would have done without this.

    Signals reach the main thread alone; in another one, nothing asks.

    Yields:
        The flag that is set.
    """
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def ask(*_: object) -> None:
        flag.set()
        restore()

    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield flag
    finally:
        restore()
