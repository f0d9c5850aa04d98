"""Device slots: what one run gets of this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchbench.problems import BadInputError, Problem
from benchbench.values import RunSpec


@dataclass(frozen=True)
class Slot:
    """Room for one run at a time.

    Attributes:
        name: How the slot is shown, such as `cpu:0` or `gpu:1`.
        device: Device as the run's process sees it: `cpu` or `cuda`.
        threads: CPU threads of the run.
        sharing: Runs that there can be on the same device: with more than one at a time, times are only indicative.
        environment: Variables set in the run's process before torch can start the device.
    """

    name: str
    device: str
    threads: int
    sharing: int = 1
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def device_name(self) -> str:
        """Which device it is, of those of this machine."""
        return self.environment.get("CUDA_VISIBLE_DEVICES", self.device)


def available_slots(
    count: int | None = None, devices: Sequence[str] = (), per_device: int = 1, *, exclusive: bool = False
) -> list[Slot]:
    """Return slots on every visible GPU, or CPU slots that share the cores out when there is none.

    Args:
        count: Number of CPU slots (default: one per core), or a limit on the number of GPUs.
        devices: What to use of this machine: `cpu`, or GPUs as `CUDA_VISIBLE_DEVICES` names them (default: all GPUs).
        per_device: Slots on each GPU.
        exclusive: Whether a run shall have its GPU, or else the whole machine, to itself, whatever else is asked for.

    Raises:
        BadInputError: There is no such device, or GPUs and CPU are mixed.
    """
    gpus = [] if list(devices) == ["cpu"] else visible_gpus()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if devices and gpus:
        gpus = _chosen(devices, gpus)
    elif devices and list(devices) != ["cpu"]:
        raise BadInputError([Problem("this machine has no GPU: allowed is cpu", file="--devices", value=devices[0])])
    if gpus:
        return gpu_slots(gpus[:count], cores, 1 if exclusive else per_device)
    return cpu_slots(1 if exclusive else count or cores, cores)


def _chosen(devices: Sequence[str], gpus: Sequence[str]) -> list[str]:
    unknown = [device for device in devices if device not in gpus]
    if unknown:
        message = f"no such device; allowed: cpu alone, or some of {', '.join(gpus)}"
        raise BadInputError([Problem(message, file="--devices", value=device) for device in unknown])
    return list(dict.fromkeys(devices))


def cpu_slots(count: int, cores: int) -> list[Slot]:
    """Return `count` CPU slots that share `cores` out evenly."""
    threads = max(1, cores // count)
    return [Slot(f"cpu:{index}", "cpu", threads, sharing=count) for index in range(count)]


def gpu_slots(gpus: Sequence[str], cores: int, per_device: int = 1) -> list[Slot]:
    """Return slots on GPUs; the process of a run sees one GPU alone.

    Args:
        gpus: Identifiers as `CUDA_VISIBLE_DEVICES` takes them.
        cores: CPU cores, shared out evenly.
        per_device: Slots on each GPU, the first ones of all GPUs first.
    """
    threads = max(1, cores // (len(gpus) * per_device))
    return [
        Slot(
            f"gpu:{gpu}" if per_device == 1 else f"gpu:{gpu}.{place}",
            "cuda",
            threads,
            sharing=per_device,
            environment={"CUDA_VISIBLE_DEVICES": gpu},
        )
        for place in range(per_device)
        for gpu in gpus
    ]


def apart(free: Sequence[Slot], count: int) -> list[Slot]:
    """Return the last `count` of these slots of which no two are on one GPU, or fewer if there are not as many."""
    found: dict[str, Slot] = {}
    for slot in reversed(free):
        found.setdefault(slot.environment.get("CUDA_VISIBLE_DEVICES", slot.name), slot)
    return list(found.values())[:count]


def most_ranks(specs: Sequence[RunSpec]) -> int:
    """Return the most ranks that one of these runs has."""
    return max((spec.execution.ranks for spec in specs), default=1)


def room_for_ranks(slots: Sequence[Slot], ranks: int) -> None:
    """Do nothing if these slots have room for a run with so many ranks. On CPUs, ranks can share a slot.

    Raises:
        BadInputError: They are on fewer GPUs.
    """
    gpus = len(apart(slots, len(slots)))
    if slots[0].device == "cuda" and gpus < ranks:
        message = f"each rank needs a GPU of its own; allowed: up to {gpus}, or any number with --devices cpu"
        raise BadInputError([Problem(message, field="ranks", value=str(ranks))])


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
    from benchbench.devices.visible import visible

    return list(visible().identifiers)
