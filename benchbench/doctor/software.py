"""Installed packages, and the devices that torch sees."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from benchbench.distribution import installing, own_version
from benchbench.doctor.finding import Finding, size
from benchbench.problems import BadInputError
from benchbench.processes.separate import SeparateProcess

if TYPE_CHECKING:
    pass

_EXTRAS = {
    "language": ("transformers", "GLUE, trained tokenizers"),
    "tune": ("optuna", "the sampler tpe of benchbench tune"),
    "ray": ("ray", "--engine ray"),
    "slurm": ("submitit", "--engine slurm"),
}
"""The package that shows that an extra is installed, and what the extra is for."""


def software() -> Iterator[Finding]:
    """Look at what is installed.

    Yields:
        One finding after the other.
    """
    yield Finding("software", "benchbench", "ok", own_version())
    for name in ("torch", "torchvision", "mlflow"):
        yield Finding("software", name, "ok", version(name))
    yield Finding("software", "python", "ok", f"{platform.python_version()} on {platform.platform()}")
    for extra, (package, purpose) in _EXTRAS.items():
        try:
            yield Finding("software", f"[{extra}]", "ok", f"{package} {version(package)}")
        except PackageNotFoundError:
            yield Finding("software", f"[{extra}]", "missing", f"no {package}: {purpose}", installing(extra))


def devices(process: SeparateProcess, seconds: float) -> list[Finding]:
    """Look at what runs can compute on.

    Args:
        process: One that imports torch.
        seconds: How long that may take to name the devices.

    Returns:
        The findings; a broken one where torch cannot be used.
    """
    remedy = "`python -c 'import torch'` shows why; https://pytorch.org has the builds"
    try:
        found = [*process.ask(seconds, _cpu), *process.ask(seconds, _accelerators)]
        works = all(finding.state != "broken" for finding in found)
        return [*found, process.ask(seconds, _slots, works)]
    except TimeoutError:
        return [Finding("devices", "torch", "broken", f"has not named any device after {seconds:g} s", remedy)]
    except ChildProcessError as error:
        return [Finding("devices", "torch", "broken", f"cannot be imported, or breaks Python: {error}", remedy)]


def _cpu() -> list[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return [Finding("devices", "cpu", "ok", f"{cores} cores, {size(memory)}, {platform.machine()}")]


def _accelerators() -> list[Finding]:
    """Hold what the driver lists against what torch starts."""
    import torch

    from benchbench.devices import nvml, use
    from benchbench.devices.kinds import CPU
    from benchbench.devices.starting import failure
    from benchbench.devices.visible import built_for, visible

    kind, machine = built_for(), nvml.machine()
    listed = f"NVIDIA's driver {machine.driver} lists {len(machine.gpus)} GPUs" if machine and machine.gpus else ""
    if kind is CPU:
        found = f"torch is built for CPUs alone{listed and '; '}{listed}"
        return [Finding("devices", "gpu", "missing", found, "see https://pytorch.org")]
    try:
        here = visible()
    except BadInputError as error:
        return [Finding("devices", "gpu", "broken", str(error), f"correct or unset {kind.variable}")]
    build = f"torch is built for {kind.title}s"
    if not here.identifiers and listed:
        return [Finding("devices", "gpu", "missing", f"{listed}, and {kind.variable} hides them", "unset it")]
    if not here.identifiers:
        return [Finding("devices", "gpu", "missing", f"{build}, and there is none", "none is needed")]
    # Of the instances of divided GPUs, a process sees the first one alone.
    number = 1 if here.identifiers[0].startswith("MIG-") else len(here.identifiers)
    reason = failure(kind.type, number, {})
    if reason is not None:
        fix = "update the driver, or install an older torch from https://pytorch.org"
        return [Finding("devices", "gpu", "broken", reason, fix)]
    findings = []
    for index in range(number):
        place = torch.device(kind.type, index)
        total = use.memory(place)
        memory = "memory not known" if total is None else size(total)
        findings.append(Finding("devices", str(place), "ok", f"{use.model(place)}, {memory}"))
    return findings


def _slots(gpus_work: bool) -> Finding:
    from benchbench.engines.slots import Placement, available_slots

    slots = available_slots(Placement(devices=() if gpus_work else ("cpu",)))
    names = ", ".join(slot.name for slot in slots)
    if gpus_work:
        return Finding("devices", "slots", "ok", f"{names}: threads of each: {slots[0].threads}")
    return Finding("devices", "slots", "missing", f"with --devices cpu alone: {names}", "see gpu above")
