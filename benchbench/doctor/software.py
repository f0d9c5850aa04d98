"""Installed packages, and the devices that torch sees."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from benchbench.doctor.finding import Finding, size

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


def devices() -> Iterator[Finding]:
    """Look at what runs can compute on.

    Yields:
        One finding after the other.
    """
    import torch

    from benchbench.engines.slots import available_slots

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    yield Finding("devices", "cpu", "ok", f"{cores} cores, {size(memory)}, {platform.machine()}")
    built_for = torch.version.cuda or torch.version.hip
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            yield Finding("devices", f"cuda:{index}", "ok", f"{properties.name}, {size(properties.total_memory)}")
    elif built_for:
        found = f"torch is built for CUDA {built_for}, and sees no GPU"
        yield Finding("devices", "gpu", "missing", found, "nvidia-smi shows whether the driver sees one")
    else:
        yield Finding("devices", "gpu", "missing", "torch is built for CPUs alone", "see https://pytorch.org")
    slots = available_slots()
    names = ", ".join(slot.name for slot in slots)
    yield Finding("devices", "slots", "ok", f"{names}: threads of each: {slots[0].threads}")
