"""The process of one run."""

from __future__ import annotations

import faulthandler
import io
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from ctypes import c_int
from pathlib import Path

from benchbench.engines.slots import Slot
from benchbench.processes.children import die_with_parent
from benchbench.processes.signals import StopFlag
from benchbench.runs.folder import RunFolder
from benchbench.values import RunResult, RunSpec

LONGEST_LOG = 16 * 1024 * 1024
"""Bytes that a log may have; of a longer one the beginning and the end stay."""

_NOT_FOR_RUNS = ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
"""Runs write to their folders alone, so what opens the tracking store is kept from their code and their logs."""

_KEPT = 64 * 1024
"""Bytes of a log that is too long which stay at its beginning and at its end."""

_LOOKS_PER_SECOND = 4


def work(spec: str, folder: str, data: str, slot: Slot, concurrent_runs: c_int) -> None:
    """Execute one run and leave everything about it in its folder.

    Args:
        spec: The run's spec as JSON.
        folder: Path of the run's folder.
        data: Path of the folder in which data sets lie.
        slot: What the run may use.
        concurrent_runs: The most runs that there have been on its device at a time so far, which the engine counts.
    """
    # Ctrl-C reaches every process of the terminal; the parent decides what it means for the runs.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop = StopFlag()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # the server holds it back, and SIGUSR2
    die_with_parent()
    for name in _NOT_FOR_RUNS:
        os.environ.pop(name, None)
    os.environ.update(slot.environment)
    files = RunFolder(Path(folder))
    run = RunSpec.model_validate_json(spec)
    try:
        _redirect_output(files.log_file)
    except OSError as error:
        with suppress(OSError):
            message = f"{error.filename}: {error.strerror}"
            files.as_claimed().finish(RunResult(key=run.key, outcome="failed", message=message))
        return
    threading.Thread(target=_keep_short, args=(files.log_file,), daemon=True).start()
    faulthandler.enable()

    import torch

    from benchbench.devices import use
    from benchbench.training.shortage import shortage_of
    from benchbench.training.trainer import run_in_folder

    device = torch.device(slot.device)
    torch.set_num_threads(slot.threads)
    try:
        use.start(device, len(slot.devices))
    except use.DeviceMissingError as error:
        result = RunResult(
            key=run.key,
            outcome="failed",
            message=f"meant for {slot.name}: {error}",
            out_of_memory=shortage_of(error),  # by others, where nothing of it is left for a start
            environment={"concurrent_runs": str(concurrent_runs.value)},
        )
        files.as_claimed().finish(result)
        return
    run_in_folder(
        run,
        device,
        files,
        data=Path(data),
        concurrent_runs=lambda: concurrent_runs.value,
        own_process=True,
        stop=stop,
    )


def _redirect_output(path: Path) -> None:
    """Send everything that this process prints, from C as well, to the run's log."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number in (1, 2):  # whatever a plugin that the server has loaded has made of them
        os.dup2(log, number)
    if log > 2:
        os.close(log)
    sys.stdout, sys.stderr = _Log(1), _Log(2)


class _Log(io.TextIOWrapper):
    """A stream to the log: that it cannot be written, for the disk is full or a plugin has closed it, ends no run."""

    def __init__(self, number: int) -> None:
        file = io.BufferedWriter(io.FileIO(number, "w", closefd=False))
        super().__init__(file, encoding="utf-8", errors="backslashreplace", line_buffering=True)

    def write(self, text: str) -> int:
        """Write a text, as far as that can be done."""
        with suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """Write what is left, as far as that can be done."""
        with suppress(OSError):
            super().flush()

    def close(self) -> None:
        """Stay open: others print here too."""
        self.flush()


def _keep_short(path: Path) -> None:
    """Cut the log whenever it has become too long: a run that floods it must not fill the disk."""
    while path.exists():  # another command may have taken the run over, and started it again
        time.sleep(1 / _LOOKS_PER_SECOND)
        with suppress(FileNotFoundError):
            _cut(path)


def _cut(path: Path) -> None:
    """Take the middle out of a log that is too long: how a run began and how it ended stay readable."""
    size = path.stat().st_size
    if size > LONGEST_LOG:
        with path.open("rb") as log:
            log.seek(size - _KEPT)
            end = log.read().decode("utf-8", errors="replace")
        os.truncate(path, _KEPT)
        note = f"[... the log was longer than {LONGEST_LOG:,} bytes: what stood here is cut ...]"
        print(f"\n{note}\n{end}", end="", flush=True)
