"""Warm-up is told from training by what steps compute, on a clock that the test turns by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor

from benchbench.optim.ledger import Ledger
from benchbench.optim.objective import Objective
from benchbench.plugins.factories import Factories
from benchbench.training.clock import LONGEST_WAIT, Clock
from benchbench.training.state import RunState
from benchbench.values import Cost, Execution
from benchbench.workloads import DATA
from tests.training.test_trainer import CPU, spec, train

BATCH, SMALL = torch.zeros(8), torch.zeros(3)


class Loop(Clock):
    """Steps whose parts take as long as the test says: a gradient 1 s, a product 2 s, whatever is new 100 s more.

    Attributes:
        looks: How often the clock was read, which has to wait for the device.
    """

    def __init__(self, *, compiles: bool = False) -> None:
        self.taken = 0.0
        self.looks = 0
        self.ledger = Ledger()
        super().__init__(CPU, self.ledger, lambda: compiles)
        self._known: set[object] = set()
        self._compiles = compiles

    def elapsed(self) -> float:
        self.looks += 1
        return self.taken

    def _take(self, what: object, seconds: float) -> None:
        self.taken += seconds if what in self._known else seconds + 100
        self._known.add(what)

    def make(self, gradients: int = 1, hvps: int = 0, batch: Tensor = BATCH) -> None:
        weight = torch.ones((), requires_grad=True)

        def loss() -> Tensor:
            self._take(("gradient", batch.shape if self._compiles else ()), 1)
            return weight.square()

        def product(evaluate: Callable[[], object]) -> None:
            evaluate()
            self._take("product", 2)

        objective = Objective(loss, [weight], ledger=self.ledger)
        with self.step(batch):
            for _ in range(gradients - bool(hvps)):
                objective()
            for _ in range(hvps):
                product(lambda: objective.with_hvp([[torch.ones(())]]))

    def steps(self, hvps: Iterable[int]) -> None:
        for each in hvps:
            self.make(2, each)


def test_the_first_step_counts_as_much_as_the_second() -> None:
    loop = Loop()
    loop.make()
    assert (loop.warm_up_seconds, loop.warm_up_steps) == (101, 1)
    loop.make()
    assert (loop.warm_up_seconds, loop.warm_up_steps) == (100, 0)
    assert loop.taken - loop.warm_up_seconds == 2


def test_a_step_with_a_product_is_told_apart_when_the_next_one_comes() -> None:
    loop = Loop()
    loop.steps([1, 0, 0, 0, 1, 0])
    assert (loop.warm_up_seconds, loop.warm_up_steps) == (200, 0)
    assert loop.taken - loop.warm_up_seconds == 12 + 4


def test_a_first_product_that_comes_late_is_warm_up_from_there_on() -> None:
    loop = Loop()
    loop.steps([0, 0, 0, 1])
    assert (loop.warm_up_seconds, loop.warm_up_steps) == (100 + 103, 1)
    loop.steps([0, 0, 1])
    assert (loop.warm_up_seconds, loop.warm_up_steps) == (200, 0)
    assert loop.taken - loop.warm_up_seconds == 14 + 4


def test_every_shape_that_is_compiled_has_a_warm_up() -> None:
    loop = Loop(compiles=True)
    for batch in (BATCH, BATCH, SMALL, BATCH, BATCH, SMALL):
        loop.make(batch=batch)
    assert (loop.warm_up_seconds, loop.warm_up_steps) == (200, 0)


def test_a_shape_that_is_not_compiled_has_none() -> None:
    loop = Loop()
    for batch in (BATCH, SMALL, BATCH):
        loop.make(batch=batch)
    assert (loop.warm_up_seconds, loop.warm_up_steps) == (100, 0)  # by the other large batch, not by the small one


def test_steps_that_need_not_be_timed_are_not() -> None:
    loop = Loop()
    loop.steps([1, 0, 0, 1, 0])
    before = loop.looks
    loop.steps([1, 0, 0, 1] * 10)
    assert loop.looks == before


def test_a_step_that_never_comes_again_is_not_waited_for_long() -> None:
    loop = Loop()
    loop.make(3)
    for _ in range(LONGEST_WAIT):
        loop.make(2)
    before = loop.looks
    loop.make(2)
    assert loop.looks == before
    assert (loop.warm_up_seconds, loop.warm_up_steps) == (103, 1)


def test_what_is_differentiated_behind_the_objective_is_seen() -> None:
    looks: list[str] = []
    ledger = Ledger()
    ledger.before_second_order = lambda: looks.append("second order")
    x = torch.ones((), requires_grad=True)
    with ledger.metered():
        [gradient] = torch.autograd.grad(x**3, x, create_graph=True)
        assert looks == []
        torch.autograd.grad(gradient, x)
    assert looks == ["second order"]


def test_seconds_at_the_pace_of_the_other_steps() -> None:
    assert Cost(steps=10, train_seconds=9.0, warm_up_seconds=5.0, warm_up_steps=1).steady_seconds == 10
    assert Cost(steps=10, train_seconds=0.1, warm_up_seconds=5.0).steady_seconds == 0.1
    only = Cost(steps=1, warm_up_seconds=5.0, warm_up_steps=1)
    assert (only.steady_seconds, only.is_all_warm_up) == (5.0, True)


def test_costs_of_earlier_versions_are_read() -> None:
    old = Cost.model_validate_json('{"steps": 3, "forwards": 3, "gradients": 3, "hvps": 0, "train_seconds": 1.5}')
    assert (old.warm_up_seconds, old.steady_seconds) == (None, 1.5)


@pytest.mark.parametrize("optimizer", ["sgd", "sassha"])
def test_training_and_warm_up_are_the_time_of_the_loop(optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[RunState] = []
    create = RunState.__init__

    def note(state: RunState, *arguments: object) -> None:
        create(state, *arguments)  # type: ignore[arg-type]
        made.append(state)

    monkeypatch.setattr(RunState, "__init__", note)
    result, records = train(spec(optimizer))
    cost = result.cost
    assert cost.warm_up_seconds is not None
    assert cost.warm_up_steps == 0
    assert cost.train_seconds + cost.warm_up_seconds == pytest.approx(made[0].clock.seconds)
    times = [record.cost.train_seconds for record in records]
    assert times == sorted(times)


def test_a_compiled_loss_that_failed_is_not_compiled_for_other_shapes() -> None:
    chosen = spec(execution=Execution(compile=True))
    state = RunState(chosen, Factories.of(chosen), CPU, DATA, None, lambda record: None)
    assert state.training.compiled is not None
    assert state._prepares_by_shape()
    state.training.compiled.failure = "cannot be compiled"
    assert not state._prepares_by_shape()
