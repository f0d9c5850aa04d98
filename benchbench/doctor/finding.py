"""Findings of an examination."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "missing", "broken"]
"""`missing`: something that not every suite needs; `broken`: what is there does not work."""


@dataclass(frozen=True)
class Finding:
    """Something that was looked at.

    Attributes:
        part: What it belongs to, such as `plugins`.
        name: What it is.
        state: How it is.
        found: What was found, in a few words.
        remedy: The fix, a command where there is one; empty where nothing has to be fixed.
    """

    part: str
    name: str
    state: State
    found: str
    remedy: str = ""


def size(count: int) -> str:
    """Return a number of bytes as it is shown."""
    return f"{count / 2**30:.1f} GiB"
