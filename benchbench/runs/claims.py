"""Claims: how commands that work on one folder at the same time, on one machine or on many, share the runs out.

Every command keeps a *holder file* that it rewrites while it is alive, and a lock on a file next to it. A run's claims
are numbered files that name a holder; they are created exclusively, and the highest one counts. So nothing here needs
more of a shared file system than that one of several who create a file succeeds.

A holder is dead when its lock can be taken (on its own machine, where locks are reliable: at once), or when its holder
file has not changed for as long as a lease lasts, by the clock of the one who looks. No two clocks are compared.
"""

from __future__ import annotations

import os
import platform
import secrets
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from filelock import FileLock

from benchbench.files import naming

LEASE_SECONDS = 60.0
"""Seconds of silence after which a holder on another machine loses its runs; it speaks three times as often."""

_FREE = "free"
_HOLDERS = ".holders"
_IDENTITY = ".identity"
_LONG_SILENCE = 5
"""Leases of silence after which a holder is called dead by who does not watch it."""


class Holder:
    """One command as the holder of claims; a context manager that is dead, for others, once it is left.

    Args:
        runs: Folder of the runs' folders.
        machine: What tells this machine from others (tests pretend to be several).
        lease: Seconds of silence after which others on other machines are believed dead.
    """

    def __init__(self, runs: Path, machine: str | None = None, lease: float = LEASE_SECONDS) -> None:
        self._folder = runs / _HOLDERS
        self._machine = machine or this_machine()
        self._lease = lease
        self._token = secrets.token_hex(8)
        self._lock = FileLock(self._lock_file(self._token))
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._keep_beating, daemon=True)
        self._seen: dict[Path, tuple[str, float]] = {}

    @property
    def name(self) -> str:
        """Unique identifier of this command."""
        return f"{identity(self._folder.parent)}/{self._token}"

    def has_outlived(self, name: str) -> bool:
        """Return whether another command of this folder, by its name, is dead, as far as can be told at once."""
        folder, _, token = name.partition("/")
        return self.is_neighbour(name) and bool(folder) and _has_died(self._folder.parent, token)

    def is_neighbour(self, name: str) -> bool:
        """Return whether a command, by its name, is one of this folder."""
        return name.partition("/")[0] == identity(self._folder.parent)

    def __enter__(self) -> Holder:
        self._folder.mkdir(parents=True, exist_ok=True)
        _identify(self._folder.parent)
        self._beat(0)
        with suppress(OSError):  # a file system without locks: silence tells then, here too
            self._lock.acquire(timeout=0)
        self._beating.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._beating.join()
        self._remove(self._token)
        self._lock.release()

    def claim(self, run: Path) -> int | None:
        """Claim a run.

        Args:
            run: The run's folder.

        Returns:
            The number of the claim, or `None` while another command has the run.

        Raises:
            OSError: The claim cannot be written.
        """
        claims = _claims(run)
        claims.mkdir(parents=True, exist_ok=True)
        latest = current(run)
        if latest and not self._is_over(claims / str(latest)):
            return None
        claim = claims / str(latest + 1)
        try:
            with naming(claim), claim.open("x", encoding="utf-8") as file:
                file.write(self._token)
        except FileExistsError:
            return None
        except OSError:  # a full disk, say: a claim without a name would hold the run for as long as a lease
            claim.unlink(missing_ok=True)
            raise
        if current(run) != latest + 1:  # this one has been slow: others have come and gone meanwhile
            claim.unlink(missing_ok=True)
            return None
        (claims / str(latest)).unlink(missing_ok=True)
        return latest + 1

    def release(self, run: Path, number: int) -> None:
        """Let others have a run. The claim stays as a file, so that numbers never come twice."""
        claim = _claims(run) / str(number)
        # In place, which a full disk allows; what cannot be written ends with its holder.
        with suppress(OSError), claim.open("r+", encoding="utf-8") as file:
            file.write(_FREE.ljust(len(self._token)))

    def _is_over(self, claim: Path) -> bool:
        token = _read(claim)
        if token == _FREE:
            return True
        spoken = _read(self._folder / token) if token else ""  # a claim that is just being made has no name yet
        if token and not spoken and not (self._folder / token).exists():
            return True
        if spoken.partition("\n")[0] == self._machine and self._has_died_here(token):
            return True
        seen, since = self._seen.setdefault(claim, (token + spoken, time.monotonic()))
        if seen != token + spoken:
            self._seen[claim] = token + spoken, time.monotonic()
            return False
        return time.monotonic() - since > self._lease

    def _has_died_here(self, token: str) -> bool:
        is_dead = _is_free(self._lock_file(token))
        if is_dead:
            self._remove(token)
        return is_dead

    def _keep_beating(self) -> None:
        count = 0
        while not self._ended.wait(self._lease / 3):
            count += 1
            try:
                self._beat(count)
            except OSError:  # a full disk, say: others see silence, and this one sees it when a run is taken from it
                continue

    def _beat(self, count: int) -> None:
        path = self._folder / self._token
        with naming(path):
            path.write_text(f"{self._machine}\n{count}", encoding="utf-8")

    def _lock_file(self, token: str) -> Path:
        return self._folder / f"{token}.lock"

    def _remove(self, token: str) -> None:
        (self._folder / token).unlink(missing_ok=True)
        self._lock_file(token).unlink(missing_ok=True)


def current(run: Path) -> int:
    """Return the number of a run's latest claim, 0 if there has never been one."""
    try:
        # A file server may leave files of its own there.
        return max((int(file.name) for file in _claims(run).iterdir() if file.name.isdecimal()), default=0)
    except FileNotFoundError:
        return 0


def abandoned(run: Path) -> bool:
    """Return whether a run is claimed by a command that is dead, as far as can be told at once and without a change.

    A holder that wants a run watches for as long as a lease lasts; this believes the times of files instead, and so
    it waits for several leases of silence, for the clocks of file servers differ.
    """
    latest = current(run)
    token = _read(_claims(run) / str(latest)) if latest else _FREE
    return token not in ("", _FREE) and _has_died(run.parent, token)


def _has_died(runs: Path, token: str) -> bool:
    holder = runs / _HOLDERS / token
    try:
        silent = time.time() - holder.stat().st_mtime
    except FileNotFoundError:
        return True
    if _read(holder).partition("\n")[0] == this_machine() and _is_free(holder.with_suffix(".lock")):
        return True
    return silent > _LONG_SILENCE * LEASE_SECONDS


def _is_free(lock_file: Path) -> bool:
    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=0)
    except OSError:  # it is held, or the file system has no locks
        return False
    lock.release()
    return True


def this_machine() -> str:
    """Return what tells this machine, since it was started, from others; containers on it are the same machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return f"{platform.node()} {uuid.getnode()}"


def identity(runs: Path) -> str:
    """Return what tells a folder of runs from all others, wherever it is moved; empty where no run was ever claimed."""
    return _read(runs / _IDENTITY)


def _identify(runs: Path) -> None:
    """Give a folder an identity, unless it has one."""
    made = runs / f"{_IDENTITY}.{os.getpid()}.{secrets.token_hex(4)}"
    if not identity(runs):
        try:
            with naming(made):
                made.write_text(secrets.token_hex(8), encoding="utf-8")
            try:
                os.link(made, runs / _IDENTITY)
            except FileExistsError:  # another command was faster
                pass
            except OSError:  # a file system without links
                made.replace(runs / _IDENTITY)
        finally:
            made.unlink(missing_ok=True)


def _claims(run: Path) -> Path:
    return run / "claims"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return ""
