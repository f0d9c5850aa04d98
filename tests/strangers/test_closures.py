"""Conventions of closures: whoever differentiates the loss, the gradient is the same and is counted once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.strangers.conftest import Command

CODE = '''
class Descent(torch.optim.Optimizer):
    def __init__(self, params, lr: float = 0.1):
        super().__init__(params, {"lr": lr})
        self.ps = self.param_groups[0]["params"]

    def move(self, gradients):
        with torch.no_grad():
            for p, g in zip(self.ps, gradients):
                p -= self.param_groups[0]["lr"] * g

class Plain(Descent):
    def step(self, closure):
        closure()
        self.move([p.grad for p in self.ps])

class GradOfLoss(Descent):
    def step(self, closure):
        self.move(torch.autograd.grad(closure(), self.ps))

class BackwardOfLoss(Descent):
    def step(self, closure):
        self.zero_grad()
        loss = closure()
        loss.backward()
        self.move([p.grad for p in self.ps])

class BackwardAlone(Descent):
    def step(self, closure):
        closure().backward()
        self.move([p.grad for p in self.ps])

class ClearsInBetween(Descent):
    def step(self, closure):
        loss = closure()
        self.zero_grad()
        loss.backward(inputs=self.ps)
        self.move([p.grad for p in self.ps])

class Scaled(Descent):
    def step(self, closure):
        loss = 2 * closure()
        loss.backward()
        self.move([p.grad / 2 for p in self.ps])

class WithPenalty(Descent):
    """Adds a penalty whose gradient is zero, to the loss and, in every second step, through autograd.grad."""
    steps = 0

    def step(self, closure):
        self.steps += 1
        total = closure() + sum((0 * p).sum() for p in self.ps)
        if self.steps % 2:
            total.backward()
            self.move([p.grad for p in self.ps])
        else:
            self.move(torch.autograd.grad(total, self.ps))

class Engine(Descent):
    def step(self, closure):
        loss = closure()
        engine = torch.autograd.Variable._execution_engine
        self.move(engine.run_backward((loss,), (torch.ones(()),), False, False, tuple(self.ps)))

class LineSearch(Descent):
    """Looks at the loss alone twice and goes back, then trains through a loss that no gradient was asked of."""
    def step(self, closure):
        value = closure(backward=False)
        with torch.no_grad():
            assert torch.equal(closure(backward=False), value) and not closure(backward=False).requires_grad
        value.backward()
        self.move([p.grad for p in self.ps])
        self.zero_grad()
'''

NAMES = ["GradOfLoss", "BackwardOfLoss", "BackwardAlone", "ClearsInBetween", "Scaled", "WithPenalty", "Engine"]


def trained(command: Command, names: list[str], **settings: Any) -> dict[str, dict[str, Any]]:
    methods = {name: {"optimizer": f"mine.py:{name}"} for name in names}
    done = command(CODE, methods, workload=settings)
    assert done.exit_code == 0, done.stderr
    return done.results


@pytest.mark.parametrize("settings", [{}, {"clip_norm": 0.05, "accumulate": 3}, {"autocast": "fp16"}])
def test_who_differentiates_the_loss_trains_as_who_reads_the_gradients(
    command: Command, settings: dict[str, Any]
) -> None:
    results = trained(command, ["Plain", *NAMES], **settings)
    for name, result in results.items():
        assert result["final"] == results["Plain"]["final"], name
        counts = [result["cost"][each] for each in ("steps", "forwards", "gradients", "hvps")]
        assert counts == [6, 6, 6, 0], name


def test_a_loss_alone_costs_a_forward_pass(command: Command) -> None:
    results = trained(command, ["Plain", "LineSearch"])
    assert results["LineSearch"]["final"] == results["Plain"]["final"]
    counts = [results["LineSearch"]["cost"][each] for each in ("steps", "forwards", "gradients", "hvps")]
    assert counts == [6, 18, 6, 0]


CURVATURE = '''
class Newtonian(torch.optim.Optimizer):
    """Differentiates the loss twice, from the loss on."""
    def __init__(self, params, lr: float = 0.1):
        super().__init__(params, {"lr": lr})

    def step(self, closure):
        ps = self.param_groups[0]["params"]
        gradients = torch.autograd.grad(closure(), ps, create_graph=True)
        products = torch.autograd.grad(gradients, ps, [torch.ones_like(p) for p in ps])
        with torch.no_grad():
            for p, g, h in zip(ps, gradients, products):
                p -= self.param_groups[0]["lr"] * g / (1 + h.abs())

class Penalty(torch.optim.SGD):
    """Steps down the loss plus a multiple of its squared gradient."""
    def __init__(self, params, lr: float = 0.1, weight: float = 0.0):
        super().__init__(params, lr=lr)
        self.weight = weight

    def step(self, closure):
        ps = self.param_groups[0]["params"]
        loss = closure()
        gradients = torch.autograd.grad(loss, ps, create_graph=True)
        self.zero_grad()
        (loss + self.weight * sum(g.square().sum() for g in gradients)).backward()
        return super().step()

class ByProduct(Penalty):
    """The same from a Hessian-vector product."""
    def step(self, closure):
        closure()
        _, [products] = closure.with_hvp([[p.grad.clone() for p in closure.parameters]])
        for p, product in zip(closure.parameters, products):
            p.grad.add_(product, alpha=2 * self.weight)
        return torch.optim.SGD.step(self)

class Spoiling(torch.optim.SGD):
    def step(self, closure):
        loss = closure()
        self.zero_grad(set_to_none=False)
        loss.backward()
        return super().step()
'''


def test_the_graph_of_gradients_is_advised_where_it_helps(command: Command) -> None:
    refused = command(CURVATURE, {"It": {"optimizer": "mine.py:Newtonian"}})
    assert refused.exit_code == 2
    assert refused.errors[0].endswith("differentiates gradients itself: set `create_graph: true`")
    done = command(CURVATURE, {"It": {"optimizer": "mine.py:Newtonian", "create_graph": True}})
    counts = [done.results["It"]["cost"][each] for each in ("steps", "forwards", "gradients", "hvps")]
    assert (done.results["It"]["outcome"], counts) == ("finished", [6, 6, 6, 6])


def test_a_penalty_on_the_gradient_has_an_effect_or_is_refused(command: Command) -> None:
    methods = {f"{weight}": {"optimizer": "mine.py:Penalty", "weight": weight} for weight in (0.0, 0.5)}
    refused = command(CURVATURE, methods)
    assert refused.exit_code == 2
    assert all(line.endswith("set `create_graph: true`") for line in refused.errors) and len(refused.errors) == 2
    both = {name: {**each, "create_graph": True} for name, each in methods.items()}
    results = command(CURVATURE, {**both, "product": {"optimizer": "mine.py:ByProduct", "weight": 0.5}}).results
    losses = {name: result["final"]["train/loss"] for name, result in results.items()}
    assert losses["0.5"] == pytest.approx(losses["product"], rel=1e-5)
    assert losses["0.5"] != pytest.approx(losses["0.0"], rel=1e-3)


def test_a_gradient_that_was_overwritten_is_no_gradient(command: Command) -> None:
    done = command(CURVATURE, {"It": {"optimizer": "mine.py:Spoiling", "lr": 0.1}})
    assert done.exit_code != 0
    assert "differentiated after `p.grad` was changed in place" in done.stderr


CHEAT = """
class Cheap(torch.optim.SGD):
    def step(self, closure):
        loss = closure()
        super().step()
        closure._ledger.gradients = 0
        return loss
"""


def test_nobody_makes_himself_cheaper(command: Command) -> None:
    done = command(CHEAT, {"It": {"optimizer": "mine.py:Cheap", "lr": 0.1}})
    assert (done.exit_code, done.results["It"]["outcome"]) == (1, "failed")
    assert "has no setter" in done.results["It"]["message"]
