"""Driver of optimizers that the harness does not know: by the names of their methods and what they take."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import Parameter
from typing import Any

import torch
from torch import Tensor

from benchbench.optim.objective import Objective

_CLOSURE_NAMES = ("closure", "objective")
"""Parameters of `step` that take the objective, wherever they stand."""

_NO_GRAPH = ("does not require grad and does not have a grad_fn", "does not require gradients")
"""torch's message when a gradient without a graph is differentiated."""


class MissingGraphError(RuntimeError):
    """An optimizer differentiates gradients itself, but was given gradients without their graph."""


def step(optimizer: torch.optim.Optimizer, objective: Objective) -> Tensor:
    """Make one step of an optimizer.

    Whatever `optimizer.step` returns is ignored: some return the last loss, a number, a tuple or nothing.

    The signature of `optimizer.step` decides how the objective gets there:

    - It has a parameter `closure` or `objective`, a first positional parameter without a default, or `*args`: that
      is the objective.
    - It has none of these: the objective is evaluated, then `step()` is called without it.

    An optimizer with the methods `first_step` and `second_step` expects the gradient at the current point when the
    first of them is called, as a training loop of its own would have left it: the objective is evaluated there, unless
    `step` has done so already.

    Args:
        optimizer: The optimizer.
        objective: The loss of this step.

    Returns:
        The loss of the first evaluation.

    Raises:
        MissingGraphError: The optimizer differentiates gradients, and nothing has declared that.
        RuntimeError: The optimizer never evaluated the objective.
    """
    with _gradient_before_first_step(optimizer, objective):
        try:
            _call(optimizer.step, objective)
        except RuntimeError as error:
            if objective.create_graph or not any(text in str(error) for text in _NO_GRAPH):
                raise
            raise MissingGraphError("the optimizer differentiates gradients: set `create_graph: true`") from error
    if objective.first_loss is None:
        raise RuntimeError("the optimizer did not call the objective it was given")
    return objective.first_loss


def _call(method: Callable[..., object], objective: Objective) -> None:
    function = getattr(method, "__func__", method)
    place = _place_of_closure(function, function is not method)
    if place is None:
        objective()
        method()
    elif isinstance(place, str):
        method(**{place: objective})
    else:
        method(objective)


@functools.lru_cache(maxsize=64)
def _place_of_closure(function: Callable[..., object], is_method: bool) -> str | int | None:
    """Return where a `step` takes the objective: by this name, as its first argument (0), or nowhere (`None`)."""
    # Remembered, for reading a signature takes longer than a step of a small model.
    try:
        parameters = list(inspect.signature(function).parameters.values())[is_method:]
    except (TypeError, ValueError):  # no signature to be had: then as torch's own
        return 0
    for name in _CLOSURE_NAMES:
        named = next((each for each in parameters if each.name == name), None)
        if named is not None:
            return 0 if named.kind is Parameter.POSITIONAL_ONLY else name
    first = parameters[0] if parameters else None
    if first is None or first.kind in (Parameter.KEYWORD_ONLY, Parameter.VAR_KEYWORD):
        return None
    return 0 if first.kind is Parameter.VAR_POSITIONAL or first.default is Parameter.empty else None


@contextmanager
def _gradient_before_first_step(optimizer: Any, objective: Objective) -> Iterator[None]:
    if not (_has_method(optimizer, "first_step") and _has_method(optimizer, "second_step")):
        yield
        return
    original = optimizer.first_step

    def first_step(*args: object, **kwargs: object) -> object:
        if objective.first_loss is None:
            objective()
        return original(*args, **kwargs)

    optimizer.first_step = first_step
    try:
        yield
    finally:
        del optimizer.first_step


def training(optimizer: torch.optim.Optimizer) -> None:
    """Set an optimizer that has the modes `train()` and `eval()` to the first of them."""
    if _has_modes(optimizer):
        optimizer.train()  # type: ignore[attr-defined]


@contextmanager
def evaluating(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Show the weights that an optimizer wants to be judged by.

    An optimizer that trains at other weights than it recommends (an average of them, say) has methods `eval` and
    `train` that switch between the two; others are left alone.
    """
    if not _has_modes(optimizer):
        yield
        return
    optimizer.eval()  # type: ignore[attr-defined]
    try:
        yield
    finally:
        optimizer.train()  # type: ignore[attr-defined]


def _has_modes(optimizer: object) -> bool:
    return _has_method(optimizer, "train") and _has_method(optimizer, "eval")


def _has_method(optimizer: object, name: str) -> bool:
    return callable(getattr(optimizer, name, None))
