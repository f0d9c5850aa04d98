"""Text that users bring."""

from __future__ import annotations

import functools
from pathlib import Path


def read_text(path: Path) -> str:
    """Return the content of a text file in UTF-8, with or without a byte-order mark, whatever its line ends.

    Raises:
        ValueError: It is not UTF-8; the message names the file and the line.
    """
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise ValueError(f"{path}: is UTF-16: save it as UTF-8") from None
        line, byte = content.count(b"\n", 0, error.start) + 1, content[error.start]
        raise ValueError(f"{path}:{line}: the byte 0x{byte:02x} is not UTF-8: save the file as UTF-8") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def unreadable(path: Path) -> str | None:
    """Return why a file is no text in UTF-8, in one line, or `None`."""
    status = path.stat()
    return _unreadable(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _unreadable(path: Path, _size: int, _changed: int) -> str | None:
    # Remembered as long as the file does not change: many workloads of a suite ask for the same one.
    try:
        read_text(path)
    except ValueError as error:
        return str(error)
    return None
