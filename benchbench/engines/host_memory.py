"""Memory of this machine: how much of it runs may take up together."""

from __future__ import annotations

import re
from pathlib import Path

_LIMITS = ("fs/cgroup/memory.max", "fs/cgroup/memory/memory.limit_in_bytes")
"""Linux's files with the limit of a container or a batch job: `max`, in the newer one, where there is no limit."""


def room(proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> int | None:
    """Return the bytes that are free for runs, or `None` where the system does not tell.

    Args:
        proc: Where Linux shows its state (tests show another one).
        sys: Where it shows limits.
    """
    found = []
    if available := re.search(r"^MemAvailable:\s*(\d+) kB", _text(proc / "meminfo"), re.MULTILINE):
        found.append(1024 * int(available[1]))
    found += [int(text) for limit in _LIMITS if (text := _text(sys / limit).strip()).isdecimal()]
    return min(found, default=None)


def oom_kills(proc: Path = Path("/proc")) -> int | None:
    """Return how many processes the system has killed for lack of memory since its start, `None` if it does not tell.

    Args:
        proc: Where Linux shows its state (tests show another one).
    """
    found = re.search(r"^oom_kill (\d+)$", _text(proc / "vmstat"), re.MULTILINE)
    return int(found[1]) if found else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
