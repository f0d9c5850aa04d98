"""Checksums in the JSON texts of a run's folder: what has been changed since it was written is not believed."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

_DIGEST_BYTES = 16

_SEALED = re.compile(rb'(.*),(\n  )?"checksum": ?"[0-9a-f]{32}"\n?\}\n', re.DOTALL)


class DamagedError(OSError):
    """A file is not what was written.

    Args:
        path: The file.
        reason: Why it is not believed.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(None, reason, str(path))

    def __str__(self) -> str:
        return f"{self.filename} {self.strerror}"


def sealed(text: str, place: str) -> bytes:
    """Return the text of a JSON object with a checksum as its last member, and a line's end.

    Args:
        text: The object, on one line or indented by two spaces.
        place: What the text belongs to, such as a run's key and a file's name: it is believed there alone.
    """
    body = text.rstrip().removesuffix("}")
    inner = body.rstrip()
    checksum = new_digest(f"{place}\0{inner}".encode()).hexdigest()
    if body != inner:
        return f'{inner},\n  "checksum": "{checksum}"\n}}\n'.encode()
    return f'{inner},"checksum":"{checksum}"}}\n'.encode()


def unsealed(content: bytes, place: str) -> str | None:
    """Return the text that was sealed, or `None` if this is not what `sealed` returned for the place."""
    found = _SEALED.fullmatch(content)
    if found is None:
        return None
    text = (found[1] + (b"\n}" if found[2] else b"}")).decode(errors="replace")
    return text if sealed(text, place) == content else None


def new_digest(data: bytes = b"") -> Any:
    """Return the hash by which files of runs are known."""
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES)


def digest_of(path: Path) -> str:
    """Return the digest of a file's content.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return str(hashlib.file_digest(file, new_digest).hexdigest())
