"""Errors of a tracking store, each in a line without credentials."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from typing import Literal

Fault = Literal["away", "store", "run"]
"""`away`: the same call may succeed later; `store`: no run can be written until the store is fixed;
`run`: this run cannot be written, others can."""

_SECRETS = "password|passwd|pwd|passphrase|token|secret|api_?key"
"""Endings of the names of parameters that open a store."""

_FAULTS: dict[str, Fault] = {
    # MLflow's error codes; all others may pass.
    "PERMISSION_DENIED": "store",
    "UNAUTHENTICATED": "store",
    "CUSTOMER_UNAUTHORIZED": "store",
    "ENDPOINT_NOT_FOUND": "store",
    "NOT_IMPLEMENTED": "store",
    "FEATURE_DISABLED": "store",
    "BAD_REQUEST": "run",
    "INVALID_PARAMETER_VALUE": "run",
    "INVALID_STATE": "run",
    "NOT_FOUND": "run",
    "RESOURCE_DOES_NOT_EXIST": "run",
    "ALREADY_EXISTS": "run",
    "RESOURCE_ALREADY_EXISTS": "run",
    # SQLite's; MLflow calls some of these temporary, and some a bad request.
    "SQLITE_BUSY": "away",
    "SQLITE_LOCKED": "away",
    "SQLITE_FULL": "away",
    "SQLITE_IOERR": "away",
    "SQLITE_READONLY": "store",
    "SQLITE_CANTOPEN": "store",
    "SQLITE_PERM": "store",
    "SQLITE_AUTH": "store",
    "SQLITE_CORRUPT": "store",
    "SQLITE_NOTADB": "store",
    "SQLITE_ERROR": "store",
    # The first two characters of SQLSTATE, which database servers answer with.
    "08": "away",
    "40": "away",
    "53": "away",
    "55": "away",
    "57": "away",
    "58": "away",
    "22": "run",
    "23": "run",
    "25": "store",
    "28": "store",
    "3D": "store",
    "3F": "store",
    "42": "store",
}
"""Fault of an error, by its code."""

_DRIVERS = {
    "psycopg2": "psycopg2-binary",
    "psycopg": "psycopg[binary]",
    "MySQLdb": "mysqlclient",
    "pymysql": "pymysql",
    "pyodbc": "pyodbc",
}
"""Packages to install for the modules through which databases are reached."""


class TrackingError(RuntimeError):
    """The tracking store cannot be used; the message names it and says why, in one line.

    Attributes:
        fault: Whose fault it is, which says whether it is of use to try again.
        remedy: The fix, where it is known; the message ends in it.
    """

    def __init__(self, message: str, remedy: str = "", fault: Fault = "away") -> None:
        self.fault = fault
        self.remedy = remedy
        super().__init__(f"{message}: {remedy}" if remedy else message)


def remedy_for(error: BaseException) -> str:
    """Return the fix for what has raised an error, or nothing where it is not known."""
    for cause in _causes(error):
        if isinstance(cause, ModuleNotFoundError) and (package := _DRIVERS.get(cause.name or "")):
            return f"pip install '{package}'"
        if isinstance(cause, IsADirectoryError):
            return "--tracking-uri or MLFLOW_TRACKING_URI names another"
        code = _sqlite_code(cause)
        if code in ("SQLITE_NOTADB", "SQLITE_CORRUPT"):
            return "move it away, and the next command begins a new one"
        if code in ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM"):
            return "you must be able to read and to write it, and its folder"
    return ""


def _sqlite_code(error: BaseException) -> str:
    """Return what SQLite calls an error, without the details, such as those of SQLITE_BUSY_SNAPSHOT."""
    return "_".join(str(getattr(error, "sqlite_errorname", "")).split("_")[:2])


def fault_of(error: BaseException) -> Fault:
    """Return whose fault an error is that MLflow, a database or a file system has raised.

    The innermost cause knows best: MLflow says of a database that is read-only what it says of one that is busy.
    """
    return next((fault for each in reversed(list(_causes(error))) if (fault := _known_fault(each))), "away")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, what it was raised from, and so on; of SQLAlchemy's also the driver's."""
    while error is not None:
        yield error
        driver = getattr(error, "orig", None)
        error = driver if isinstance(driver, BaseException) else error.__cause__ or error.__context__


def _known_fault(error: BaseException) -> Fault | None:
    if isinstance(error, ModuleNotFoundError):
        return "store"
    if sqlite := _sqlite_code(error):
        return _FAULTS.get(sqlite)
    if code := getattr(error, "error_code", None):
        return _FAULTS.get(str(code))
    if state := getattr(error, "pgcode", None) or getattr(error, "sqlstate", None):
        return _FAULTS.get(str(state)[:2])
    if isinstance(error, FileNotFoundError):
        return "run"
    is_forever = isinstance(error, PermissionError | IsADirectoryError | NotADirectoryError)
    return "store" if is_forever or getattr(error, "errno", None) == errno.EROFS else None


def without_passwords(text: str) -> str:
    """Return a text with the credentials of every URI in it masked, and those of the environment."""
    for name in ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"):
        if secret := os.environ.get(name):
            text = text.replace(secret, "***")
    text = re.sub(r"://[^/\s]*@", "://***@", text)
    return re.sub(rf"(?i)([?&;][\w-]*(?:{_SECRETS})=)[^&;\s]*", r"\1***", text)
