"""An optimizer at work on problems that take milliseconds, with everything about it watched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchbench.optim import stepping
from benchbench.optim.ledger import Ledger
from benchbench.optim.objective import Objective, Vectors
from benchbench.plugins.factories import Factory

SEED = 4_000_000_007
"""Runs seed optimizers with any 32 bits: one that takes fewer is to be noticed here."""

_BATCHES = 3

Bend = Callable[[Tensor, int], Tensor]
"""Changes the loss of a step, given the number of the step."""


def unbent(loss: Tensor, step: int) -> Tensor:
    """Return the loss as it is."""
    return loss


class Quadratic(nn.Module):
    """A convex quadratic in two equal matrices and, where wanted, a vector; curvatures lie between 0.5 and 2."""

    def __init__(self, *, vector: bool) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.linspace(-1, 1, 6).reshape(3, 2))
        self.second = nn.Parameter(torch.linspace(-1, 1, 6).reshape(3, 2))
        self.vector = nn.Parameter(torch.tensor([1.0, -0.5])) if vector else None

    def forward(self, curvature: Tensor) -> Tensor:
        """Return the value with these curvatures of the entries of a matrix; the minimum is at 2."""
        terms = [(curvature * (matrix - 2).square()).sum() for matrix in (self.first, self.second)]
        if self.vector is not None:
            terms.append((self.vector - 2).square().sum())
        return torch.stack(terms).sum() / 2


def quadratic_loss(model: nn.Module, step: int) -> Tensor:
    """Return the value of the quadratic, the same in all steps."""
    value: Tensor = model(torch.linspace(0.5, 2, 6).reshape(3, 2))
    return value


class Network(nn.Module):
    """A perceptron with a smooth activation and, where wanted, a frozen layer and a parameter without influence."""

    def __init__(self, *, bias: bool, idle_parts: bool = False) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            self.layers = nn.Sequential(nn.Linear(4, 6, bias=bias), nn.Tanh(), nn.Linear(6, 3, bias=bias))
            self.frozen = nn.Linear(4, 4, bias=False).requires_grad_(False) if idle_parts else nn.Identity()
        self.unused = nn.Parameter(torch.ones(2, 2)) if idle_parts else None

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (n, 4) to logits of three classes."""
        logits: Tensor = self.layers(self.frozen(inputs))
        return logits


def classification_loss(model: nn.Module, step: int) -> Tensor:
    """Return the mean cross-entropy on one of three mini-batches, which take turns."""
    generator = torch.Generator().manual_seed(step % _BATCHES)
    inputs = torch.randn(12, 4, generator=generator)
    return F.cross_entropy(model(inputs), (inputs @ torch.tensor([[1.0], [-1.0], [0.5], [0.0]]) > 0).long().flatten())


class WatchedObjective(Objective):
    """An objective that counts the products asked of it, apart from those computed behind its back."""

    products_asked = 0

    def with_hvp(self, vectors: Sequence[Vectors]) -> tuple[Tensor, list[list[Tensor]]]:
        """Count the products and compute them."""
        self.products_asked += len(vectors)
        return super().with_hvp(vectors)


@dataclass
class TrialTraining:
    """An optimizer at work on a model; steps go on where they stopped.

    Attributes:
        model: What it trains.
        loss: Loss of a step, by the model and the number of the step.
        optimizer: The optimizer.
        create_graph: Whether gradients keep their graph.
        seeded: Whether torch's global generator is seeded before each step, as the trainer does.
        ledger: What was metered.
        products_asked: Hessian-vector products asked of the objective.
        product_steps: Steps in which products were computed, in whatever way.
    """

    model: nn.Module
    loss: Callable[[nn.Module, int], Tensor]
    optimizer: torch.optim.Optimizer
    create_graph: bool
    seeded: bool = True
    ledger: Ledger = field(default_factory=Ledger)
    products_asked: int = 0
    product_steps: list[int] = field(default_factory=list)

    def run(self, steps: int, bend: Bend = unbent) -> None:
        """Make steps."""
        for _ in range(steps):
            self._step(bend)

    def _step(self, bend: Bend) -> None:
        number, products = self.ledger.steps, self.ledger.hvps
        objective = WatchedObjective(
            lambda: bend(self.loss(self.model, number), number),
            [p for group in self.optimizer.param_groups for p in group["params"]],
            ledger=self.ledger,
            create_graph=self.create_graph,
        )
        if self.seeded:
            torch.manual_seed(number)
        with self.ledger.metered():
            stepping.step(self.optimizer, objective)
        self.ledger.add(steps=1)
        self.products_asked += objective.products_asked
        if self.ledger.hvps > products:
            self.product_steps.append(number)

    def mean_loss(self) -> float:
        """Return the loss over all mini-batches, at the weights by which the optimizer wants to be judged."""
        with stepping.evaluating(self.optimizer), torch.no_grad():
            return sum(self.loss(self.model, step).item() for step in range(_BATCHES)) / _BATCHES

    def weights(self) -> list[Tensor]:
        """Return copies of all parameters."""
        return [p.detach().clone() for p in self.model.parameters()]


@dataclass(frozen=True)
class Candidate:
    """The optimizer that is checked.

    Attributes:
        factory: Its factory.
        declared: Whether it differentiates gradients itself; `None` leaves it to its own declaration.
        undeclared_need: It does so, and nothing has declared it: known once it has been tried.
        matrices_only: It refuses parameters that are no matrices, so it is checked on matrices alone.
    """

    factory: Factory
    declared: bool | None = None
    undeclared_need: bool = False
    matrices_only: bool = False

    @property
    def create_graph(self) -> bool:
        """True if gradients keep their graph."""
        return self.undeclared_need or self.factory.needs_graph(self.declared)

    def on_network(self, *, idle_parts: bool = False) -> TrialTraining:
        """Return a training of a small network on mini-batches."""
        return self.training(Network(bias=not self.matrices_only, idle_parts=idle_parts), classification_loss)

    def on_quadratic(self) -> TrialTraining:
        """Return a training on the quadratic."""
        return self.training(Quadratic(vector=not self.matrices_only), quadratic_loss)

    def training(self, model: nn.Module, loss: Callable[[nn.Module, int], Tensor], params: Any = None) -> TrialTraining:
        """Return a training of a model, with these parameter groups if given."""
        params = list(model.parameters()) if params is None else params
        optimizer = self.factory.build_optimizer(params, seed=SEED, model=model)
        stepping.training(optimizer)
        return TrialTraining(model, loss, optimizer, self.create_graph)
