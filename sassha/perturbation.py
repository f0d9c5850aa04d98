"""Moving the weights aside for an evaluation, and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import reduce

import torch
from torch import Tensor


@contextmanager
def displaced(parameters: list[Tensor], offsets: list[Tensor]) -> Iterator[None]:
    """Add `offsets` to `parameters` inside; outside they hold the very bits they held before.

    The weights are restored from a copy: adding and subtracting an offset would leave a rounding error behind
    at every step.
    """
    if not parameters:
        yield
        return
    with torch.no_grad():
        saved = [parameter.clone() for parameter in parameters]
        torch._foreach_add_(parameters, offsets)
    try:
        yield
    finally:
        with torch.no_grad():
            torch._foreach_copy_(parameters, saved)


def global_norm(tensors: Sequence[Tensor]) -> Tensor:
    """Return the Euclidean norm of all `tensors` as one vector, in at least single precision."""
    dtype = reduce(torch.promote_types, {tensor.dtype for tensor in tensors}, torch.float32)
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(tensors), 2, dtype)))
    return norm
