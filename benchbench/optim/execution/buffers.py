"""Buffers, such as running statistics: which a model has, and how an evaluation leaves them as they were."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from benchbench.optim.execution.synchronised_norm import SynchronisedBatchNorm

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")

_SKIP_STATISTICS_THAT_ARE_NONE = {_BatchNorm.forward, _InstanceNorm.forward, SynchronisedBatchNorm.forward}
"""Forward methods that in training mode compute the same with and without statistics to move."""


def normalizers_of(model: nn.Module) -> list[nn.Module]:
    """Return the modules of a model that keep running statistics, such as batch norm."""
    return _normalizers(model.modules())


def _normalizers(modules: Iterable[nn.Module]) -> list[nn.Module]:
    return [module for module in modules if getattr(module, "track_running_stats", False)]


class ModelBuffers:
    """The buffers of a model, and how an evaluation leaves no trace in them, whatever its layers do.

    Torch's own batch and instance norm, in training mode, get no statistics to move while their own forward runs, which
    costs nothing; every other reader finds the statistics in their place. All other buffers are copied beforehand and
    copied back afterwards, on the device and without waiting for it. Copying back gives NaN no way in, and what a layer
    has rebound to another tensor is bound to its own again.

    State that is in no buffer (plain tensors and numbers as attributes) is not looked at: checkpoints lack it as well.

    Args:
        modules: All modules of the model, as `model.modules()` returns them.
        hide: Whether statistics may be kept from torch's layers. It changes what a compiler has traced, so that it
            compiles twice; without it, their statistics are copied as well.
    """

    def __init__(self, modules: Iterable[nn.Module], *, hide: bool = True) -> None:
        self._modules = modules if isinstance(modules, list) else list(modules)
        self._hide = hide
        self._spare: list[Tensor] = []

    @property
    def normalizers(self) -> list[nn.Module]:
        """The modules that keep running statistics."""
        return _normalizers(self._modules)

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """Leave all buffers as they are found, in the cheapest way that is exact."""
        hidden, copied = self._ways
        hidden = [(module, forward) for module, forward in hidden if "forward" not in module.__dict__]
        for module, forward in hidden:
            module.__dict__["forward"] = forward
        try:
            with self._copied_back(copied):
                yield
        finally:
            for module, _ in hidden:
                del module.__dict__["forward"]

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Restore all buffers afterwards, whatever has changed them inside."""
        with self._copied_back([(module, ()) for module in self._modules]):
            yield

    @cached_property
    def _ways(self) -> tuple[list[tuple[nn.Module, partial[Any]]], list[tuple[nn.Module, tuple[str, ...]]]]:
        """Forward methods by the modules that have them inside, and modules with the buffers that are not copied."""
        # Found when they are first needed: lazy modules become what they are in the first forward pass.
        able = {module: partial(_without_statistics, module) for module in self._modules if self._can_hide(module)}
        left_out: dict[nn.Module, tuple[str, ...]] = {
            each: _STATISTICS if each in able else () for each in self._modules
        }
        copied = [(module, names) for module, names in left_out.items() if module._buffers.keys() - set(names)]
        return list(able.items()), copied

    def _can_hide(self, module: nn.Module) -> bool:
        own = type(module).forward in _SKIP_STATISTICS_THAT_ARE_NONE and "forward" not in module.__dict__
        return self._hide and own

    @contextmanager
    def _copied_back(self, modules: list[tuple[nn.Module, tuple[str, ...]]]) -> Iterator[None]:
        """Copy all buffers of modules, but those whose names are listed with them, and put the copies back."""
        bound = [(module, dict(module._buffers), names) for module, names in modules if module._buffers]
        chosen = (buffer for _, buffers, names in bound for name, buffer in buffers.items() if name not in names)
        unique = {id(buffer): buffer for buffer in chosen if buffer is not None and _can_be_written(buffer)}
        buffers = list(unique.values())
        copies, self._spare = self._fitting(buffers), []
        with torch.no_grad():
            _copy(copies, buffers)
        try:
            yield
        finally:
            for module, before, names in bound:
                kept = {name: buffer for name, buffer in before.items() if name not in names}
                if any(module._buffers.get(name) is not buffer for name, buffer in kept.items()):
                    module._buffers.update(kept)
            with torch.no_grad():
                _copy(buffers, copies)
            self._spare = copies

    def _fitting(self, buffers: list[Tensor]) -> list[Tensor]:
        """Return memory for copies: that of the last time if it fits, for fresh memory takes longer than copying."""
        fits = [_layout(spare) for spare in self._spare] == [_layout(buffer) for buffer in buffers]
        return self._spare if fits else [torch.empty_like(buffer) for buffer in buffers]


def state_of(model: nn.Module) -> dict[str, Any]:
    """Return a model's `state_dict` and its other buffers, which torch calls not persistent; no copies."""
    return {**model.state_dict(), **_not_persistent(model)}


def load_state(model: nn.Module, state: Mapping[str, Any]) -> None:
    """Set a model to what `state_of` returned.

    Raises:
        RuntimeError: It is another model's.
    """
    others = _not_persistent(model)
    model.load_state_dict({name: value for name, value in state.items() if name not in others})
    with torch.no_grad():
        for name, buffer in others.items():
            buffer.copy_(state[name])


def _not_persistent(model: nn.Module) -> dict[str, Tensor]:
    saved = model.state_dict().keys()
    return {name: each for name, each in model.named_buffers() if name not in saved and _can_be_written(each)}


def _without_statistics(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """Run the forward of a module's class; in training mode, without statistics to move.

    Setting the momentum to zero instead would let a NaN in the batch into them.
    """
    forward = type(module).forward
    if not module.training:
        return forward(module, *args, **kwargs)
    buffers = module.__dict__["_buffers"]
    module.__dict__["_buffers"] = {**buffers, **dict.fromkeys(_STATISTICS)}
    try:
        return forward(module, *args, **kwargs)
    finally:
        module.__dict__["_buffers"] = buffers


def _can_be_written(buffer: Tensor) -> bool:
    # An expanded tensor has entries that share memory, which torch refuses to write into, for everyone.
    return buffer.layout is not torch.strided or not any(
        size > 1 and stride == 0 for size, stride in zip(buffer.shape, buffer.stride(), strict=True)
    )


def _layout(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.layout, tensor.shape, tensor.dtype, tensor.device


def _copy(to: list[Tensor], of: list[Tensor]) -> None:
    """Copy tensors, with few launches: all of a type and a device at once."""
    groups: dict[tuple[Any, ...], tuple[list[Tensor], list[Tensor]]] = {}
    for target, source in zip(to, of, strict=True):
        if target.layout is torch.strided:
            targets, sources = groups.setdefault((target.dtype, target.device), ([], []))
            targets.append(target)
            sources.append(source)
        else:
            target.copy_(source)
    for targets, sources in groups.values():
        torch._foreach_copy_(targets, sources)


@contextmanager
def noticed_modules() -> Iterator[list[nn.Module]]:
    """Collect the modules whose forward runs inside, and all modules inside of them.

    Yields:
        The list they are collected in.
    """
    noticed: list[nn.Module] = []
    known: set[nn.Module] = set()

    def notice(module: nn.Module, _inputs: object) -> None:
        if module not in known:
            fresh = [each for each in module.modules() if each not in known]
            known.update(fresh)
            noticed.extend(fresh)

    handle = nn.modules.module.register_module_forward_pre_hook(notice)
    try:
        yield noticed
    finally:
        handle.remove()
