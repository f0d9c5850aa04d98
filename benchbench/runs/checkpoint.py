"""The checkpoints of a run: files that are either complete or not used, known by the digest of their content."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, cast

from benchbench.files import naming, private, private_folder, remove
from benchbench.runs.checksums import new_digest

_NAME = re.compile(r"\d{12}-[0-9a-f]+\.pt")

KEPT = 2
"""Checkpoints that stay; with one alone, a fault of the disk would cost the whole run."""


class UnusableCheckpointError(Exception):
    """A checkpoint cannot be used; the message says why."""


class Checkpoints:
    """The checkpoints of one run, `<steps>-<digest>.pt`, readable by their owner alone.

    Args:
        folder: Where they lie; created with the first one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def files(self) -> list[Path]:
        """Return the checkpoints, those with the most steps first."""
        return sorted((file for file in self._folder.glob("*-*.pt") if _NAME.fullmatch(file.name)), reverse=True)

    def latest_steps(self) -> int:
        """Return the steps done at the latest checkpoint, 0 without any."""
        return max((int(file.name.partition("-")[0]) for file in self.files()), default=0)

    def save(self, steps: int, content: Mapping[str, Any]) -> Path:
        """Write a checkpoint, and remove those that are superseded.

        One that claims to be as late, or later, is from an attempt that has been given up.

        Args:
            steps: Steps done.
            content: Tensors, numbers and texts, in dictionaries and lists.

        Returns:
            The new file.
        """
        private_folder(self._folder)
        unfinished = self._folder / "unfinished"
        digest = save_tensors(unfinished, content)
        path = self._folder / f"{steps:012}-{digest}.pt"
        unfinished.replace(path)
        _sync_folder(self._folder)
        others = [file for file in self.files() if file != path]
        earlier = [file for file in others if file.name < f"{steps:012}"]
        for file in set(others) - set(earlier[: KEPT - 1]):
            remove(file)
        return path

    def load(self, path: Path) -> dict[str, Any]:
        """Return the content of a checkpoint, its tensors on the CPU. No code in it is executed.

        Args:
            path: One of `files`.

        Raises:
            UnusableCheckpointError: The file is damaged, or holds something else than tensors and plain values.
        """
        return load_intact(path, path.stem.partition("-")[2])

    def clear(self) -> None:
        """Remove all of them."""
        remove(self._folder)


def save_tensors(path: Path, content: Mapping[str, Any]) -> str:
    """Write tensors and plain values to a file that its owner alone can read, and wait until it is on the disk.

    Returns:
        The digest of the file.

    Raises:
        OSError: It cannot be written; nothing of it is left.
        RuntimeError: torch cannot write this.
    """
    import torch

    try:
        with naming(path), open(path, "wb", opener=private) as file:
            writer = _HashingWriter(file)
            try:
                torch.save(content, cast(IO[bytes], writer))
            except RuntimeError:  # torch's own about what the system had said
                if writer.error is not None:
                    raise writer.error from None
                raise
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)  # a disk that is full has no room for it
        raise
    return str(writer.digest.hexdigest())


def load_intact(path: Path, digest: str) -> dict[str, Any]:
    """Return the content of a file of tensors, on the CPU, if it is what was written.

    Args:
        path: The file.
        digest: Its digest when it was written.

    Raises:
        UnusableCheckpointError: It is damaged, cannot be read or holds something else.
    """
    try:
        with path.open("rb") as file:
            # torch's reader does not look at the checksums in the file.
            if hashlib.file_digest(file, new_digest).hexdigest() != digest:
                raise UnusableCheckpointError("damaged")
            return load_tensors(file)
    except OSError as error:
        raise UnusableCheckpointError(f"unreadable: {error.strerror}") from error


def load_tensors(file: IO[bytes] | Path) -> dict[str, Any]:
    """Return the content of a file of tensors, on the CPU.

    Raises:
        UnusableCheckpointError: It holds something else than tensors and plain values; nothing of it is executed.
    """
    import torch

    if not isinstance(file, Path):
        file.seek(0)
    try:
        content: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a pickle that is refused can raise anything
        lines = str(error).strip().splitlines() or [""]
        reason = next((line for line in lines if "Unsupported" in line), lines[0])  # torch explains at length
        raise UnusableCheckpointError(f"not loadable: {type(error).__name__}: {reason.strip()}") from error
    return content


class _HashingWriter:
    """Computes the digest of what is written, on the way into a file, so that nothing is held in memory twice."""

    def __init__(self, file: IO[bytes]) -> None:
        self.digest = new_digest()
        self.error: OSError | None = None
        self._file = file

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()


def _sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
