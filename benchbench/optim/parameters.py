"""Checks of hyperparameters, parameters and gradients, and a base class for optimizers that applies them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, NamedTuple

from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

State = dict[str, Any]
"""State of one parameter, by name."""


class Rule(NamedTuple):
    """A condition on a hyperparameter, in words and as a test."""

    words: str
    holds: Callable[[object], bool]


class CheckedOptimizer(Optimizer):
    """An optimizer for real parameters whose hyperparameters are checked by rules, in every parameter group.

    A subclass states its `rules`, and its constructor ends in `super().__init__(params, locals())`.

    Args:
        params: Parameters or parameter groups.
        arguments: The constructor's arguments by name; those that have a rule are hyperparameters.
        **counters: Further entries of a parameter group, with the numbers that they begin with.

    Attributes:
        rules: What each hyperparameter may be.

    Raises:
        ValueError: A hyperparameter breaks its rule, or a parameter is complex.
    """

    rules: ClassVar[Mapping[str, Rule]] = {}

    def __init__(self, params: ParamsT, arguments: Mapping[str, Any], **counters: int) -> None:
        super().__init__(params, {**{name: arguments[name] for name in self.rules}, **counters})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group; what it does not set is as given to the constructor.

        Raises:
            ValueError: A hyperparameter breaks its rule, or a parameter is complex.
        """
        check_hyperparameters({**self.defaults, **param_group}, self.rules)
        super().add_param_group(param_group)
        check_parameters(self.param_groups[-1]["params"])

    def every_parameter(self) -> list[Tensor]:
        """Return the parameters of all groups, in their order."""
        return [parameter for group in self.param_groups for parameter in group["params"]]


def check_hyperparameters(values: Mapping[str, object], rules: Mapping[str, Rule]) -> None:
    """Check the hyperparameters of a parameter group.

    Raises:
        ValueError: One of them breaks its rule; the message names it, its value and what is allowed.
    """
    for name, rule in rules.items():
        if not rule.holds(values[name]):
            raise ValueError(f"{name} must be {rule.words}, got {values[name]!r}")


def check_parameters(parameters: Iterable[Tensor]) -> None:
    """Check the parameters of an optimizer that is defined for real numbers.

    Raises:
        ValueError: A parameter is complex.
    """
    for parameter in parameters:
        if parameter.is_complex():
            raise ValueError(
                f"complex parameters are not supported (dtype {parameter.dtype}, shape "
                f"{tuple(parameter.shape)}): hold the real and imaginary parts in a real parameter"
            )


def with_gradient(group: Mapping[str, Any]) -> list[Tensor]:
    """Return the parameters of a parameter group that have a gradient.

    Raises:
        RuntimeError: A gradient is sparse.
    """
    found: list[Tensor] = [p for p in group["params"] if p.grad is not None]
    for parameter, gradient in zip(found, gradients_of(found), strict=True):
        if gradient.is_sparse:
            raise RuntimeError(
                f"sparse gradients are not supported (parameter of shape {tuple(parameter.shape)}): "
                "build the embedding with sparse=False"
            )
    return found


def gradients_of(parameters: Iterable[Tensor]) -> list[Tensor]:
    """Return the gradients of `parameters`, leaving out those that have none."""
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def advance(
    group: Mapping[str, Any],
    states: dict[Tensor, State],
    fresh_state: Callable[[Tensor], State] | None,
) -> tuple[list[Tensor], list[State]]:
    """Count one step for every parameter of a group that has a gradient.

    Args:
        group: A parameter group.
        states: The state of each parameter; its entry `step` is counted up.
        fresh_state: Makes the state of a parameter that has none; `None` leaves such parameters out.

    Returns:
        The parameters that take part in this step, and their states.

    Raises:
        RuntimeError: A gradient is sparse.
    """
    parameters, members = [], []
    for parameter in with_gradient(group):
        state = states.get(parameter)
        if state is None:
            if fresh_state is None:
                continue
            state = states[parameter] = {"step": 0, **fresh_state(parameter)}
        state["step"] += 1
        parameters.append(parameter)
        members.append(state)
    return parameters, members


def one_of(*choices: str) -> Rule:
    """Return the rule of a hyperparameter with named choices."""
    return Rule(" or ".join(map(repr, choices)), lambda value: value in choices)


def _number(value: object) -> float:
    """Return a number as a float, and anything else as NaN, which passes no comparison."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number else math.nan  # type: ignore[arg-type]


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


NOT_NEGATIVE = Rule("a finite number >= 0", lambda value: 0 <= _number(value) < math.inf)
POSITIVE = Rule("a finite number > 0", lambda value: 0 < _number(value) < math.inf)
RATE = Rule("a number in [0, 1)", lambda value: 0 <= _number(value) < 1)
RATES = Rule(
    "two numbers in [0, 1)",
    lambda value: isinstance(value, (tuple, list)) and len(value) == 2 and all(0 <= _number(v) < 1 for v in value),
)
INTEGER = Rule("an integer", _is_integer)
COUNT = Rule("an integer >= 1", lambda value: _is_integer(value) and _number(value) >= 1)
FLAG = Rule("True or False", lambda value: isinstance(value, bool))
