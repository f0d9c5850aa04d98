"""What an optimizer is given: a list, of which it takes everything or says what it leaves out."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchbench.plugins.factories import Factory
from benchbench.values import Component
from tests.strangers.conftest import Command

WALKING_TWICE = """
class TwoRates(torch.optim.SGD):
    def __init__(self, params, lr: float = 0.1):
        assert type(params) is list
        super().__init__([{"params": [p for p in params if p.ndim > 1]},
                          {"params": [p for p in params if p.ndim < 2], "lr": lr / 2}], lr=lr)
        print([len(group["params"]) for group in self.param_groups])

def by_depth(params, lr: float = 0.1):
    return torch.optim.SGD([{"params": [p], "lr": lr / (len(params) - i)} for i, p in enumerate(params)], lr=lr)
"""


def test_a_constructor_may_walk_over_its_parameters_twice(command: Command) -> None:
    methods = {"Two": {"optimizer": "mine.py:TwoRates"}, "Depth": {"optimizer": "mine.py:by_depth"}}
    done = command(WALKING_TWICE, methods)
    assert done.exit_code == 0
    assert [result["outcome"] for result in done.results.values()] == ["finished"] * 2
    assert "[2, 2]" in done.stderr  # and not among the tables


def test_the_parameters_of_a_group_are_a_list_as_well() -> None:
    weights = [torch.nn.Parameter(torch.ones(shape)) for shape in (2, 3)]
    given: list[Any] = [{"params": (each for each in weights), "lr": 0.5}, {"params": iter([])}]
    optimizer = Factory("optimizer", Component(target="sgd")).build_optimizer((each for each in given), seed=0)
    assert optimizer.param_groups[0]["params"] == weights
    assert optimizer.param_groups[0]["lr"] == 0.5


LEAVING_OUT = """
def matrices_only(params, lr: float = 0.1):
    return torch.optim.SGD([p for p in params if p.ndim > 1], lr=lr)

def without_the_head(model: torch.nn.Module, lr: float = 0.1):
    return torch.optim.SGD([p for n, p in model.named_parameters() if not n.startswith(("2.", "head."))], lr=lr)

class Copying(torch.optim.SGD):
    def __init__(self, params, lr: float = 0.1):
        super().__init__([p.detach().clone().requires_grad_() for p in params], lr=lr)

def doubled(params, lr: float = 0.1):
    return torch.optim.SGD([*params, params[1]], lr=lr)

def freezing(params, lr: float = 0.1):
    params[0].requires_grad_(False)
    return torch.optim.SGD(params[1:], lr=lr)
"""

UNSAID = "of 4 trainable parameters: {}; if that is meant, name them in `leave_out`"


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("matrices_only", "leaves out 2 " + UNSAID.format("0.bias, 2.bias")),
        ("without_the_head", "leaves out 2 " + UNSAID.format("2.weight, 2.bias")),
        ("Copying", "leaves out 4 " + UNSAID.format("0.weight, 0.bias, 2.weight, 2.bias")),
        ("freezing", "leaves out 1 " + UNSAID.format("0.weight")),
        ("doubled", "has 0.bias in its groups more than once"),
    ],
)
def test_what_is_left_out_unsaid_is_an_error_before_any_run(command: Command, name: str, fault: str) -> None:
    done = command(LEAVING_OUT, {"It": {"optimizer": f"mine.py:{name}"}})
    assert done.exit_code == 2
    [line] = done.errors
    assert "methods.It.optimizer" in line
    assert line.endswith(f"mine.py:{name} on small {fault}")


def test_what_is_left_out_can_be_said(command: Command) -> None:
    methods = {
        "Matrices": {"optimizer": "mine.py:matrices_only", "leave_out": ["*.bias"]},
        "Body": {
            "optimizer": "mine.py:without_the_head",
            "overrides": {"small": {"leave_out": ["2.weight", "2.bias"]}},
        },
    }
    done = command(LEAVING_OUT, methods)
    assert done.exit_code == 0
    assert {name: result["outcome"] for name, result in done.results.items()} == dict.fromkeys(methods, "finished")


def test_saying_it_does_not_make_it_so(command: Command) -> None:
    done = command(LEAVING_OUT, {"It": {"optimizer": "sgd", "lr": 0.1, "leave_out": ["0.weight"]}})
    [result] = done.results.values()
    assert (done.exit_code, result["outcome"]) == (1, "failed")
    assert "trains 0.weight, which `leave_out` only says, and does not change" in result["message"]


def test_a_part_said_is_not_the_whole(command: Command) -> None:
    done = command(LEAVING_OUT, {"It": {"optimizer": "mine.py:matrices_only", "leave_out": ["0.bias"]}})
    assert done.errors[0].endswith("leaves out 1 " + UNSAID.format("2.bias"))
