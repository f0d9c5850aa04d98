"""What happens in the process of one run."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from pathlib import Path

from benchbench.engines.slots import Slot
from benchbench.engines.stopping import StopFlag
from benchbench.execution.processes import die_with_parent
from benchbench.runs.folder import RunFolder
from benchbench.values import RunSpec


def work(spec: str, folder: str, data: str, slot: Slot) -> None:
    """Execute one run and leave everything about it in its folder.

    Args:
        spec: The run's spec as JSON.
        folder: Path of the run's folder.
        data: Path of the folder in which data sets lie.
        slot: What the run may use.
    """
    # Ctrl-C reaches every process of the terminal; the parent decides what it means for the runs.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop = StopFlag()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # the server holds it back
    die_with_parent()
    os.environ.update(slot.environment)
    files = RunFolder(Path(folder))
    _redirect_output(files.log_file)
    faulthandler.enable()

    import torch

    from benchbench.training.trainer import run_in_folder

    torch.set_num_threads(slot.threads)
    run_in_folder(
        RunSpec.model_validate_json(spec),
        torch.device(slot.device),
        files,
        data=Path(data),
        sharing=slot.sharing,
        own_process=True,
        stop=stop,
    )


def _redirect_output(path: Path) -> None:
    """Send everything that this process prints, from C as well, to the run's log."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, sys.stdout.fileno())
    os.dup2(log, sys.stderr.fileno())
    os.close(log)
