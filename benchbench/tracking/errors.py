"""What is wrong with a tracking store, in a line without credentials."""

from __future__ import annotations

import re


class TrackingError(RuntimeError):
    """The tracking store cannot be used; the message names it and says why, in one line."""


def without_passwords(text: str) -> str:
    """Return a text with the credentials of every URI in it masked."""
    text = re.sub(r"://[^/\s]*@", "://***@", text)
    return re.sub(r"(?i)([?&](?:password|token)=)[^&\s]*", r"\1***", text)
