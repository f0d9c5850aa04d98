"""Handlers of Ctrl-C and SIGTERM. Only the main thread gets these signals: in other threads, nothing changes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any


class StopFlag:
    """Set from outside, by a signal say; the training loop looks at it after every step by calling it."""

    def __init__(self) -> None:
        self._set = False

    def __call__(self) -> bool:
        """Return whether a stop was asked for."""
        return self._set

    def set(self) -> None:
        """Ask for a stop."""
        self._set = True


@contextmanager
def stopping_on(*numbers: signal.Signals) -> Iterator[StopFlag]:
    """Let the first of these signals ask for a stop; the next one does what it would have done without this.

    Yields:
        The flag that is set.
    """
    flag = StopFlag()
    handlers = {number: signal.getsignal(number) for number in numbers}

    def ask(*_: object) -> None:
        flag.set()
        for number, handler in handlers.items():
            signal.signal(number, handler)

    with _handled(ask, *numbers):
        yield flag


def sigterm_as_interrupt() -> AbstractContextManager[None]:
    """Let SIGTERM end the process as cleanly as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    return _handled(interrupt, signal.SIGTERM)


def uninterruptible() -> AbstractContextManager[None]:
    """Keep another Ctrl-C from breaking off the clean-up."""
    return ignored(signal.SIGINT, signal.SIGTERM)


def ignored(*numbers: signal.Signals) -> AbstractContextManager[None]:
    """Ignore signals."""
    return _handled(signal.SIG_IGN, *numbers)


@contextmanager
def postponed() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait until the end of what must not be broken off."""
    came: list[int] = []
    try:
        with _handled(lambda number, _: came.append(number), signal.SIGINT, signal.SIGTERM):
            yield
    finally:
        for number in dict.fromkeys(came):
            signal.raise_signal(number)


@contextmanager
def _handled(handler: Callable[[int, Any], object] | signal.Handlers, *numbers: signal.Signals) -> Iterator[None]:
    """Have signals handled so, inside."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
