"""Files that are private, written in one piece, and named by the errors of those who write them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """Add this path to operating system errors that lack one; most errors of a full disk do.

    Raises:
        OSError: What was raised inside.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise


def private(path: str, flags: int) -> int:
    """Open a file that its owner alone can read, whatever a plugin has made of the mask of new files (an `opener`)."""
    number = os.open(path, flags, 0o600)
    os.fchmod(number, 0o600)
    return number


def private_folder(path: Path) -> None:
    """Make a folder that its owner alone can read, unless it is there."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file in one piece or not at all.

    Raises:
        OSError: It cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with naming(path), open(temporary, "wb", opener=private) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # or a power cut could leave an empty file under the new name
        if path.is_dir():
            remove(path)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def append(path: Path, content: bytes) -> None:
    """Write at the end of a file.

    Raises:
        OSError: It cannot be written.
    """
    with naming(path), open(path, "ab", opener=private) as file:
        file.write(content)


def remove(path: Path) -> None:
    """Remove a file, or whatever lies in its place."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
