"""Methods of an optimizer that a training loop of its own would call, and no run does."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType

from torch.optim import Optimizer

from benchbench.checks.foreign_code import called
from benchbench.optim import stepping
from benchbench.optim.execution.shared_state import shared_state_kept
from benchbench.optim.state import optimizers_in

_STEPS = 12
"""One more than the interval of methods that do something in every tenth step."""

_CALLED_BY_NAME = frozenset({"train", "eval", "first_step", "second_step"})
"""Methods that `stepping` calls."""


def uncalled_methods(build: Callable[[], object], step: Callable[[Optimizer], None]) -> list[str]:
    """Return the public methods that torch's optimizers do not have and that nothing in a run reaches.

    Those that an optimizer's class shares with classes of other modules are helpers of its library, and left out.

    Args:
        build: Builds the optimizer.
        step: Makes a step.

    Returns:
        The names; none where it cannot be built or stepped here, for then nothing is known.
    """
    optimizer, _ = called(build)
    if not isinstance(optimizer, Optimizer):
        return []
    candidates = {name: code for each in optimizers_in(optimizer) for name, code in _own_methods(type(each))}
    if not candidates:
        return []
    reached: set[CodeType] = set()

    def perform() -> bool:
        with shared_state_kept(optimizer), _noting(reached):
            traced = build()
            assert isinstance(traced, Optimizer)
            stepping.training(traced)
            for _ in range(_STEPS):
                step(traced)
            with stepping.evaluating(traced):
                pass
            traced.load_state_dict(traced.state_dict())
            traced.zero_grad()
        return True

    worked, _ = called(perform)
    return [name for name, code in candidates.items() if code not in reached] if worked else []


def _own_methods(cls: type) -> Iterator[tuple[str, CodeType]]:
    """Yield the methods in question of a class, each with its code; decorators share theirs, and are looked through."""
    # The last one that is yielded for a name counts, and that is the one which a call would find.
    for owner in reversed(cls.__mro__):
        if owner.__module__ != cls.__module__ or owner is Optimizer or owner.__module__.startswith("torch.optim"):
            continue
        for name, value in vars(owner).items():
            is_public = not name.startswith("_") and not hasattr(Optimizer, name) and name not in _CALLED_BY_NAME
            if is_public and inspect.isfunction(value):
                yield name, getattr(inspect.unwrap(value), "__code__", value.__code__)


@contextmanager
def _noting(reached: set[CodeType]) -> Iterator[None]:
    """Note the code of every function that is called inside."""

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            reached.add(frame.f_code)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(before)
