"""Temporary folders that do not outlive who made them for long: the next one that is made removes those of the dead."""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_LOCK, _MADE = ".lock", ".made"


class TemporaryFolder:
    """A folder that is there until it is removed, or this process is dead and another one is made.

    Args:
        prefix: What its name begins with, and those of the folders that are removed first.
        parent: Where to make it (default: among the machine's temporary files).

    Attributes:
        path: The folder.
    """

    def __init__(self, prefix: str, parent: Path | None = None) -> None:
        self._parent = parent or Path(tempfile.gettempdir())
        remove_abandoned(prefix, self._parent)
        self.path, self._lock = self._make(prefix)

    def _make(self, prefix: str) -> tuple[Path, FileLock]:
        while True:
            path = Path(tempfile.mkdtemp(prefix=prefix, dir=self._parent))
            (path / _MADE).touch()
            lock = FileLock(path / _LOCK)
            try:
                lock.acquire(timeout=0)
            except Timeout:  # another process has looked at it before it was locked, and takes it for abandoned
                continue
            except OSError:  # a file system without locks, say: it can never be found out that it is abandoned
                return path, lock
            if (path / _MADE).exists() and (path / _LOCK).exists():  # and not removed, and made again by the lock
                return path, lock
            lock.release()

    def remove(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release()


@contextmanager
def temporary_folder(prefix: str, parent: Path | None = None) -> Iterator[Path]:
    """Make a temporary folder, and remove it at the end.

    Args:
        prefix: As for `TemporaryFolder`.
        parent: As for `TemporaryFolder`.

    Yields:
        The folder.
    """
    folder = TemporaryFolder(prefix, parent)
    try:
        yield folder.path
    finally:
        folder.remove()


def remove_abandoned(prefix: str, parent: Path) -> None:
    """Remove the folders that dead processes of this user have left, by the beginning of their names."""
    for path in parent.glob(f"{glob.escape(prefix)}*"):
        lock = FileLock(path / _LOCK)
        try:
            if path.is_symlink() or path.stat().st_uid != os.getuid() or not (path / _LOCK).exists():
                continue
            lock.acquire(timeout=0)
        except OSError:  # another process is at work there, or has just removed it, or it cannot be told
            continue
        shutil.rmtree(path, ignore_errors=True)
        lock.release()
