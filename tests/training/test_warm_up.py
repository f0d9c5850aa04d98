"""Warm-up is told from training by what steps compute, on a clock that the test turns by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor

from benchbench.optim.ledger import Ledger
from benchbench.optim.objective import Objective
from benchbench.plugins.factories import Factories
from benchbench.training.attempt import Progress
from benchbench.training.warm_up import LONGEST_WAIT, WarmUp
from benchbench.values import Cost, Execution
from benchbench.workloads import DATA
from tests.training.test_trainer import CPU, spec, train

BATCH, SMALL = torch.zeros(8), torch.zeros(3)


class Loop:
    """Steps whose parts take as long as the test says: a gradient 1 s, a product 2 s, whatever is new 100 s more.

    Attributes:
        looks: How often the clock was read, which has to wait for the device.
    """

    def __init__(self, *, compiles: bool = False) -> None:
        self.clock = 0.0
        self.looks = 0
        self.ledger = Ledger()
        self.warm_up = WarmUp(self._elapsed, self.ledger, lambda: compiles)
        self._known: set[object] = set()
        self._compiles = compiles

    def _elapsed(self) -> float:
        self.looks += 1
        return self.clock

    def _take(self, what: object, seconds: float) -> None:
        self.clock += seconds if what in self._known else seconds + 100
        self._known.add(what)

    def step(self, gradients: int = 1, hvps: int = 0, batch: Tensor = BATCH) -> None:
        weight = torch.ones((), requires_grad=True)

        def loss() -> Tensor:
            self._take(("gradient", batch.shape if self._compiles else ()), 1)
            return weight.square()

        def product(evaluate: Callable[[], object]) -> None:
            evaluate()
            self._take("product", 2)

        objective = Objective(loss, [weight], ledger=self.ledger)
        with self.warm_up.step(batch):
            for _ in range(gradients - bool(hvps)):
                objective()
            for _ in range(hvps):
                product(lambda: objective.with_hvp([[torch.ones(())]]))

    def steps(self, hvps: Iterable[int]) -> None:
        for each in hvps:
            self.step(2, each)


def test_the_first_step_counts_as_much_as_the_second() -> None:
    loop = Loop()
    loop.step()
    assert (loop.warm_up.seconds, loop.warm_up.steps) == (101, 1)
    loop.step()
    assert (loop.warm_up.seconds, loop.warm_up.steps) == (100, 0)
    assert loop.clock - loop.warm_up.seconds == 2


def test_a_step_with_a_product_is_told_apart_when_the_next_one_comes() -> None:
    loop = Loop()
    loop.steps([1, 0, 0, 0, 1, 0])
    assert (loop.warm_up.seconds, loop.warm_up.steps) == (200, 0)
    assert loop.clock - loop.warm_up.seconds == 12 + 4


def test_a_first_product_that_comes_late_is_warm_up_from_there_on() -> None:
    loop = Loop()
    loop.steps([0, 0, 0, 1])
    assert (loop.warm_up.seconds, loop.warm_up.steps) == (100 + 103, 1)
    loop.steps([0, 0, 1])
    assert (loop.warm_up.seconds, loop.warm_up.steps) == (200, 0)
    assert loop.clock - loop.warm_up.seconds == 14 + 4


def test_every_shape_that_is_compiled_has_a_warm_up() -> None:
    loop = Loop(compiles=True)
    for batch in (BATCH, BATCH, SMALL, BATCH, BATCH, SMALL):
        loop.step(batch=batch)
    assert (loop.warm_up.seconds, loop.warm_up.steps) == (200, 0)


def test_a_shape_that_is_not_compiled_has_none() -> None:
    loop = Loop()
    for batch in (BATCH, SMALL, BATCH):
        loop.step(batch=batch)
    assert (loop.warm_up.seconds, loop.warm_up.steps) == (100, 0)  # by the other large batch, not by the small one


def test_steps_that_need_not_be_timed_are_not() -> None:
    loop = Loop()
    loop.steps([1, 0, 0, 1, 0])
    before = loop.looks
    loop.steps([1, 0, 0, 1] * 10)
    assert loop.looks == before


def test_a_step_that_never_comes_again_is_not_waited_for_long() -> None:
    loop = Loop()
    loop.step(3)
    for _ in range(LONGEST_WAIT):
        loop.step(2)
    before = loop.looks
    loop.step(2)
    assert loop.looks == before
    assert (loop.warm_up.seconds, loop.warm_up.steps) == (103, 1)


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
    made: list[Progress] = []
    create = Progress.__init__

    def note(progress: Progress, *arguments: object) -> None:
        create(progress, *arguments)  # type: ignore[arg-type]
        made.append(progress)

    monkeypatch.setattr(Progress, "__init__", note)
    result, records = train(spec(optimizer))
    cost = result.cost
    assert cost.warm_up_seconds is not None
    assert cost.warm_up_steps == 0
    assert cost.train_seconds + cost.warm_up_seconds == pytest.approx(made[0].usage.seconds)
    times = [record.cost.train_seconds for record in records]
    assert times == sorted(times)


def test_a_compiled_loss_that_failed_is_not_compiled_for_other_shapes() -> None:
    chosen = spec(execution=Execution(compile=True))
    progress = Progress(chosen, Factories.of(chosen), CPU, DATA, None, lambda record: None)
    assert progress.training.compiled is not None
    assert progress._prepares_by_shape()
    progress.training.compiled.failure = "cannot be compiled"
    assert not progress._prepares_by_shape()
