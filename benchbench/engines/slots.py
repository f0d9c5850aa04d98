"""Device slots: what one run gets of this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Slot:
    """Room for one run at a time.

    Attributes:
        name: How the slot is shown, such as `cpu:0` or `gpu:1`.
        device: Device as the run's process sees it: `cpu` or `cuda`.
        threads: CPU threads of the run.
        sharing: Number of slots on the same device: with more than one, times are only indicative.
        environment: Variables set in the run's process before torch can start the device.
    """

    name: str
    device: str
    threads: int
    sharing: int = 1
    environment: dict[str, str] = field(default_factory=dict)


def available_slots(count: int | None = None) -> list[Slot]:
    """Return one slot per visible GPU, or CPU slots that share the cores out when there is none.

    Args:
        count: Number of CPU slots (default: one per core), or a limit on the number of GPUs.
    """
    gpus = visible_gpus()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if gpus:
        return gpu_slots(gpus[:count], cores)
    return cpu_slots(count or cores, cores)


def cpu_slots(count: int, cores: int) -> list[Slot]:
    """Return `count` CPU slots that share `cores` out evenly."""
    threads = max(1, cores // count)
    return [Slot(f"cpu:{index}", "cpu", threads, sharing=count) for index in range(count)]


def gpu_slots(gpus: Sequence[str], cores: int) -> list[Slot]:
    """Return a slot per GPU; its process sees that GPU alone.

    Args:
        gpus: Identifiers as `CUDA_VISIBLE_DEVICES` takes them.
        cores: CPU cores, shared out evenly.
    """
    threads = max(1, cores // len(gpus))
    return [Slot(f"gpu:{gpu}", "cuda", threads, environment={"CUDA_VISIBLE_DEVICES": gpu}) for gpu in gpus]


def merged(slots: Sequence[Slot]) -> Slot:
    """Return one slot of all that these have, for a run with a rank on each.

    Args:
        slots: Slots of the same kind of device.
    """
    gpus = [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots if "CUDA_VISIBLE_DEVICES" in slot.environment]
    return Slot(
        name="+".join(slot.name for slot in slots),
        device=slots[0].device,
        threads=sum(slot.threads for slot in slots),
        sharing=max(1, slots[0].sharing // len(slots)),
        environment={**slots[0].environment, **({"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {})},
    )


def visible_gpus() -> list[str]:
    """Return the identifiers of the GPUs this process may use, without starting CUDA."""
    import torch

    count = torch.cuda.device_count()
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return [str(index) for index in range(count)]
    return [gpu.strip() for gpu in chosen.split(",") if gpu.strip()][:count]
