"""Device slots: what one run gets of this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchbench.devices.kinds import CPU, kind_of
from benchbench.devices.visible import Visible, built_for, visible
from benchbench.problems import BadInputError, Problem
from benchbench.values import RunSpec


@dataclass(frozen=True)
class Placement:
    """The user's options on where runs are placed.

    Attributes:
        slots: Runs at a time (default: one per GPU, or per core without a GPU; on a cluster, as many as it takes).
        devices: What to use of this machine: `cpu`, or GPUs by number or UUID (default: all GPUs, or else the CPU).
        per_device: Runs that share a GPU.
        exclusive: Whether a run gets its GPU, or else the whole machine, to itself, whatever else is asked for.
    """

    slots: int | None = None
    devices: tuple[str, ...] = ()
    per_device: int = 1
    exclusive: bool = False

    @property
    def on_cpu(self) -> bool:
        """True if runs use the CPU alone."""
        return self.devices == (CPU.type,)

    def check_for_cluster(self, *, shares_gpus: bool) -> None:
        """Raise if another system cannot place runs as the user asks.

        Args:
            shares_gpus: Whether that system can give a part of a GPU.

        Raises:
            BadInputError: It cannot.
        """
        wrong = []
        if self.devices and not self.on_cpu:
            message = "a cluster chooses the GPU of a run itself; allowed: cpu"
            wrong.append(Problem(message, file="--devices", value=",".join(self.devices)))
        if self.per_device > 1 and not shares_gpus:
            message = "this cluster gives every run a GPU of its own; allowed: 1"
            wrong.append(Problem(message, file="--slots-per-device", value=str(self.per_device)))
        if wrong:
            raise BadInputError(wrong)

    def check_for_one(self) -> None:
        """Raise if the options do not fit runs that are made one after the other.

        Raises:
            BadInputError: More are wanted at a time.
        """
        wanted = {"--slots": self.slots or 1, "--slots-per-device": self.per_device}
        message = "the engine inline makes one run after the other; allowed: 1"
        if wrong := [Problem(message, file=name, value=str(value)) for name, value in wanted.items() if value > 1]:
            raise BadInputError(wrong)


@dataclass(frozen=True)
class Slot:
    """Room for one run at a time.

    Attributes:
        name: How the slot is shown, such as `cpu:0` or `gpu:1`.
        device: Type of its device, as torch calls it.
        threads: CPU threads of the run.
        sharing: Runs that there can be on the same device: with more than one at a time, times are only indicative.
        devices: The accelerators of this machine that it has, as its kind's variable takes them; none for the CPU.
        environment: Variables set in the run's process before torch can start the device.
    """

    name: str
    device: str
    threads: int
    sharing: int = 1
    devices: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def device_name(self) -> str:
        """Name of the device, among those of this machine."""
        return ",".join(self.devices) or self.device


def available_slots(placement: Placement = Placement()) -> list[Slot]:
    """Return slots on every visible GPU, or CPU slots that share the cores out when there is none.

    Args:
        placement: What the user says.

    Raises:
        BadInputError: There is no such device or no room for so many runs, or GPUs and CPU are mixed.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    here = Visible(CPU) if placement.on_cpu else visible()
    if here.identifiers:
        return _slots_on_gpus(placement, here, cores)
    if placement.devices and not placement.on_cpu:
        message = "this machine has no GPU: allowed is cpu"
        raise BadInputError([Problem(message, file="--devices", value=placement.devices[0])])
    if placement.per_device > 1:
        message = "there is no GPU to share; --slots says how many runs share the CPU"
        raise BadInputError([Problem(message, file="--slots-per-device", value=str(placement.per_device))])
    return cpu_slots(1 if placement.exclusive else placement.slots or cores, cores)


def _slots_on_gpus(placement: Placement, here: Visible, cores: int) -> list[Slot]:
    gpus = _chosen(placement.devices, here) if placement.devices else list(here.identifiers)
    per_device = 1 if placement.exclusive else placement.per_device
    room = len(gpus) * per_device
    count = placement.slots or room
    if count > room and not placement.exclusive:
        message = f"room for {room} at a time (GPUs: {len(gpus)}); --slots-per-device lets several runs share a GPU"
        raise BadInputError([Problem(message, file="--slots", value=str(count))])
    return gpu_slots(here, gpus, cores, per_device, count)


def _chosen(devices: Sequence[str], here: Visible) -> list[str]:
    allowed = f"cpu alone, or some of {', '.join(here.identifiers)}"
    if here.uuids:
        allowed += ", or their UUIDs"
    problems = []
    found: dict[str, str] = {}
    for device in dict.fromkeys(devices):
        if here.named(device) is None:
            problems.append(Problem(f"no such device; allowed: {allowed}", file="--devices", value=device))
        elif (same := found.setdefault(here.uuid(device), device)) != device:
            problems.append(Problem(f"this is the GPU that {same} names too", file="--devices", value=device))
    if problems:
        raise BadInputError(problems)
    return list(found.values())


def cpu_slots(count: int, cores: int) -> list[Slot]:
    """Return `count` CPU slots that share `cores` out evenly, in which a plugin can pick no accelerator either."""
    threads = max(1, cores // count)
    hidden = Visible(built_for()).restriction([])
    return [Slot(f"cpu:{index}", CPU.type, threads, sharing=count, environment=hidden) for index in range(count)]


def gpu_slots(
    here: Visible, gpus: Sequence[str], cores: int, per_device: int = 1, count: int | None = None
) -> list[Slot]:
    """Return slots on GPUs; the process of a run sees one GPU alone.

    Args:
        here: What this process may use.
        gpus: Some of it, as the kind's variable takes them.
        cores: CPU cores, shared out evenly.
        per_device: Slots on each GPU, the first ones of all GPUs first.
        count: The most slots in all.
    """
    places = [(gpu, place) for place in range(per_device) for gpu in gpus][:count]
    on_each = [gpu for gpu, _ in places]
    return [
        Slot(
            f"{here.kind.slot}:{gpu}" if per_device == 1 else f"{here.kind.slot}:{gpu}.{place}",
            here.kind.type,
            max(1, cores // len(places)),
            sharing=on_each.count(gpu),
            devices=(gpu,),
            environment=here.restriction([gpu]),
        )
        for gpu, place in places
    ]


def apart(free: Sequence[Slot], count: int) -> list[Slot]:
    """Return the last `count` of these slots of which no two are on one GPU, or fewer if there are not as many."""
    found: dict[object, Slot] = {}
    for slot in reversed(free):
        found.setdefault(slot.devices or slot.name, slot)
    return list(found.values())[:count]


def most_ranks(specs: Sequence[RunSpec]) -> int:
    """Return the most ranks that one of these runs has."""
    return max((spec.execution.ranks for spec in specs), default=1)


def room_for_ranks(slots: Sequence[Slot], ranks: int) -> None:
    """Raise if a rank has no GPU of its own. On CPUs, ranks can share a slot.

    Raises:
        BadInputError: They are on fewer GPUs, or ranks cannot work together on this kind of device.
    """
    gpus = len(apart(slots, len(slots)))
    if not slots[0].devices or ranks == 1:
        return
    message = kind_of(slots[0].device).lacks.get("ranks")
    if message is None and gpus < ranks:
        message = f"each rank needs a GPU of its own; allowed: up to {gpus}, or any number with --devices cpu"
    if message is not None:
        raise BadInputError([Problem(message, field="ranks", value=str(ranks))])


def merged(slots: Sequence[Slot]) -> Slot:
    """Return one slot of all that these have, for a run with a rank on each.

    Args:
        slots: Slots of the same kind of device.
    """
    devices = tuple(device for slot in slots for device in slot.devices)
    variable = kind_of(slots[0].device).variable
    return Slot(
        name="+".join(slot.name for slot in slots),
        device=slots[0].device,
        threads=sum(slot.threads for slot in slots),
        sharing=max(slot.sharing for slot in slots) if devices else max(1, slots[0].sharing // len(slots)),
        devices=devices,
        environment={**slots[0].environment, **({variable: ",".join(devices)} if variable and devices else {})},
    )
