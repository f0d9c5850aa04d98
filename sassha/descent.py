"""Shared by SASSHA and M-SASSHA: their hyperparameters, and a step along momentum over the averaged curvature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from benchbench.optim.parameters import (
    COUNT,
    FLAG,
    INTEGER,
    NOT_NEGATIVE,
    POSITIVE,
    RATES,
    Rule,
    State,
    advance,
    gradients_of,
    one_of,
)

RULES: Mapping[str, Rule] = {
    "lr": NOT_NEGATIVE,
    "betas": RATES,
    "eps": NOT_NEGATIVE,
    "weight_decay": NOT_NEGATIVE,
    "rho": NOT_NEGATIVE,
    "lazy_hessian": COUNT,
    "n_samples": COUNT,
    "hessian_power": NOT_NEGATIVE,
    "perturb_eps": POSITIVE,
    "absolute": FLAG,
    "bias_correction": one_of("steps", "updates"),
    "seed": INTEGER,
}
"""Rules of the hyperparameters of both."""


def descend(group: dict[str, Any], states: dict[Tensor, State], diagonal: Mapping[Tensor, Tensor] | None) -> None:
    """Update the weights of `group` from the gradients in `p.grad` (Algorithm 1, lines 7, 8 and 11 to 16).

    A parameter that gets its first gradient between two Hessian steps stays where it is until the next one,
    for it has no curvature yet. Bias corrections count a parameter's own steps.

    Args:
        group: A parameter group.
        states: The state of each parameter.
        diagonal: The estimated diagonal of the Hessian per parameter if the group is due, else `None`.
    """
    parameters, members = advance(group, states, _fresh_state if diagonal is not None else None)
    group["step"] += 1
    if not parameters:
        return
    if diagonal is not None:
        _average_curvature(group, members, [diagonal[parameter] for parameter in parameters])
    _move(group, parameters, members)


def _fresh_state(parameter: Tensor) -> State:
    return {
        "hessian_updates": 0,
        "exp_avg": torch.zeros_like(parameter),
        "exp_hessian": torch.zeros_like(parameter),
        "denominator": torch.zeros_like(parameter),
    }


def _average_curvature(group: dict[str, Any], members: list[State], estimates: list[Tensor]) -> None:
    """Update the averaged curvature D, and the denominator |D|^p / (1 - beta2^s)^p + eps made from it."""
    _, beta2 = group["betas"]
    power = group["hessian_power"]
    averages = [state["exp_hessian"] for state in members]
    denominators = [state["denominator"] for state in members]
    if group["absolute"]:
        estimates = list(torch._foreach_abs(estimates))
    torch._foreach_lerp_(averages, estimates, 1 - beta2)
    for state in members:
        state["hessian_updates"] += 1
    counted = "hessian_updates" if group["bias_correction"] == "updates" else "step"

    torch._foreach_copy_(denominators, averages)
    if not group["absolute"]:
        torch._foreach_abs_(denominators)
    if power == 0.5:
        torch._foreach_sqrt_(denominators)
    elif power != 1:
        torch._foreach_pow_(denominators, power)
    torch._foreach_div_(denominators, [(1 - beta2 ** state[counted]) ** power for state in members])
    torch._foreach_add_(denominators, group["eps"])
    if not group["absolute"]:
        for denominator, average in zip(denominators, averages, strict=True):
            denominator.copysign_(average)


def _move(group: dict[str, Any], parameters: list[Tensor], members: list[State]) -> None:
    beta1, _ = group["betas"]
    momenta = [state["exp_avg"] for state in members]
    denominators = [state["denominator"] for state in members]
    torch._foreach_lerp_(momenta, gradients_of(parameters), 1 - beta1)
    if group["weight_decay"]:
        # x - c x: on the CPU twice as fast as x * (1 - c), where each tensor wraps the number again.
        torch._foreach_add_(parameters, parameters, alpha=-group["lr"] * group["weight_decay"])
    rates = [-group["lr"] / (1 - beta1 ** state["step"]) for state in members]
    torch._foreach_addcdiv_(parameters, momenta, denominators, rates)
