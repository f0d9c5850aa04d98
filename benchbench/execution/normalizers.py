"""Layers that keep running statistics, such as batch norm: which a model has, and how they are left alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn


def normalizers_of(model: nn.Module) -> list[nn.Module]:
    """Return the modules of a model that keep running statistics, such as batch norm."""
    return [module for module in model.modules() if _keeps_statistics(module)]


def _keeps_statistics(module: nn.Module) -> bool:
    return bool(getattr(module, "track_running_stats", False))


@contextmanager
def noticed_normalizers() -> Iterator[list[nn.Module]]:
    """Collect the modules with running statistics whose forward runs inside.

    Yields:
        The list they are collected in.
    """
    noticed: list[nn.Module] = []

    def notice(module: nn.Module, _inputs: object) -> None:
        if _keeps_statistics(module):
            noticed.append(module)

    handle = nn.modules.module.register_module_forward_pre_hook(notice)
    try:
        yield noticed
    finally:
        handle.remove()


@contextmanager
def frozen_statistics(normalizers: Sequence[nn.Module]) -> Iterator[None]:
    """Normalise by the batch's own statistics and leave the running ones alone.

    The buffers are hidden. Setting the momentum to zero instead would let a NaN in the batch into them.
    """
    hidden = [
        (module, name, buffer)
        for module in normalizers
        if module.training
        for name in ("running_mean", "running_var", "num_batches_tracked")
        if (buffer := getattr(module, name, None)) is not None
    ]
    for module, name, _ in hidden:
        setattr(module, name, None)
    try:
        yield
    finally:
        for module, name, buffer in hidden:
            setattr(module, name, buffer)
