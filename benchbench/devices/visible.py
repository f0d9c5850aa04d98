"""The devices that this process may use, found without starting one of them."""

from __future__ import annotations

import ctypes
import functools
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchbench.devices import nvml
from benchbench.devices.kinds import AMD, APPLE, CPU, INTEL, NVIDIA, Kind, kind_of
from benchbench.problems import BadInputError, Problem

_UUID_PREFIXES = ("GPU-", "MIG-")

_SECONDS = 60.0
"""Time limit for counting devices in another process."""


@dataclass(frozen=True)
class Visible:
    """The accelerators that this process may use, all of one kind.

    Attributes:
        kind: Their kind; `CPU` where torch is built for no accelerator.
        identifiers: One for each, as the kind's variable takes it.
        uuids: Other names of theirs, and of the instances that they are divided into.
    """

    kind: Kind
    identifiers: tuple[str, ...] = ()
    uuids: tuple[str, ...] = ()

    def named(self, name: str) -> str | None:
        """Return the identifier of a device: one of `identifiers`, or the unique beginning of a UUID, as given."""
        if name in self.identifiers:
            return name
        if not name.startswith(_UUID_PREFIXES):
            return None
        return name if sum(uuid.startswith(name) for uuid in self.uuids) == 1 else None

    def uuid(self, name: str) -> str:
        """Return the UUID of a device that `named` knows, or the name where its UUID is not known."""
        if name.isdigit() and len(self.uuids) == len(self.identifiers) and name in self.identifiers:
            return self.uuids[self.identifiers.index(name)]
        return next((uuid for uuid in self.uuids if uuid.startswith(name)), name)

    def restriction(self, names: Sequence[str]) -> dict[str, str]:
        """Return the environment in which a process sees these devices alone, in this order, once it starts them."""
        if self.kind.variable is None:
            return {}
        only = {self.kind.variable: ",".join(names)}
        if self.kind is NVIDIA and self.kind.variable not in os.environ:
            only["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # as NVML numbers them; CUDA begins with the fastest otherwise
        return only


def built_for() -> Kind:
    """Return the kind of accelerator that the installed torch is built for, `CPU` if none that is known here."""
    import torch

    if torch.version.cuda or torch.version.hip:
        return kind_of(NVIDIA.type)
    if torch.xpu._is_compiled():
        return INTEL
    return APPLE if torch.backends.mps.is_built() else CPU


def visible() -> Visible:
    """Return the accelerators that this process may use. None of them is started.

    Raises:
        BadInputError: The kind's variable names a device that this machine does not have, or its driver is broken.
    """
    kind = built_for()
    if kind is CPU:
        return Visible(CPU)
    if kind is APPLE:
        import torch

        return Visible(APPLE, ("0",) if torch.backends.mps.is_available() else ())
    if kind is NVIDIA and (machine := nvml.machine()) is not None:
        return _of_nvidia(machine, os.environ.get("CUDA_VISIBLE_DEVICES"))
    chosen = os.environ.get(kind.variable or "")
    count = _counted(kind.type, chosen) if _has_driver(kind) else 0
    hidden = chosen is not None and _hides(chosen.partition(",")[0].strip())
    if kind is NVIDIA and not (count or hidden) and (fault := nvml.fault()) is not None:
        message = f"the driver of NVIDIA's GPUs does not answer: {fault}; `--devices cpu` does without GPUs"
        raise BadInputError([Problem(message, field="devices")])
    if chosen is None:
        return Visible(kind, tuple(str(index) for index in range(count)))
    return Visible(kind, tuple(name.strip() for name in chosen.split(",") if name.strip())[:count])


def _of_nvidia(machine: nvml.Machine, chosen: str | None) -> Visible:
    if chosen is None:
        # A number would mean the first instance of a GPU that is divided, and CUDA may number GPUs in another order.
        divided = any(gpu.instances for gpu in machine.gpus)
        names = [name for gpu in machine.gpus for name in gpu.instances or (gpu.uuid,)]
        return Visible(NVIDIA, tuple(names if divided else map(str, range(len(names)))), machine.uuids)
    names = _chosen(chosen, machine)
    uuids = tuple(uuid for uuid in machine.uuids if any(uuid.startswith(name) for name in names))
    return Visible(NVIDIA, tuple(names), uuids)


def _chosen(chosen: str, machine: nvml.Machine) -> list[str]:
    """Return the GPUs that a value of `CUDA_VISIBLE_DEVICES` names, each once.

    Raises:
        BadInputError: An entry names no GPU, or several. CUDA would hide it, and all that follow, in silence, and runs
            that are meant for GPUs would be put on the CPU.
    """
    names: dict[str, str] = {}
    for entry in chosen.split(","):
        name = entry.strip()
        if _hides(name):
            break
        if name.isascii() and name.isdigit():
            name = whole = str(int(name))
            there = int(name) < len(machine.gpus)
        else:
            matching = [uuid for uuid in machine.uuids if name.startswith(_UUID_PREFIXES) and uuid.startswith(name)]
            # Of instances that NVML does not list, such as those of an older driver, nothing is known.
            unlisted = name.startswith("MIG-") and not any(gpu.instances for gpu in machine.gpus)
            whole = matching[0] if matching else name
            there = len(matching) == 1 or unlisted
        is_number = whole.isdigit()
        if not there or any(other.isdigit() != is_number for other in names):
            allowed = "none: there is no GPU"
            if machine.gpus:
                numbers = f"0 to {len(machine.gpus) - 1}"
                allowed = f"{numbers}, or UUIDs as nvidia-smi -L shows them, with commas between them; empty for none"
            message = f"no such GPU; allowed: {allowed}"
            raise BadInputError([Problem(message, file="CUDA_VISIBLE_DEVICES", value=name)])
        names.setdefault(whole, name)
    return list(names.values())


def _hides(name: str) -> bool:
    """Return whether an entry says that it, and all that follow, name no GPU; `NoDevFiles` is Slurm's."""
    return name.lower() in ("", "none", "void", "nodevfiles") or (name[:1] == "-" and name[1:].isdigit())


def _has_driver(kind: Kind) -> bool:
    """Return whether this machine may have a device of a kind at all, as far as that can be told at once."""
    if kind is NVIDIA:
        try:
            ctypes.CDLL("libcuda.so.1")
        except OSError:
            return False
        return True
    return Path("/dev/kfd" if kind is AMD else "/dev/dri").exists()


@functools.cache
def _counted(type_: str, chosen: str | None) -> int:
    """Return how many devices torch counts, in a process of its own: counting may start them.

    Args:
        type_: Their type.
        chosen: Value of the kind's variable, which the other process inherits.
    """
    program = f"import torch; print(torch.get_device_module({type_!r}).device_count())"
    try:
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        return int(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        return 0
