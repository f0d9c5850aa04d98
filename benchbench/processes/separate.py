"""Questions put to another process: what hangs there, or takes its process down, takes nothing else with it."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import TypeVar

from benchbench.processes.children import no_main_module

_Answer = TypeVar("_Answer")


class SeparateProcess:
    """Answers questions one after the other; a context manager, at whose end the process is killed.

    It is started for the first question, and again for the one after a question that was not answered. Nothing that is
    printed there is seen.

    Args:
        module: What it imports before the first question, without a limit of time.
        forked: Whether it is forked from the server that runs are forked from, which must have been started, instead of
            beginning with nothing.
    """

    def __init__(self, module: str, *, forked: bool = False) -> None:
        self._module = module
        self._forked = forked
        self._process: multiprocessing.process.BaseProcess | None = None
        self._connection: Connection | None = None

    def __enter__(self) -> SeparateProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def ask(self, seconds: float, question: Callable[..., _Answer], *arguments: object) -> _Answer:
        """Return what a function returns in the other process.

        Args:
            seconds: How long it may take.
            question: A function of a module's top level that raises nothing.
            *arguments: Its arguments.

        Raises:
            TimeoutError: There is no answer in time.
            ChildProcessError: The process has ended instead; the message says how.
        """
        connection = self._connection or self._started()
        try:
            connection.send((question, arguments))
            if not connection.poll(seconds):
                self._end()
                raise TimeoutError
            answer: _Answer = connection.recv()
        except (EOFError, ConnectionError):
            raise ChildProcessError(self._end()) from None
        return answer

    def _started(self) -> Connection:
        context = multiprocessing.get_context("forkserver") if self._forked else multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_answer, args=(theirs, self._module))
        with no_main_module():
            self._process.start()
        theirs.close()  # so that this end notices when the other process is gone
        try:
            self._connection.recv()
        except (EOFError, ConnectionError):
            raise ChildProcessError(self._end()) from None
        return self._connection

    def _end(self) -> str:
        """Kill the process, and return how it had ended before, if it had."""
        if self._process is None or self._connection is None:
            return ""
        self._connection.close()
        self._process.join(1)  # one that is ending by itself has a code to tell
        self._process.kill()
        self._process.join()
        code = self._process.exitcode or 0
        self._process = self._connection = None
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _answer(connection: Connection, module: str) -> None:
    """Answer questions until there are no more: what the other process does."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    importlib.import_module(module)
    connection.send(None)
    while True:
        try:
            question, arguments = connection.recv()
        except EOFError:
            return
        connection.send(question(*arguments))
