"""The clock of a training loop: its time, how much of that is warm-up, and its device memory.

Warm-up is what the first steps of a process take beyond later ones like them. The first step loads kernels, reserves
memory and lets libraries choose algorithms; the first Hessian-vector product does so for kernels of its own; for the
first batch of each shape a loss may be compiled, and cuDNN may try its algorithms out. Which steps these are follows
from what they compute, never from how long they take.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils import _pytree

from benchbench.devices import use
from benchbench.optim.ledger import Ledger
from benchbench.values import Cost

LONGEST_WAIT = 100
"""Steps of the same shapes in which a step like the first one is looked for; each is timed by itself."""

Shapes = tuple[tuple[int, ...], ...]
Kind = tuple[str, Shapes]

_SECOND_ORDER: Kind = ("second order", ())


@dataclass
class _First:
    """The first step of a kind, until one like it is found.

    Attributes:
        kind: What was new about it.
        shapes: Shapes of its batch.
        work: Its evaluations of the loss, gradients and products.
        took: Seconds from where it became new to its end.
        waited: Steps that could have been like it and were not.
    """

    kind: Kind
    shapes: Shapes
    work: tuple[int, int, int]
    took: float
    waited: int = 0


class Clock:
    """Time and device memory of the training loop, without evaluation and bookkeeping.

    A step is a first one if nothing has been computed before in this process, if it needs second derivatives for the
    first time, or if its batch has a shape that something is prepared for. From there on all its time is warm-up, until
    another step with the same evaluations on a batch of the same shapes has been timed: that much of the first one
    becomes training, and the rest remains warm-up. Steps that need not be timed are not: the device is not waited for.

    Args:
        device: Where the run trains.
        ledger: The run's ledger.
        by_shape: Whether something is prepared for each shape of batch: the loss compiled, algorithms tried out.

    Attributes:
        seconds: Time so far, warm-up and earlier attempts included.
        device_peak: Most memory so far, or `None` where it is not known.
        warm_up_seconds: Warm-up so far, that of earlier attempts included.
        warm_up_steps: Steps whose whole time is part of it, for no other step like them has come yet.
    """

    def __init__(self, device: torch.device, ledger: Ledger, by_shape: Callable[[], bool]) -> None:
        self.seconds = 0.0
        self.device_peak: int | None = None
        self.warm_up_seconds = 0.0
        self.warm_up_steps = 0
        self._device = device
        self._ledger = ledger
        self._by_shape = by_shape
        self._since = 0.0
        self._running = False
        self._left_out: list[tuple[Any, Any]] = []
        self._behind = 0.0
        self._seen: set[Kind] = set()
        self._firsts: list[_First] = []
        self._shapes: Shapes = ()
        self._began: dict[Kind, float] = {}
        ledger.before_second_order = lambda: self._begin_kind(_SECOND_ORDER)

    def cost(self) -> Cost:
        """Return what the training has used so far."""
        return Cost(
            **self._ledger.counts,
            train_seconds=max(0.0, self.seconds - self.warm_up_seconds),
            warm_up_seconds=self.warm_up_seconds,
            warm_up_steps=self.warm_up_steps,
        )

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Count what happens inside."""
        self._begin()
        yield
        self.stop()

    def stop(self) -> None:
        """Count no further, if anything is counted: at the end of `measured`, or after an exception inside it."""
        if self._running:
            self._running = False
            self.seconds = self.elapsed()
            self._keep_peak()

    def elapsed(self) -> float:
        """Return the time so far, within `measured`, once the device has done all that it was asked to do."""
        return self.seconds + self._now() - self._since

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out what happens inside, within `measured`."""
        self.stop()
        yield
        self._begin()

    @contextmanager
    def left_out(self) -> Iterator[None]:
        """Leave out what happens inside, like `paused`, but without waiting for the device.

        How long the device was busy with it, or idle because of it, is told by its own clock, which is read when it is
        waited for next.
        """
        self._keep_peak()
        begin = use.moment(self._device)
        yield
        self._left_out.append((begin, use.moment(self._device)))
        use.reset_peak(self._device)

    @contextmanager
    def step(self, batch: Any) -> Iterator[None]:
        """Time the step that is made inside, if it is a first one or may be like one."""
        self._shapes = tuple(tuple(leaf.shape) for leaf in _pytree.tree_leaves(batch) if isinstance(leaf, torch.Tensor))
        self._began = {}
        self._begin_kind(("step", self._shapes if self._by_shape() else ()))
        before = self._work()
        yield
        if self._began:
            forwards, gradients, hvps = (now - then for now, then in zip(self._work(), before, strict=True))
            self._end_step((forwards, gradients, hvps))

    def _begin(self) -> None:
        use.reset_peak(self._device)
        self._running = True
        self._since = self._now()

    def _keep_peak(self) -> None:
        peak = use.peak(self._device)
        if peak is not None:
            self.device_peak = max(peak, self.device_peak or 0)

    def _now(self) -> float:
        """Return the time in seconds, without what was left out, once the device has done all it was asked to do."""
        use.synchronise(self._device)
        self._behind += sum(use.seconds_between(*each) for each in self._left_out)
        self._left_out.clear()
        return time.perf_counter() - self._behind

    def _begin_kind(self, kind: Kind) -> None:
        is_awaited = any(first.kind == kind and first.shapes == self._shapes for first in self._firsts)
        if kind not in self._began and (is_awaited or kind not in self._seen):
            self._began[kind] = self.elapsed()

    def _end_step(self, work: tuple[int, int, int]) -> None:
        now = self.elapsed()
        new = [kind for kind in self._began if kind not in self._seen]
        if new:  # the earliest contains the others
            took = now - self._began[new[0]]
            self.warm_up_seconds += took
            self.warm_up_steps += 1
            self._firsts.append(_First(new[0], self._shapes, work, took))
            self._seen.update(new, [("step", ())])
            return
        for first in [each for each in self._firsts if each.kind in self._began and each.shapes == self._shapes]:
            first.waited += 1
            if first.work == work:
                again = min(first.took, now - self._began[first.kind])
                self.warm_up_seconds = max(0.0, self.warm_up_seconds - again)
                self.warm_up_steps -= 1
            if first.work == work or first.waited == LONGEST_WAIT:
                self._firsts.remove(first)

    def _work(self) -> tuple[int, int, int]:
        return self._ledger.forwards, self._ledger.gradients, self._ledger.hvps
