"""Data sets: which of the bundled suites have what they need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchbench.doctor.finding import Finding
from benchbench.processes.separate import SeparateProcess


def data_sets(process: SeparateProcess, seconds: float, data: Path) -> Iterator[Finding]:
    """Look at the data of every bundled suite.

    Args:
        process: Where to ask the workloads.
        seconds: How long the workloads of a suite may take to answer.
        data: The folder in which data sets lie.

    Yields:
        One finding after the other.
    """
    from benchbench import suite as suites

    where = data.absolute()
    yield Finding("data", "folder", "ok" if where.is_dir() else "missing", str(where))
    for name in suites.bundled():
        try:
            yield process.ask(seconds, _data_of, name, data)
        except (TimeoutError, ChildProcessError) as error:
            found = str(error) or f"the folder has not been read after {seconds:g} s"
            yield Finding("data", name, "broken", found, "--data-dir names another folder, --timeout waits longer")


def _data_of(suite: str, data: Path) -> Finding:
    from benchbench import suite as suites
    from benchbench.checks import missing_data

    problems = missing_data(suites.load(suite), data)
    if not problems:
        return Finding("data", suite, "ok", "there")
    # Such a line says what is missing and, after a semicolon, how to bring it.
    reasons = list(dict.fromkeys(problem.message for problem in problems))
    what, _, how = reasons[0].partition("; ")
    others = f"; missing too: {len(reasons) - 1} more" if len(reasons) > 1 else ""
    remedy = how.replace("SUITE", suite) or "--synthetic rehearses on made-up data"
    return Finding("data", suite, "missing", f"{what}{others}", remedy)
