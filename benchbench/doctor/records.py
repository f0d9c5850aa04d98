"""Places of results: the folder of the runs, unfinished runs in it, and the tracking store."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from benchbench.doctor.finding import Finding, size
from benchbench.processes.separate import SeparateProcess


def runs_folder(folder: Path) -> Finding:
    """Look at whether runs can be written."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    free = size(shutil.disk_usage(there).free)
    remedy = "--runs-dir names another folder"
    if not there.is_dir():
        return Finding("folders", "runs", "broken", f"{there} is no folder", remedy)
    if not os.access(there, os.W_OK):
        return Finding("folders", "runs", "broken", f"{there} cannot be written", remedy)
    return Finding("folders", "runs", "ok", f"{folder.absolute()}: {free} free, runs: {len(_runs(folder))}")


def left_behind(folder: Path) -> Iterator[Finding]:
    """Look for runs that were begun and that no command brings to an end, for their command or its machine is dead.

    Args:
        folder: The folder of the runs' folders.

    Yields:
        A finding, if there are any.
    """
    from benchbench.runs import claims
    from benchbench.runs.folder import RunFolder

    left = [
        files
        for run in _runs(folder)
        if claims.abandoned(run) and (files := RunFolder(run)).result() is None and files.submission() is None
    ]
    if left:
        suites = sorted({_suite(files.path) for files in left})
        found = f"{len(left)} left by commands that have died, or whose machines have; of {', '.join(suites)}"
        remedy = "`benchbench run` of the same suite goes on with them"
        yield Finding("folders", "unfinished runs", "missing", found, remedy)


def _runs(folder: Path) -> list[Path]:
    """Return the folders of runs; every run has been claimed before it is begun."""
    from benchbench.runs import claims

    entries = folder.iterdir() if folder.is_dir() else ()
    return [entry for entry in entries if entry.is_dir() and claims.current(entry)]


def _suite(run: Path) -> str:
    from benchbench.runs.folder import RunFolder

    try:
        return RunFolder(run).spec().suite
    except OSError:  # its command died before it had written what it is, or the file is damaged
        return "unknown suites"


def store(tracking_uri: str | None, seconds: float) -> Finding:
    """Look at the tracking store.

    Args:
        tracking_uri: MLflow store; by default that of the environment, or a file in the current folder.
        seconds: How long it may take to answer.
    """
    from benchbench.tracking import Store, without_passwords

    place = Store(tracking_uri)
    shown = without_passwords(place.uri)
    if place.is_new:
        return Finding("tracking", "store", "ok", f"{shown}: will be made by the first run")
    with SeparateProcess("mlflow") as process:
        try:
            return process.ask(seconds, _look_into, place.uri)
        except TimeoutError:
            found = f"{shown} has not answered after {seconds:g} s"
            return Finding("tracking", "store", "broken", found, "is the server there? --timeout waits longer")
        except ChildProcessError as error:
            found = f"{shown}: MLflow does not survive opening it: {error}"
            return Finding("tracking", "store", "broken", found, "pip install --force-reinstall mlflow")


def _look_into(uri: str) -> Finding:
    from importlib.metadata import version

    from benchbench.tracking import Store, TrackingError, without_passwords

    place = Store(uri)
    shown, mlflow = without_passwords(uri), f"MLflow {version('mlflow')}"
    try:
        age = place.schema_age()
        if age == "older":
            found = f"{shown}: its tables are those of an older version than {mlflow}"
            remedy = f"make a copy of it, then: mlflow db upgrade {shown}"
            return Finding("tracking", "store", "broken", found, remedy)
        if age == "newer":
            found = f"{shown}: its tables are those of a newer version than {mlflow}"
            return Finding("tracking", "store", "broken", found, "pip install --upgrade mlflow")
        if age == "empty":
            return Finding("tracking", "store", "ok", f"{shown}: the first run will make its tables")
        with place.reporting():
            count = len(place.client.search_experiments())
    except TrackingError as error:
        remedy = error.remedy or "--tracking-uri or MLFLOW_TRACKING_URI names another"
        return Finding("tracking", "store", "broken", str(error), remedy)
    return Finding("tracking", "store", "ok", f"{shown}: {count} experiments")
