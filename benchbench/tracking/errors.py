"""What is wrong with a tracking store, in a line without credentials."""

from __future__ import annotations

import os
import re

_SECRETS = "password|passwd|pwd|passphrase|token|secret|api_?key"
"""What the names of parameters end in that open a store."""


class TrackingError(RuntimeError):
    """The tracking store cannot be used; the message names it and says why, in one line."""


def without_passwords(text: str) -> str:
    """Return a text with the credentials of every URI in it masked, and those of the environment."""
    for name in ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"):
        if secret := os.environ.get(name):
            text = text.replace(secret, "***")
    text = re.sub(r"://[^/\s]*@", "://***@", text)
    return re.sub(rf"(?i)([?&;][\w-]*(?:{_SECRETS})=)[^&;\s]*", r"\1***", text)
