"""Any optimizer is driven by what its methods are called and what they take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchbench.optim import stepping
from benchbench.optim.ledger import Ledger
from benchbench.optim.objective import Objective
from benchbench.plugins.factories import Factory
from benchbench.values import Component


class Descent(torch.optim.Optimizer):
    """Gradient descent whose `step` each test puts into another shape."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, {"lr": lr})

    def update(self) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                p.data -= group["lr"] * p.grad


class Positional(Descent):
    def step(self, closure: Callable[[], Tensor]) -> None:
        closure()
        self.update()


class PositionalOfAnyName(Descent):
    def step(self, f: Callable[[], Tensor], /) -> None:
        f()
        self.update()


class SecondPlace(Descent):
    def step(self, grads: object = None, closure: Callable[[], Tensor] | None = None) -> tuple[int, str]:
        assert grads is None
        assert closure is not None
        closure()
        self.update()
        return 3, "odd"


class KeywordOnly(Descent):
    def step(self, *, closure: Callable[[], Tensor]) -> float:
        loss = closure()
        self.update()
        return float(loss)


class Anything(Descent):
    def step(self, *args: Any, **kwargs: Any) -> None:
        args[0]()
        self.update()


class NoClosure(Descent):
    def step(self) -> None:
        self.update()


class OnlyOptions(Descent):
    def step(self, zero_grad: bool = False, *, scale: float = 1.0) -> None:
        assert zero_grad is False
        self.update()


class TwoSteps(Descent):
    """Perturbs in `first_step` with the gradient that it expects to be there."""

    def first_step(self, zero_grad: bool = False) -> None:
        for p in self.param_groups[0]["params"]:
            p.data += 0.1 * p.grad
        if zero_grad:
            self.zero_grad()

    def second_step(self) -> None:
        self.update()

    def step(self, closure: Callable[[], Tensor] | None = None) -> None:
        assert closure is not None
        self.first_step(zero_grad=True)
        closure()
        self.second_step()


class TwoStepsOfItsOwn(TwoSteps):
    def step(self, closure: Callable[[], Tensor]) -> None:  # type: ignore[override]
        closure()
        super().step(closure)


def stepped(kind: type[Descent]) -> tuple[float, Ledger, Objective]:
    weight = nn.Parameter(torch.tensor([2.0]))
    ledger = Ledger()
    objective = Objective(lambda: weight.square().sum() / 2, [weight], ledger=ledger)
    optimizer = kind([weight])
    loss = stepping.step(optimizer, objective)
    assert loss == 2.0
    assert "first_step" not in vars(optimizer)
    return weight.item(), ledger, objective


@pytest.mark.parametrize(
    "kind", [Positional, PositionalOfAnyName, SecondPlace, KeywordOnly, Anything, NoClosure, OnlyOptions]
)
def test_the_signature_of_step_decides_how_the_objective_gets_there(kind: type[Descent]) -> None:
    weight, ledger, _ = stepped(kind)
    assert weight == pytest.approx(1.8)
    assert ledger.gradients == 1


@pytest.mark.parametrize("kind", [TwoSteps, TwoStepsOfItsOwn])
def test_the_first_of_two_steps_finds_its_gradient(kind: type[Descent]) -> None:
    weight, ledger, _ = stepped(kind)
    assert weight == pytest.approx(2.2 - 0.22)
    assert ledger.gradients == 2


class Forgetful(Descent):
    def step(self, closure: Callable[[], Tensor] | None = None) -> None:
        pass


class Twice(Descent):
    def step(self, closure: Callable[[], Tensor]) -> None:
        closure()
        torch.autograd.grad([p.grad.sum() for p in self.param_groups[0]["params"]], self.param_groups[0]["params"])


class Failing(Descent):
    def step(self, closure: Callable[[], Tensor]) -> None:
        raise RuntimeError("another reason")


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        (Forgetful, RuntimeError, "did not call the objective"),
        (Twice, stepping.MissingGraphError, "create_graph: true"),
        (Failing, RuntimeError, "another reason"),
    ],
)
def test_errors_say_what_to_do(kind: type[Descent], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        stepped(kind)


class Averaging(Descent):
    """Recommends other weights than it trains."""

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.calls: list[str] = []

    def train(self) -> None:
        self.calls.append("train")

    def eval(self) -> None:
        self.calls.append("eval")


def test_an_optimizer_with_modes_is_evaluated_in_the_other_one() -> None:
    optimizer = Averaging([nn.Parameter(torch.ones(1))])
    stepping.training(optimizer)
    with stepping.evaluating(optimizer):
        assert optimizer.calls == ["train", "eval"]
    assert optimizer.calls == ["train", "eval", "train"]
    plain = Descent([nn.Parameter(torch.ones(1))])
    stepping.training(plain)
    with stepping.evaluating(plain):
        pass


CODE = """\
import torch
from torch import nn

class OfModel(torch.optim.SGD):
    def __init__(self, model: nn.Module, lr: float = 0.1):
        super().__init__(model.parameters(), lr=lr)
        self.model = model

class OfBoth(torch.optim.SGD):
    def __init__(self, model: nn.Module | None, params, base: type[torch.optim.Optimizer] = torch.optim.SGD):
        super().__init__(params, lr=0.1)
        self.model, self.base = model, base

class Around(torch.optim.Optimizer):
    def __init__(self, optimizer: type[torch.optim.Optimizer] | torch.optim.Optimizer, k: int = 5, **kwargs):
        self.inner = optimizer(**kwargs)
        self.param_groups, self.k = self.inner.param_groups, k
"""


def test_factories_may_want_the_model_or_another_optimizer_first(tmp_path: Any) -> None:
    path = tmp_path / "code.py"
    path.write_text(CODE)
    model = nn.Linear(2, 2)

    def build(name: str, **parameters: Any) -> Any:
        component = Component(target=f"{path}:{name}", parameters=parameters)
        return Factory("optimizer", component).build_optimizer(model.parameters(), seed=0, model=model)

    assert build("OfModel", lr=0.5).model is model
    assert build("OfBoth", base="adamw").base is torch.optim.AdamW
    around = build("Around", optimizer_="adamw", lr=0.5, k=2)
    assert type(around.inner) is torch.optim.AdamW
    assert (around.param_groups[0]["lr"], around.k) == (0.5, 2)
    allowed = Factory("optimizer", Component(target=f"{path}:Around")).parameters
    assert "optimizer_" in allowed
    assert not {"params", "optimizer"} & set(allowed)
