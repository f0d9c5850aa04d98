"""Engines: which can be used, and whether the cluster behind one answers."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator

from benchbench.distribution import installing
from benchbench.doctor.finding import Finding
from benchbench.processes.separate import SeparateProcess


def engines(address: str | None, seconds: float) -> Iterator[Finding]:
    """Look at the engines. A cluster that does not answer is missing, not broken: the other engines work without it.

    Args:
        address: A Ray cluster; by default that of the environment.
        seconds: How long a cluster may take to answer.

    Yields:
        One finding after the other.
    """
    yield Finding("engines", "local, inline", "ok", "a process per run, or this one")
    if importlib.util.find_spec("ray") is None:
        yield Finding("engines", "ray", "missing", "not installed", installing("ray"))
    else:
        yield _ray(address or os.environ.get("RAY_ADDRESS") or "local", seconds)
    if importlib.util.find_spec("submitit") is None:
        yield Finding("engines", "slurm", "missing", "not installed", installing("slurm"))
    elif shutil.which("sbatch") is None:
        yield Finding("engines", "slurm", "missing", "no sbatch here", "run the command where Slurm's commands are")
    else:
        yield _slurm(seconds)


def _ray(address: str, seconds: float) -> Finding:
    if address == "local":
        return Finding("engines", "ray", "ok", "starts a cluster on this machine")
    with SeparateProcess("ray") as process:
        try:
            return process.ask(seconds, _cluster, address)
        except (TimeoutError, ChildProcessError) as error:
            reason = str(error) or f"no answer after {seconds:g} s (--timeout waits longer)"
    return _no_cluster(f"the cluster at {address} cannot be used: {reason}")


def _cluster(address: str) -> Finding:
    from benchbench.engines import EngineError
    from benchbench.engines.ray import resources

    try:
        there = resources(address)
    except EngineError as error:
        return _no_cluster(str(error))
    shown = ", ".join(f"{name}: {amount:g}" for name, amount in there.items())
    return Finding("engines", "ray", "ok", f"the cluster at {address}: {shown}")


def _no_cluster(found: str) -> Finding:
    remedy = "`ray status` shows whether it runs; --address or RAY_ADDRESS names another; neither: one is started here"
    return Finding("engines", "ray", "missing", found, remedy)


def _slurm(seconds: float) -> Finding:
    command = ["sinfo", "--noheader", "--format=%P %D"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[0]
        return Finding("engines", "slurm", "missing", f"sinfo does not answer: {reason}", "scontrol ping")
    parts = [line.split() for line in answer.stdout.splitlines()]
    return Finding("engines", "slurm", "ok", ", ".join(f"{name}: {nodes} nodes" for name, nodes in parts))
