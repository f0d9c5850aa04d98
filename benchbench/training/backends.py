"""Settings of torch's backends for a run: TF32, deterministic algorithms, cuDNN's choice of the fastest ones."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from benchbench.devices.kinds import kind_of
from benchbench.optim.execution.float32 import tf32
from benchbench.optim.execution.precision import TYPES
from benchbench.values import Execution


@contextmanager
def configured(execution: Execution, device: torch.device) -> Iterator[None]:
    """Let torch compute as a run asks for, inside; afterwards all is as it was.

    cuBLAS reads its workspace's size when a process first uses it: where it has been in use before, torch itself
    says so and how to go on.

    Args:
        execution: What the run asks for.
        device: Where it runs.
    """
    cudnn = torch.backends.cudnn
    switches = (cudnn.deterministic, cudnn.benchmark)
    deterministic, warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    needed = kind_of(device.type).determinism if execution.deterministic else {}
    added = {name: value for name, value in needed.items() if name not in os.environ}
    try:
        os.environ.update(added)
        cudnn.benchmark = execution.cudnn_benchmark
        if execution.deterministic:
            cudnn.deterministic = True
            torch.use_deterministic_algorithms(True, warn_only=execution.deterministic == "warn")
        with tf32(execution.tf32):
            yield
    finally:
        cudnn.deterministic, cudnn.benchmark = switches
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        for name in added:
            os.environ.pop(name, None)


def evaluated_in(execution: Execution, device: torch.device) -> AbstractContextManager[Any]:
    """Return the context in which a run evaluates its model: float32, or the precision that it trains in."""
    if execution.autocast == "off" or not execution.autocast_evaluation:
        return nullcontext()
    return torch.autocast(device.type, TYPES[execution.autocast])


def description(execution: Execution) -> dict[str, str]:
    """Return, as plain text, how the gradients of a run were computed, where that is not the default."""
    default = Execution()
    return {name: str(value) for name, value in execution.model_dump().items() if value != getattr(default, name)}
