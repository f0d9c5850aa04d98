"""Devices that are there and do not start, which is no rare thing: what a user is told of them, in one line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch

from benchbench.devices import nvml
from benchbench.devices.kinds import NVIDIA, kind_of
from benchbench.devices.use import DeviceMissingError, start

_DRIVERS = {11: 450, 12: 525, 13: 580}
"""First driver of NVIDIA's, on Linux, for each major version of CUDA."""

_MANAGEMENT = ("libnvidia-ml.so", "libamd_smi.so", "libze_loader.so")
"""Libraries that are loaded by a look for devices."""


def consulted() -> bool:
    """Return whether this process, or the one that it was forked from, has looked for accelerators or started one.

    A process that is forked from such a one can start none, and what was found was found before the run was told which
    devices are its own.
    """
    # A look that asks the management library alone spoils no fork, so torch does not note it.
    maps = Path("/proc/self/maps")
    mapped = maps.read_text(encoding="utf-8", errors="replace") if maps.exists() else ""
    modules = (torch.cuda, torch.xpu, torch.mps)
    return any(name in mapped for name in _MANAGEMENT) or any(module._is_in_bad_fork() for module in modules)


def failure(type_: str, number: int, environment: Mapping[str, str]) -> str | None:
    """Start devices in this process, which is good for nothing else then, and return why that fails, if it does.

    Args:
        type_: Their type.
        number: How many there must be.
        environment: Under which a run would see them.
    """
    os.environ.update(environment)
    try:
        start(torch.device(type_), number)
    except DeviceMissingError as error:
        return f"{error}{remedy(type_)}"
    return None


def remedy(type_: str) -> str:
    """Return what a user can do about devices that do not start: the rest of a line that says so."""
    if kind_of(type_) is not NVIDIA:
        return "; `--devices cpu` does without"
    machine, needed = nvml.machine(), driver_needed()
    driver = machine.driver if machine is not None else ""
    listed = f"; the driver ({driver or 'of an unknown version'}) lists {len(machine.gpus)}" if machine else ""
    built = f"torch {torch.__version__} is built for CUDA {torch.version.cuda}"
    if needed is not None:
        built += f", for which a driver {needed} or newer is needed"
    return f"{listed}; {built}; `--devices cpu` does without GPUs"


def driver_needed() -> int | None:
    """Return the first version of NVIDIA's driver that takes the CUDA of the installed torch, if that is known."""
    return _DRIVERS.get(int((torch.version.cuda or "0").split(".")[0]))
