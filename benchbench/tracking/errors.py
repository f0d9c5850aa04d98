"""What is wrong with a tracking store, in a line without credentials."""

from __future__ import annotations

import os
import re

_SECRETS = "password|passwd|pwd|passphrase|token|secret|api_?key"
"""What the names of parameters end in that open a store."""

_DRIVERS = {
    "psycopg2": "psycopg2-binary",
    "psycopg": "psycopg[binary]",
    "MySQLdb": "mysqlclient",
    "pymysql": "pymysql",
    "pyodbc": "pyodbc",
}
"""What to install for the modules through which databases are reached."""


class TrackingError(RuntimeError):
    """The tracking store cannot be used; the message names it and says why, in one line.

    Attributes:
        remedy: What mends it, where that is known; the message ends in it.
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        self.remedy = remedy
        super().__init__(f"{message}: {remedy}" if remedy else message)


def remedy_for(error: Exception) -> str:
    """Return the command that installs what an error misses, or nothing where it misses nothing known."""
    package = _DRIVERS.get(error.name or "") if isinstance(error, ModuleNotFoundError) else None
    return f"pip install '{package}'" if package else ""


def without_passwords(text: str) -> str:
    """Return a text with the credentials of every URI in it masked, and those of the environment."""
    for name in ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"):
        if secret := os.environ.get(name):
            text = text.replace(secret, "***")
    text = re.sub(r"://[^/\s]*@", "://***@", text)
    return re.sub(rf"(?i)([?&;][\w-]*(?:{_SECRETS})=)[^&;\s]*", r"\1***", text)
