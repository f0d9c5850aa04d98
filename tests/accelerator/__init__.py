"""The devices that tests of arithmetic run on, and how exact each of them is.

A module says `pytestmark = every_device`, and each of its tests runs on the CPU and on an accelerator, if there is one.
The shared cases (`tests.helpers.model_cases`) follow by themselves; other tensors are made on `current_device()`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from benchbench.training import backends
from benchbench.values import Execution

CPU = torch.device("cpu")

every_device = pytest.mark.usefixtures("device")

FACTORS: dict[str, dict[torch.dtype, float]] = {
    "cpu": {torch.float64: 1, torch.float32: 1},
    "pretend": {torch.float64: 1, torch.float32: 1},
    "cuda": {torch.float64: 10, torch.float32: 10},
    "xpu": {torch.float64: 10, torch.float32: 10},
    "mps": {torch.float32: 10},
}
"""By how much a test's tolerance, which is that of the CPU, is widened: accelerators add up in another order.

TF32 is off in all tests. A type that is not listed is one that the device does not have.
"""

_current = CPU


def accelerator(name: str | None = None) -> torch.device | None:
    """Return the accelerator to test on, if there is one.

    Args:
        name: `pretend` for the one that needs no hardware, `none` to leave out what this machine has.
    """
    if name == "pretend":
        from tests.accelerator.pretend import load

        return load()
    found = torch.accelerator.current_accelerator()
    if name == "none" or found is None or torch.accelerator.device_count() == 0:
        return None
    return torch.device(found.type, 0)


def current_device() -> torch.device:
    """Return the device of the test that is running."""
    return _current


@contextmanager
def running_on(device: torch.device) -> Iterator[None]:
    """Let a test run on a device; on an accelerator without TF32 and as repeatably as its kernels allow."""
    global _current  # noqa: PLW0603 - what `current_device` is about
    _current = device
    if device != CPU:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    deterministic, cudnn = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic
    try:
        with backends.configured(Execution(), device):
            if device != CPU:
                torch.use_deterministic_algorithms(True, warn_only=True)
                torch.backends.cudnn.deterministic = True
            yield
    finally:
        torch.use_deterministic_algorithms(deterministic)
        torch.backends.cudnn.deterministic = cudnn
        _current = CPU


def needs(dtype: torch.dtype) -> None:
    """Skip the test that is running where its device does not have a type of numbers."""
    if not has(dtype):
        pytest.skip(f"{current_device().type} has no {dtype}")


def has(dtype: torch.dtype) -> bool:
    """Return whether the device of the test that is running has a type of numbers."""
    return dtype != torch.float64 or dtype in _factors()


def tolerance(on_the_cpu: float, dtype: torch.dtype = torch.float64) -> float:
    """Return a tolerance of the CPU as that of the device of the test that is running."""
    return on_the_cpu * _factors()[dtype]


def _factors() -> dict[torch.dtype, float]:
    return FACTORS.get(current_device().type, FACTORS["cuda"])
