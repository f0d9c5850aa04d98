"""Parameters of a model that an optimizer has been given, and those that it has left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

_MOST_NAMES = 5
"""Parameters that a message names; of more, it says how many there are."""


def trainable(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters of a model that require a gradient, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def faults(
    parameters: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    leave_out: Sequence[str],
    no_decay: Collection[str] = (),
) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the parameters that an optimizer has in its groups.

    Args:
        parameters: Those that were trainable before the optimizer was built, by name.
        optimizer: The optimizer.
        leave_out: Names, or patterns such as `*.bias`, of what it is meant to leave out.
        no_decay: Roles that it was given in parameter groups with a `weight_decay` of 0.

    Yields:
        The setting that is at fault (`optimizer`, `leave_out` or `no_decay`), and a message that continues the
        optimizer's name.
    """
    held = Counter(id(each) for group in optimizer.param_groups for each in group["params"])
    missing = [name for name, each in parameters.items() if id(each) not in held]
    twice = [name for name, each in parameters.items() if held[id(each)] > 1]
    unsaid = [name for name in missing if not any(fnmatchcase(name, pattern) for pattern in leave_out)]
    if unsaid:
        yield (
            "optimizer",
            f"leaves out {len(unsaid)} of {len(parameters)} trainable parameters: {_listed(unsaid)}; if that is meant, "
            "name them in `leave_out`",
        )
    if twice:
        yield "optimizer", f"has {_listed(twice)} in its groups more than once"
    if no_decay and not all("weight_decay" in group for group in optimizer.param_groups):
        yield (
            "no_decay",
            "has no `weight_decay` in its parameter groups, so nothing says that it decays no weights there",
        )
    for pattern in leave_out:
        matching = [name for name in parameters if fnmatchcase(name, pattern)]
        if matching and not set(matching) & set(missing):
            yield "leave_out", f"trains {_listed(matching)}, which `leave_out` only says, and does not change"


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {rest} more" if rest > 0 else "")
