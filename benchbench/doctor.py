"""What there is on this machine for benchmarks, what is missing, and how to mend it: `benchbench doctor`."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, get_args

from benchbench.plugins import Kind, plugins, status

State = Literal["ok", "missing", "broken"]
"""`missing`: something that not every suite needs; `broken`: what is there does not work."""

PATIENCE = 20.0
"""Seconds that a tracking store or a queue has to answer."""

_EXTRAS = {
    "language": ("transformers", "GLUE, trained tokenizers"),
    "tune": ("optuna", "the sampler tpe of benchbench tune"),
    "ray": ("ray", "--engine ray"),
    "slurm": ("submitit", "--engine slurm"),
}
"""The package that shows that an extra is installed, and what the extra is for."""


@dataclass(frozen=True)
class Finding:
    """Something that was looked at.

    Attributes:
        part: What it belongs to, such as `plugins`.
        name: What it is.
        state: How it is.
        found: What was found, in a few words.
        remedy: What mends it, a command where there is one; empty where nothing has to be mended.
    """

    part: str
    name: str
    state: State
    found: str
    remedy: str = ""


def examine(*, data: Path, runs_dir: Path, tracking_uri: str | None) -> Iterator[Finding]:
    """Look at everything that runs need. Starts no run, creates nothing.

    Args:
        data: The folder in which data sets lie.
        runs_dir: Folder of the runs' files.
        tracking_uri: MLflow store; by default that of the environment, or a file in the current folder.

    Yields:
        One finding after the other.
    """
    yield from _software()
    yield from _devices()
    yield from _plugins()
    yield from _engines()
    yield _folder("runs", runs_dir)
    yield _store(tracking_uri)
    yield from _data(data)


def _software() -> Iterator[Finding]:
    for name in ("benchbench", "torch", "torchvision", "mlflow"):
        yield Finding("software", name, "ok", version(name))
    yield Finding("software", "python", "ok", f"{platform.python_version()} on {platform.platform()}")
    for extra, (package, purpose) in _EXTRAS.items():
        try:
            yield Finding("software", f"[{extra}]", "ok", f"{package} {version(package)}")
        except PackageNotFoundError:
            yield Finding(
                "software", f"[{extra}]", "missing", f"no {package}: {purpose}", f"pip install 'benchbench[{extra}]'"
            )


def _devices() -> Iterator[Finding]:
    import torch

    from benchbench.engines.slots import available_slots

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    yield Finding("devices", "cpu", "ok", f"{cores} cores, {_size(memory)}, {platform.machine()}")
    built_for = torch.version.cuda or torch.version.hip
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            yield Finding("devices", f"cuda:{index}", "ok", f"{properties.name}, {_size(properties.total_memory)}")
    elif built_for:
        yield Finding(
            "devices",
            "gpu",
            "missing",
            f"torch is built for CUDA {built_for}, and sees no GPU",
            "nvidia-smi shows whether the driver sees one",
        )
    else:
        yield Finding("devices", "gpu", "missing", "torch is built for CPUs alone", "see https://pytorch.org")
    slots = available_slots()
    names = ", ".join(slot.name for slot in slots)
    yield Finding("devices", "slots", "ok", f"{names}: threads of each: {slots[0].threads}")


def _plugins() -> Iterator[Finding]:
    kinds: tuple[Kind, ...] = get_args(Kind)
    for kind in kinds:
        known = plugins(kind)
        broken = {plugin: reason for plugin in known.values() if (reason := status(plugin)) is not None}
        yield Finding("plugins", f"{kind}s", "ok", f"{len(known) - len(broken)} can be named")
        for plugin, reason in broken.items():
            remedy = f"mend or remove {plugin.distribution}"
            if plugin.rivals:
                remedy = f"remove one of {', '.join((plugin.distribution, *plugin.rivals))}, or name module:attribute"
            yield Finding("plugins", plugin.name, "broken", reason, remedy)


def _engines() -> Iterator[Finding]:
    yield Finding("engines", "local, inline", "ok", "a process per run, or this one")
    if importlib.util.find_spec("ray") is None:
        yield Finding("engines", "ray", "missing", "not installed", "pip install 'benchbench[ray]'")
    else:
        address = os.environ.get("RAY_ADDRESS")
        cluster = f"uses the cluster at {address}" if address else "starts a cluster on this machine"
        yield Finding("engines", "ray", "ok", cluster)
    if importlib.util.find_spec("submitit") is None:
        yield Finding("engines", "slurm", "missing", "not installed", "pip install 'benchbench[slurm]'")
    elif shutil.which("sbatch") is None:
        yield Finding("engines", "slurm", "missing", "no sbatch here", "run the command where Slurm's commands are")
    else:
        yield _slurm()


def _slurm() -> Finding:
    command = ["sinfo", "--noheader", "--format=%P %D"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip()
        # Missing, not broken: the other engines work without it, and Slurm's commands may lie on a machine unused.
        return Finding("engines", "slurm", "missing", f"sinfo does not answer: {reason}", "scontrol ping")
    parts = [line.split() for line in answer.stdout.splitlines()]
    return Finding("engines", "slurm", "ok", ", ".join(f"{name}: {nodes} nodes" for name, nodes in parts))


def _folder(name: str, folder: Path) -> Finding:
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    free = _size(shutil.disk_usage(there).free)
    if not there.is_dir():
        return Finding("folders", name, "broken", f"{there} is no folder", "--runs-dir names another folder")
    if not os.access(there, os.W_OK):
        return Finding("folders", name, "broken", f"{there} cannot be written", "--runs-dir names another folder")
    runs = sum(not entry.name.startswith(".") for entry in folder.iterdir()) if folder.is_dir() else 0
    return Finding("folders", name, "ok", f"{folder.absolute()}: {runs} runs, {free} free")


def _store(tracking_uri: str | None) -> Finding:
    from benchbench.tracking import Store, TrackingError, without_passwords

    store = Store(tracking_uri)
    shown = without_passwords(store.uri)
    if store.is_new:
        return Finding("tracking", "store", "ok", f"{shown}: will be made by the first run")

    def look() -> Finding:
        try:
            count = len(store.client.search_experiments())
        except TrackingError as error:
            return Finding("tracking", "store", "broken", str(error), "--tracking-uri, or MLFLOW_TRACKING_URI")
        return Finding("tracking", "store", "ok", f"{shown}: {count} experiments")

    late = Finding("tracking", "store", "broken", f"{shown} does not answer", "is the server there?")
    return _within(PATIENCE, look, late)


def _within(seconds: float, look: Callable[[], Finding], late: Finding) -> Finding:
    """Return what is found in time, or else that it is late."""
    found = [late]
    thread = threading.Thread(target=lambda: found.append(look()), daemon=True)
    thread.start()
    thread.join(seconds)
    return found[-1]


def _data(data: Path) -> Iterator[Finding]:
    from benchbench import suite as suites
    from benchbench.checks import missing_data

    where = data.absolute()
    yield Finding("data", "folder", "ok" if where.is_dir() else "missing", str(where))
    for name in suites.bundled():
        missing = missing_data(suites.load(name), data)
        remedy = f"benchbench prepare {name}, or run it with --synthetic" if missing else ""
        found = f"missing for {len(missing)} workload{'s' if len(missing) > 1 else ''}" if missing else "there"
        yield Finding("data", name, "missing" if missing else "ok", found, remedy)


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
