"""Data sets: which of the bundled suites have what they need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchbench.doctor.finding import Finding
from benchbench.problems import Problem


def data_sets(data: Path) -> Iterator[Finding]:
    """Look at the data of every bundled suite.

    Args:
        data: The folder in which data sets lie.

    Yields:
        One finding after the other.
    """
    from benchbench import suite as suites
    from benchbench.checks import missing_data

    where = data.absolute()
    yield Finding("data", "folder", "ok" if where.is_dir() else "missing", str(where))
    for name in suites.bundled():
        missing = missing_data(suites.load(name), data)
        yield _missing(name, missing) if missing else Finding("data", name, "ok", "there")


def _missing(suite: str, problems: list[Problem]) -> Finding:
    # Such a line says what is missing and, after a semicolon, how to bring it.
    reasons = list(dict.fromkeys(problem.message for problem in problems))
    what, _, how = reasons[0].partition("; ")
    others = f"; missing too: {len(reasons) - 1} more" if len(reasons) > 1 else ""
    remedy = how.replace("SUITE", suite) or "--synthetic rehearses on made-up data"
    return Finding("data", suite, "missing", f"{what}{others}", remedy)
