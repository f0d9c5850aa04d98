"""Examination of this machine: what benchmarks need, what is missing, and how to fix it (`benchbench doctor`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchbench.doctor.data import data_sets
from benchbench.doctor.engines import engines
from benchbench.doctor.finding import Finding, State
from benchbench.doctor.plugins import plugins
from benchbench.doctor.records import left_behind, runs_folder, store
from benchbench.doctor.software import devices, software
from benchbench.processes.separate import SeparateProcess

__all__ = ["Finding", "State", "examine"]


def examine(
    *, data: Path, runs_dir: Path, tracking_uri: str | None, address: str | None, seconds: float
) -> Iterator[Finding]:
    """Look at everything that runs need. Starts no run, creates nothing.

    Nothing that may hang or crash is imported here: torch, plugins, MLflow and Ray are, in processes of their own.

    Args:
        data: The folder in which data sets lie.
        runs_dir: Folder of the runs' files.
        tracking_uri: MLflow store; by default that of the environment, or a file in the current folder.
        address: A Ray cluster; by default that of the environment.
        seconds: How long whatever is asked may take to answer.

    Yields:
        One finding after the other.
    """
    yield from software()
    with SeparateProcess("torch") as process:
        of_torch = devices(process, seconds)
        yield from of_torch
        works = all(finding.state != "broken" or finding.name != "torch" for finding in of_torch)
        if works:
            yield from plugins(process, seconds)
        yield from engines(address, seconds)
        yield runs_folder(runs_dir)
        yield from left_behind(runs_dir)
        yield store(tracking_uri, seconds)
        if works:
            yield from data_sets(process, seconds, data)
