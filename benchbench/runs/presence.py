"""Runs of this machine that share a device, whichever command has started them.

Every run has a file of its own that it keeps locked while it trains, so that one whose process has died counts no more.
A new run writes into the files of all that are there how many they are now. So each knows at its end how many there
have been at a time, and nothing has to be looked at in between.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

PRESENCE_DIR = "BENCHBENCH_PRESENCE_DIR"
"""Variable that names the folder of these files; by default each user has one among the machine's temporary files."""


@contextmanager
def present(device: str) -> Iterator[Callable[[], int]]:
    """Count this process among the runs on a device, inside.

    Args:
        device: What the device is called by all runs of the machine, such as `cpu`.

    Yields:
        A function that returns the most runs that there have been on the device at a time since then, this one
        included; 1 where the folder cannot be used.
    """
    folder = _folder() / "".join(each if each.isalnum() or each in "-." else "_" for each in device)
    own = folder / secrets.token_hex(8)
    lock = FileLock(own.with_suffix(".lock"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
        own.write_text("1", encoding="ascii")
        with FileLock(folder / "arrival", timeout=10):
            there = _at_work(folder)
            for file in there:
                if _most(file) < len(there):
                    new = file.with_suffix(".new")
                    new.write_text(str(len(there)), encoding="ascii")
                    new.replace(file)
    except OSError:  # a read-only system, or one without locks (a timeout is an OSError too)
        lock.release()
        yield lambda: 1
        return
    try:
        yield lambda: _most(own)
    finally:
        own.unlink(missing_ok=True)
        lock.release()
        own.with_suffix(".lock").unlink(missing_ok=True)


def at_work() -> int:
    """Return how many runs of this machine train now, on whatever device; 0 where that cannot be known."""
    try:
        return sum(len(_at_work(device)) for device in _folder().iterdir())
    except OSError:
        return 0


def _folder() -> Path:
    named = os.environ.get(PRESENCE_DIR)
    return Path(named) if named else Path(tempfile.gettempdir()) / f"benchbench-{os.getuid()}"


def _at_work(folder: Path) -> list[Path]:
    """Return the files of the runs whose processes live, and remove those of the others."""
    found = []
    for file in folder.iterdir():
        if file.suffix or file.name == "arrival":
            continue
        lock = FileLock(file.with_suffix(".lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            found.append(file)
        else:
            lock.release()
            # Its process has died.
            file.unlink(missing_ok=True)
            file.with_suffix(".lock").unlink(missing_ok=True)
    return found


def _most(file: Path) -> int:
    with suppress(OSError, ValueError):
        return int(file.read_text(encoding="ascii"))
    return 1
