"""Operations of a run on its device. They start that device and no other; a CPU run starts none."""

from __future__ import annotations

import functools
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from benchbench.devices import nvml
from benchbench.devices.kinds import CPU, Feature, kind_of


class DeviceMissingError(RuntimeError):
    """A device that a run is meant for is not there, or does not start; the message says why, in one line."""


def start(device: torch.device, number: int = 1) -> None:
    """Start a device, so that a run cannot be put on another one without a word. Does nothing for the CPU.

    Args:
        device: The device.
        number: Devices of its kind that there must be.

    Raises:
        DeviceMissingError: It does not start, or there are fewer.
    """
    if not is_accelerator(device):
        return
    try:
        torch.ones(1, device=device).add(1).item()  # memory alone can be had of a GPU that torch has no kernels for
    except (RuntimeError, AssertionError) as error:  # the second one from a torch that is built without it
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__).partition(". ")[0]
        raise DeviceMissingError(f"{device.type} does not start: {reason}") from error
    if (there := count(device)) < number:
        raise DeviceMissingError(f"{number} devices of the kind {device.type} are needed, and there are {there}")


def is_accelerator(device: torch.device) -> bool:
    """Return whether a device is another one than the CPU, which works while the host goes on."""
    return device.type != CPU.type


def count(device: torch.device) -> int:
    """Return how many devices of this kind this process sees."""
    return int(_module(device).device_count())


def seed(device: torch.device, number: int) -> None:
    """Seed the global generator of a device, and leave those of all others alone.

    `torch.manual_seed` would do the same for every kind of device, but where one has not been started it notes the
    call and its stack for later, which takes longer than a step of a small model.
    """
    if not is_accelerator(device):
        torch.default_generator.manual_seed(number)
        return
    module = _module(device)
    if device.index is None or not hasattr(module, "device"):
        module.manual_seed(number)
    else:
        module.init()  # before that, the seed would be kept for the device that is current when it starts
        with module.device(device):
            module.manual_seed(number)


@contextmanager
def forked_random_state(device: torch.device) -> Iterator[None]:
    """Put the random state of the CPU and of a device back afterwards; other devices are not touched.

    Without a list of devices, `torch.random.fork_rng` would start every one of this machine.
    """
    if is_accelerator(device):
        with torch.random.fork_rng([device], device_type=device.type):
            yield
    else:
        with torch.random.fork_rng(devices=[]):
            yield


def synchronise(device: torch.device) -> None:
    """Wait until a device has done all that it was asked to do."""
    if is_accelerator(device):
        torch.accelerator.synchronize(device)


def moment(device: torch.device) -> Any:
    """Return the moment at which a device has done all that it was asked to do, without waiting for it.

    What is asked of it later does not move it. `seconds_between` tells how far apart two moments were.
    """
    if not is_accelerator(device):
        return time.perf_counter()
    event = torch.Event(device, enable_timing=True)
    torch.accelerator.current_stream(device).record_event(event)
    return event


def seconds_between(first: Any, last: Any) -> float:
    """Return the seconds between two moments of one device, both of which have passed."""
    return float(last - first if isinstance(first, float) else first.elapsed_time(last) / 1e3)


def make_current(device: torch.device) -> None:
    """Make a device the current one, which is used where none is named, such as by collective operations."""
    if is_accelerator(device) and device.index is not None:
        torch.accelerator.set_device_index(device.index)


@contextmanager
def current(device: torch.device) -> Iterator[None]:
    """Make a device the current one inside, for code that names none: memory pinning, plugins."""
    index = device.index if is_accelerator(device) else None
    with nullcontext() if index is None else torch.accelerator.device_index(index):
        yield


def reset_peak(device: torch.device) -> None:
    """Begin to watch for the most memory that tensors take up on an accelerator; nothing waits for it."""
    reset = getattr(_module(device), "reset_peak_memory_stats", None)
    if reset is not None:
        reset(device)


def peak(device: torch.device) -> int | None:
    """Return the most bytes that tensors took up on a device since the reset, or `None` where that is not known."""
    most = getattr(_module(device), "max_memory_allocated", None)
    return None if most is None else int(most(device))


def memory(device: torch.device) -> int | None:
    """Return the bytes of memory that a device has, or `None` where that is not known."""
    look = getattr(_module(device), "mem_get_info", None)
    return None if look is None else int(look(device)[1])


def model(device: torch.device) -> str:
    """Return the name of the model of a device, such as `NVIDIA H200`, as far as it is known."""
    name = getattr(_module(device), "get_device_name", None)
    if name is not None:
        return str(name(device))
    return platform.processor() or platform.machine()


def description(device: torch.device) -> str:
    """Return kind and model of a device, as results tell it: numbers and times depend on both."""
    return f"{device.type} ({model(device)})"


def versions(device: torch.device) -> dict[str, str]:
    """Return what an accelerator's numbers and times depend on besides its model, as far as it is known.

    Returns:
        `runtime` (such as `CUDA 13.0`), `driver` and `devices` (how many this machine has); nothing for a CPU.
    """
    if not is_accelerator(device):
        return {}
    machine = nvml.machine()
    known = {
        "runtime": f"CUDA {torch.version.cuda}" if torch.version.cuda else f"HIP {torch.version.hip}",
        "driver": machine.driver if machine is not None else "",
        "devices": str(torch.accelerator.device_count() if machine is None else len(machine.gpus)),
    }
    return {name: text for name, text in known.items() if text and not text.endswith("None")}


def collective(device: torch.device) -> str:
    """Return the backend of `torch.distributed` that sums tensors on a device over processes."""
    return kind_of(device.type).collective


def pins_memory(device: torch.device) -> bool:
    """Return whether a copy from pinned memory to a device goes on in the background."""
    return kind_of(device.type).pins


@functools.cache
def has_fast_products(type_: str) -> bool:
    """Return whether `second_order` may call the kernels of a type of device directly."""
    try:
        return kind_of(type_).fast_products
    except ValueError:
        return False


def lacks(device: torch.device, feature: Feature) -> str | None:
    """Return why a device cannot do something, in one line, or `None` if it can."""
    return kind_of(device.type).lacks.get(feature)


def _module(device: torch.device) -> Any:
    return torch.get_device_module(device)
