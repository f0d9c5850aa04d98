"""Precision of float32 products, TF32 or full, through whichever of torch's interfaces has been used before.

torch has an older interface (`set_float32_matmul_precision`, `allow_tf32`) and, since 2.9, a newer one
(`fp32_precision` of backends and of operations). Each keeps values of its own, and torch, its compiler included, raises
where it reads one and the other says something else. So both are set, to the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import backends


@dataclass(frozen=True)
class _Operation:
    """An operation of a backend in the newer interface.

    Attributes:
        settings: Has its `fp32_precision`.
        parent: Has that of the backend, which the operation follows where it has none of its own.
    """

    settings: Any
    parent: Any

    def own(self) -> str:
        """Return the precision of its own, `none` where it follows its backend."""
        precision: str = self.settings.fp32_precision
        return "none" if precision == self.parent.fp32_precision else precision

    def set(self, precision: str) -> None:
        self.settings.fp32_precision = precision


def _operations() -> tuple[list[_Operation], list[_Operation]]:
    """Return the operations on accelerators and those on CPUs; none where torch has the older interface alone."""
    cudnn: Any = backends.cudnn
    mkldnn: Any = backends.mkldnn
    if not hasattr(backends.cuda.matmul, "fp32_precision"):
        return [], []
    return (
        [_Operation(each, cudnn) for each in (backends.cuda.matmul, cudnn.conv, cudnn.rnn)],
        [_Operation(each, mkldnn) for each in (mkldnn.matmul, mkldnn.conv, mkldnn.rnn)],
    )


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Turn TF32 on or off inside, for matrix products, convolutions and recurrences in float32.

    On CPUs they are computed in full. Afterwards all is as it was, mixtures of both interfaces included.

    Args:
        allowed: Whether they may use TF32.
    """
    on_accelerators, on_cpus = _operations()
    before = [(each, each.own()) for each in (*on_accelerators, *on_cpus)]
    matmul, convolutions = _older(on_accelerators, on_cpus)
    try:
        torch.set_float32_matmul_precision("high" if allowed else "highest")
        backends.cudnn.allow_tf32 = allowed
        _set(on_accelerators, "tf32" if allowed else "ieee")
        _set(on_cpus, "ieee")
        yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        backends.cudnn.allow_tf32 = convolutions
        for operation, own in before:
            operation.set(own)


def _older(on_accelerators: list[_Operation], on_cpus: list[_Operation]) -> tuple[str, bool]:
    """Return what the older interface has for matrix products and for convolutions; changes the newer one.

    It can be read only where the newer one says the same.
    """
    _set([*on_accelerators, *on_cpus], "ieee")
    matmul = torch.get_float32_matmul_precision()
    try:
        return matmul, backends.cudnn.allow_tf32
    except RuntimeError:  # it says that convolutions may use TF32
        return matmul, True


def _set(operations: list[_Operation], precision: str) -> None:
    for operation in operations:
        operation.set(precision)
