"""Warm-up: what the first steps of a process take beyond later ones like them, on a clock of its own.

The first step loads kernels, reserves memory and lets libraries choose algorithms; the first Hessian-vector product
does so for kernels of its own; for the first batch of each shape a loss may be compiled, and cuDNN may try its
algorithms out. Which steps these are follows from what they compute, never from how long they take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils import _pytree

from benchbench.optim.ledger import Ledger

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


class WarmUp:
    """Measures how much longer first steps take than later ones like them.

    A step is a first one if nothing has been computed before in this process, if it needs second derivatives for the
    first time, or if its batch has a shape that something is prepared for. From there on all its time is warm-up, until
    another step with the same evaluations on a batch of the same shapes has been timed: that much of the first one
    becomes training, and the rest remains warm-up. Steps that need not be timed are not: the device is not waited for.

    Args:
        elapsed: Returns the seconds of the training loop so far, once the device has done all that it was asked to do.
        ledger: The run's ledger.
        by_shape: Whether something is prepared for each shape of batch: the loss compiled, algorithms tried out.

    Attributes:
        seconds: Warm-up so far, that of earlier attempts included.
        steps: Steps whose whole time is part of it, for no other step like them has come yet.
    """

    def __init__(self, elapsed: Callable[[], float], ledger: Ledger, by_shape: Callable[[], bool]) -> None:
        self.seconds = 0.0
        self.steps = 0
        self._elapsed = elapsed
        self._ledger = ledger
        self._by_shape = by_shape
        self._seen: set[Kind] = set()
        self._firsts: list[_First] = []
        self._shapes: Shapes = ()
        self._began: dict[Kind, float] = {}
        ledger.before_second_order = lambda: self._begin(_SECOND_ORDER)

    @contextmanager
    def step(self, batch: Any) -> Iterator[None]:
        """Time the step that is made inside, if it is a first one or may be like one."""
        self._shapes = tuple(tuple(leaf.shape) for leaf in _pytree.tree_leaves(batch) if isinstance(leaf, torch.Tensor))
        self._began = {}
        self._begin(("step", self._shapes if self._by_shape() else ()))
        before = self._counts()
        yield
        if self._began:
            forwards, gradients, hvps = (now - then for now, then in zip(self._counts(), before, strict=True))
            self._end((forwards, gradients, hvps))

    def _begin(self, kind: Kind) -> None:
        is_awaited = any(first.kind == kind and first.shapes == self._shapes for first in self._firsts)
        if kind not in self._began and (is_awaited or kind not in self._seen):
            self._began[kind] = self._elapsed()

    def _end(self, work: tuple[int, int, int]) -> None:
        now = self._elapsed()
        new = [kind for kind in self._began if kind not in self._seen]
        if new:  # the earliest contains the others
            took = now - self._began[new[0]]
            self.seconds += took
            self.steps += 1
            self._firsts.append(_First(new[0], self._shapes, work, took))
            self._seen.update(new, [("step", ())])
            return
        for first in [each for each in self._firsts if each.kind in self._began and each.shapes == self._shapes]:
            first.waited += 1
            if first.work == work:
                self.seconds = max(0.0, self.seconds - min(first.took, now - self._began[first.kind]))
                self.steps -= 1
            if first.work == work or first.waited == LONGEST_WAIT:
                self._firsts.remove(first)

    def _counts(self) -> tuple[int, int, int]:
        return self._ledger.forwards, self._ledger.gradients, self._ledger.hvps
