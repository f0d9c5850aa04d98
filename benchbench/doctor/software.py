"""Installed packages, and the devices that torch sees."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from benchbench.doctor.finding import Finding, size
from benchbench.doctor.separate_process import SeparateProcess

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


def devices(process: SeparateProcess, seconds: float) -> list[Finding]:
    """Look at what runs can compute on.

    Args:
        process: One that imports torch.
        seconds: How long that may take to name the devices.

    Returns:
        The findings; a broken one where torch cannot be used.
    """
    remedy = "`python -c 'import torch; torch.cuda.is_available()'` shows why; https://pytorch.org has the builds"
    try:
        return process.ask(seconds, _devices)
    except TimeoutError:
        return [Finding("devices", "torch", "broken", f"has not named any device after {seconds:g} s", remedy)]
    except ChildProcessError as error:
        return [Finding("devices", "torch", "broken", f"cannot be imported, or breaks Python: {error}", remedy)]


def _devices() -> list[Finding]:
    import torch

    from benchbench.engines.slots import available_slots

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    found = [Finding("devices", "cpu", "ok", f"{cores} cores, {size(memory)}, {platform.machine()}")]
    built_for = torch.version.cuda or torch.version.hip
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            gpu = torch.cuda.get_device_properties(index)
            found.append(Finding("devices", f"cuda:{index}", "ok", f"{gpu.name}, {size(gpu.total_memory)}"))
    elif built_for:
        why = f"torch is built for CUDA {built_for}, and sees no GPU"
        found.append(Finding("devices", "gpu", "missing", why, "nvidia-smi shows whether the driver sees one"))
    else:
        found.append(Finding("devices", "gpu", "missing", "torch is built for CPUs alone", "see https://pytorch.org"))
    slots = available_slots()
    names = ", ".join(slot.name for slot in slots)
    return [*found, Finding("devices", "slots", "ok", f"{names}: threads of each: {slots[0].threads}")]
