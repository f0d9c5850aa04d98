"""What a run asks of torch's backends: TF32, deterministic algorithms, cuDNN's choice of the fastest ones."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from benchbench.values import Execution

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def configured(execution: Execution, device: torch.device) -> Iterator[None]:
    """Let torch compute as a run asks for, inside; afterwards all is as it was.

    cuBLAS reads its workspace's size when a process first uses it: where it has been in use before, torch itself
    says so and how to go on.

    Args:
        execution: What the run asks for.
        device: Where it runs.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    switches = (matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark)
    deterministic, warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    workspace = os.environ.get(_WORKSPACE)
    matmul.allow_tf32 = cudnn.allow_tf32 = execution.tf32
    cudnn.benchmark = execution.cudnn_benchmark
    if execution.deterministic:
        cudnn.deterministic = True
        torch.use_deterministic_algorithms(True)
        if device.type == "cuda":
            os.environ.setdefault(_WORKSPACE, ":4096:8")
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark = switches
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        if workspace is None:
            os.environ.pop(_WORKSPACE, None)


def description(execution: Execution) -> dict[str, str]:
    """Return, as plain text, how the gradients of a run were computed, where that is not the default."""
    default = Execution()
    return {name: str(value) for name, value in execution.model_dump().items() if value != getattr(default, name)}
