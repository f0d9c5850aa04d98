"""What an optimizer holds, wherever it keeps it; what cannot be known is unknown, and not nothing."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from baselines.by_role import ByRole
from benchbench.optim import state
from benchbench.optim.roles import ParameterRoles
from benchbench.training import diagnostics
from tests.processes.test_memory import PARAMETERS, parameters, stepped


class Holding(torch.optim.SGD):
    """SGD with something in an attribute."""

    def __init__(self, params: Any, make: Callable[[list[Any]], Any]) -> None:
        params = list(params)
        super().__init__(params, lr=0.1)
        self.held = make(params)


class Slotted:
    __slots__ = ("buffer",)

    def __init__(self, buffer: torch.Tensor) -> None:
        self.buffer = buffer


class Nested:
    def __init__(self, value: Any) -> None:
        self.deeper = {"here": (value,), "itself": self}


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda ps: [torch.zeros_like(p) for p in ps], PARAMETERS),
        (lambda ps: {p: torch.zeros_like(p) for p in ps}, PARAMETERS),
        (lambda ps: torch.optim.SGD(ps, 0.1), 0),
        (lambda ps: [stepped(torch.optim.Adagrad(ps, 0.1))], PARAMETERS + 2 * 4),
        (lambda ps: Nested(Slotted(torch.ones(3))), 12),
        (lambda ps: np.ones(3), 24),
        (lambda ps: np.ones((4, 3))[1:2], 96),
        (lambda ps: torch.eye(3).to_sparse(), 3 * (2 * 8 + 4)),
        (lambda ps: nn.Linear(2, 2), 24),
        (lambda ps: [p.detach() for p in ps], 0),
        (lambda ps: np.random.RandomState(0), 0),
        (lambda ps: threading.Lock(), None),
        (lambda ps: [torch.ones(3), iter(())], None),
    ],
)
def test_attributes_are_looked_into(make: Callable[[list[Any]], Any], expected: int | None) -> None:
    assert state.state_bytes(Holding(parameters(), make)) == expected


def test_the_model_that_an_optimizer_holds_is_not_its_state() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    optimizer = Holding(model.parameters(), lambda _: model)
    averaged = Holding(model.parameters(), lambda _: copy.deepcopy(model))
    assert state.state_bytes(optimizer, model) == 0
    assert state.state_bytes(averaged, model) == 4 * (9 + 6 + 6) + 8


def test_an_optimizer_that_holds_others_has_the_state_of_these() -> None:
    matrix, vector = parameters()
    roles = ParameterRoles(nn.ParameterDict({"weight": matrix, "bias": vector}))
    optimizer = ByRole([matrix, vector], roles, head=torch.optim.Muon)
    for parameter in (matrix, vector):
        parameter.grad = torch.ones_like(parameter)
    optimizer.step(lambda: torch.ones(()))
    assert state.state_bytes(optimizer) == 4 * (8 + 2 * 2 + 1)  # a momentum; two moments and a step
    assert diagnostics.state_names(optimizer) == {"momentum_buffer", "exp_avg", "exp_avg_sq", "step"}
