"""The ledger: what optimizers cost, asked of the objective or of autograd behind its back."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import LBFGS, SGD, AdamW, Optimizer

from baselines.adahessian import AdaHessian
from baselines.sam import SAM
from baselines.shampoo import Shampoo
from baselines.sophia_h import SophiaH
from benchbench.optim.ledger import COUNTS, Ledger
from benchbench.optim.objective import Objective
from sassha import MSASSHA, SASSHA
from tests.helpers import model_cases


def costs(
    make: Callable[[Iterable[nn.Parameter]], Optimizer], *, steps: int = 20, create_graph: bool = False
) -> tuple[int, int, int]:
    """Return forwards, gradients and Hessian-vector products of some steps."""
    case = model_cases.build("mlp")
    optimizer = make(case.model.parameters())
    ledger = Ledger()
    for t in range(steps):
        objective = Objective(case.loss(t), case.parameters(), ledger=ledger, create_graph=create_graph)
        with ledger.metered():
            optimizer.step(objective)
    return ledger.forwards, ledger.gradients, ledger.hvps


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda p: SGD(p, 0.01, momentum=0.9), (20, 20, 0)),
        (lambda p: AdamW(p, 0.01), (20, 20, 0)),
        (lambda p: SAM(p, lr=0.01), (40, 40, 0)),
        (lambda p: SAM(p, AdamW, lr=0.01), (40, 40, 0)),
        (lambda p: AdaHessian(p, 0.01), (20, 20, 20)),
        (lambda p: AdaHessian(p, 0.01, lazy_hessian=5, n_samples=2), (20, 20, 8)),
        (lambda p: SophiaH(p, 0.01, lazy_hessian=10), (20, 20, 2)),
        (lambda p: Shampoo(p, 0.01), (20, 20, 0)),
        (lambda p: SASSHA(p, 0.01, lazy_hessian=10), (40, 40, 2)),
        (lambda p: SASSHA(p, 0.01, lazy_hessian=1), (40, 40, 20)),
        (lambda p: MSASSHA(p, 0.01, lazy_hessian=10), (20, 20, 2)),
        (lambda p: LBFGS(p, lr=0.1, max_iter=5, tolerance_change=0, tolerance_grad=0), (100, 100, 0)),
    ],
)
def test_counts_what_an_optimizer_asks_for(make: Any, expected: tuple[int, int, int]) -> None:
    assert costs(make) == expected


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("AdaHessian", {}, (20, 20, 20)),
        ("AdaHessian", {"update_period": 5}, (20, 20, 4)),
        ("AdaHessian", {"num_samples": 2}, (20, 20, 40)),
        ("SophiaH", {}, (20, 20, 2)),
        ("SophiaH", {"update_period": 4}, (20, 20, 5)),
        ("Lion", {}, (20, 20, 0)),
    ],
)
def test_counts_what_optimizers_of_others_ask_for(
    name: str, settings: dict[str, Any], expected: tuple[int, int, int]
) -> None:
    others = pytest.importorskip("pytorch_optimizer", reason="the optimizers of others are not installed")
    make = getattr(others, name)
    assert costs(lambda p: make(p, **settings), create_graph="Hessian" in name or "Sophia" in name) == expected


@pytest.mark.parametrize("make", [SGD, AdaHessian, SophiaH, SASSHA, LBFGS])
def test_being_metered_changes_no_number(make: Any) -> None:
    def weights(metered: bool) -> list[Tensor]:
        case, ledger = model_cases.build("conv_bn"), Ledger()
        optimizer = make(case.model.parameters(), lr=0.05)
        for t in range(5):
            with ledger.metered() if metered else nullcontext():
                optimizer.step(Objective(case.loss(t), case.parameters(), ledger=ledger))
        return [*case.model.parameters(), *case.model.buffers()]

    assert all(torch.equal(a, b) for a, b in zip(weights(True), weights(False), strict=True))


class BehindTheBack(Optimizer):
    """Asks autograd itself, in one of the ways that third-party optimizers have."""

    def __init__(self, params: Iterable[nn.Parameter], way: str) -> None:
        super().__init__(params, {"lr": 0.01})
        self.way = way

    def step(self, closure: Any) -> Tensor:
        loss = closure()
        parameters = self.param_groups[0]["params"]
        gradients = [p.grad for p in parameters]
        ones = [torch.ones_like(g) for g in gradients]
        if self.way == "product":
            torch.autograd.grad(gradients, parameters, ones)
        elif self.way == "scalar":
            torch.autograd.grad(sum((g * v).sum() for g, v in zip(gradients, ones, strict=True)), parameters)
        elif self.way == "backward":
            for p in parameters:
                p.grad = None
            sum((g * v).sum() for g, v in zip(gradients, ones, strict=True)).backward()
        elif self.way == "norm":
            torch.stack([g.norm() for g in gradients]).norm().backward(retain_graph=True)
        elif self.way == "batched":
            bias = parameters[-1]
            torch.autograd.grad(bias.grad, bias, torch.eye(3, dtype=bias.dtype), is_grads_batched=True)
        for p in parameters:
            p.grad = None
        return loss


@pytest.mark.parametrize(
    ("way", "per_step"), [("product", 1), ("scalar", 1), ("backward", 1), ("norm", 1), ("batched", 3)]
)
def test_counts_what_happens_behind_the_objectives_back(way: str, per_step: int) -> None:
    found = costs(lambda p: BehindTheBack(p, way), steps=4, create_graph=True)
    assert found == (4, 4, 4 * per_step)


def cube(x: Tensor) -> Tensor:
    return (x**3).sum()


def gradient(x: Tensor) -> Tensor:
    return torch.autograd.grad(cube(x), x, create_graph=True)[0]


def hessian_of_cube(x: Tensor) -> Callable[[Tensor], Any]:
    return torch.func.vjp(torch.func.grad(cube), x.detach())[1]


def mapped_inside(x: Tensor) -> None:
    gradient_there = gradient(x)
    torch.func.vmap(lambda v: torch.autograd.grad(gradient_there, x, v, retain_graph=True)[0])(torch.eye(4))


def by_backward(x: Tensor) -> None:
    cube(x).backward(create_graph=True)
    (x.grad * 2).sum().backward()


@pytest.mark.filterwarnings("ignore:Using backward")
@pytest.mark.parametrize(
    ("work", "gradients", "hvps"),
    [
        (lambda x: cube(x).backward(), 1, 0),
        (lambda x: (cube(x).backward(), cube(x).backward()), 2, 0),
        (lambda x: torch.autograd.grad(x**3, x, torch.ones_like(x)), 1, 0),
        (lambda x: torch.autograd.grad(gradient(x), x, torch.ones_like(x)), 1, 1),
        (lambda x: torch.autograd.grad((gradient(x) * 2).sum(), x), 1, 1),
        (lambda x: torch.autograd.grad(gradient(x)[0], x), 1, 1),
        (lambda x: (cube(x) + gradient(x).norm()).backward(), 1, 1),
        (lambda x: (gradient(x), cube(x).backward()), 2, 0),
        (lambda x: (gradient(x), torch.func.grad(cube)(x.detach())), 2, 0),
        (lambda x: (gradient(x).detach() * x).sum().backward(), 2, 0),
        (by_backward, 1, 1),
        (lambda x: torch.autograd.functional.vhp(cube, x.detach(), torch.ones(4)), 1, 1),
        (lambda x: torch.autograd.functional.hessian(cube, x.detach()), 1, 4),
        (lambda x: torch.func.grad(cube)(x.detach()), 1, 0),
        (lambda x: hessian_of_cube(x)(torch.ones(4)), 1, 1),
        (lambda x: torch.func.vmap(hessian_of_cube(x))(torch.eye(4)), 1, 4),
        (lambda x: torch.func.vmap(hessian_of_cube(x), chunk_size=3)(torch.eye(4)), 1, 4),
        (lambda x: torch.func.vmap(torch.func.vmap(hessian_of_cube(x)))(torch.ones(2, 3, 4)), 1, 6),
        (lambda x: torch.func.vmap(lambda v: hessian_of_cube(x)(2 * v))(torch.eye(4)), 1, 4),
        (mapped_inside, 1, 4),
        (lambda x: torch.autograd.grad(gradient(x), x, torch.eye(4), is_grads_batched=True), 1, 4),
        (lambda x: torch.autograd.functional.hessian(cube, x.detach(), vectorize=True), 1, 4),
        (lambda x: torch.func.jacrev(torch.func.jacrev(cube))(x.detach()), 1, 4),
        # Mapped over examples, a gradient is still one gradient, and a product one product.
        (lambda x: torch.func.vmap(torch.func.grad(cube))(torch.ones(5, 4)), 1, 0),
        (lambda x: torch.func.vmap(lambda y: hessian_of_cube(y)(torch.ones(4)))(torch.ones(5, 4)), 1, 1),
    ],
)
def test_tells_gradients_from_products(work: Any, gradients: int, hvps: int) -> None:
    ledger = Ledger()
    with ledger.metered():
        work(torch.arange(1.0, 5.0, requires_grad=True))
    assert (ledger.gradients, ledger.hvps) == (gradients, hvps)


def test_what_the_objective_does_is_its_own_after_an_objective_within_it() -> None:
    ledger = Ledger()
    x = torch.ones(3, requires_grad=True)
    with ledger.metered():
        with ledger.objective_at_work():
            with ledger.objective_at_work():
                cube(x).backward()
            cube(x).backward()
        cube(x).backward()
    assert ledger.gradients == 1


def test_a_mark_keeps_no_graph_alive() -> None:
    ledger = Ledger()
    with ledger.metered():
        x = torch.ones(3, requires_grad=True)
        intermediate = x**3
        alive = weakref.ref(intermediate)
        torch.autograd.grad(intermediate.sum(), x, create_graph=True)
        del intermediate
        gc.collect()
        assert alive() is None


def test_the_engine_comes_back_after_an_error() -> None:
    engine = torch.autograd.Variable._execution_engine
    with pytest.raises(KeyboardInterrupt), Ledger().metered():
        assert torch.autograd.Variable._execution_engine is not engine
        raise KeyboardInterrupt
    assert torch.autograd.Variable._execution_engine is engine


@pytest.mark.parametrize("keywords", [False, True])
def test_the_engine_called_directly_is_counted(keywords: bool) -> None:
    ledger = Ledger()
    x = torch.ones(3, requires_grad=True)
    names = ("tensors", "grad_tensors", "keep_graph", "create_graph", "inputs")
    with ledger.metered():
        run = torch.autograd.Variable._execution_engine.run_backward
        first = ((cube(x),), (torch.ones(()),), True, True, (x,))
        [gradient] = run(**dict(zip(names, first, strict=True))) if keywords else run(*first)
        second = ((gradient,), (torch.ones(3),), False, False, (x,))
        [product] = run(**dict(zip(names, second, strict=True))) if keywords else run(*second)
        torch.autograd.Variable._execution_engine.queue_callback  # noqa: B018 - whatever else it has is there
    assert torch.equal(product, 6 * torch.ones(3))
    assert (ledger.gradients, ledger.hvps) == (1, 1)


def test_an_edge_of_the_graph_can_be_differentiated() -> None:
    ledger = Ledger()
    x = torch.ones(3, requires_grad=True)
    value = cube(x)
    with ledger.metered():
        torch.autograd.backward(torch.autograd.graph.get_gradient_edge(value))
    assert ledger.gradients == 1


def test_torch_still_differentiates_through_the_object_that_is_wrapped() -> None:
    """The name is private: when a release of torch renames or bypasses it, this says so."""
    ledger = Ledger()
    x = torch.ones(3, requires_grad=True)
    for number, differentiate in enumerate(
        [
            lambda: cube(x).backward(),
            lambda: torch.autograd.backward([cube(x)]),
            lambda: torch.autograd.grad(cube(x), x),
            lambda: torch.func.grad(cube)(x.detach()),
        ],
        start=1,
    ):
        with ledger.metered():
            differentiate()
        assert ledger.gradients == number


@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_not_for_those_to_set_who_are_counted(name: str) -> None:
    ledger = Ledger()
    ledger.add(**{name: 2})
    with pytest.raises(AttributeError):
        setattr(ledger, name, 0)
    ledger.counts[name] = 0
    with pytest.raises(ValueError, match="only grow"):
        ledger.add(**{name: -1})
    with pytest.raises(ValueError, match="before the first step"):
        ledger.restore({name: 0})
    assert getattr(ledger, name) == 2


def test_counts_are_a_copy() -> None:
    ledger = Ledger()
    ledger.add(steps=2, gradients=3)
    counts = ledger.counts
    ledger.add(gradients=1)
    assert counts == {"steps": 2, "forwards": 0, "gradients": 3, "hvps": 0}
