"""The first checkpoint of a run is tried on copies: with state outside of `state_dict`, it is not relied on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchbench.runs.folder import RunFolder
from benchbench.training import resumption
from tests.training.test_attempt import assert_equal, perform, small, stop_after

HIDDEN = '''
import itertools
import numpy as np
import torch

class Counted(torch.optim.SGD):
    """Its rate falls with a count that no state_dict knows."""
    def __init__(self, params, lr: float = 0.1):
        super().__init__(params, lr=lr, momentum=0.9)
        self.count = 0
        self.every = 1

    def step(self, closure):
        loss = closure()
        self.count += 1
        if self.count % self.every == 0:
            self.change()
        super().step()
        return loss

    def change(self):
        for p in self.param_groups[0]["params"]:
            p.grad.mul_(self.count**-0.5)

class EveryTenth(Counted):
    def __init__(self, params, lr: float = 0.1):
        super().__init__(params, lr=lr)
        self.every = 10

class Drawing(Counted):
    def __init__(self, params, lr: float = 0.1, *, seed: int = 0):
        super().__init__(params, lr=lr)
        self.random = np.random.RandomState(seed)

    def change(self):
        self.param_groups[0]["params"][0].grad.add_(float(self.random.randn()))

class Averaging(Counted):
    def change(self):
        if not hasattr(self, "averages"):
            self.averages = [p.grad.clone() for p in self.param_groups[0]["params"]]
        for p, average in zip(self.param_groups[0]["params"], self.averages):
            p.grad.copy_(average.lerp_(p.grad, 0.1))

class Holding(Counted):
    """Holds another optimizer, and saves its own state alone."""
    def __init__(self, params, lr: float = 0.1):
        super().__init__(params, lr=lr)
        self.inner = torch.optim.Adam(params, lr=lr)

    def change(self):
        self.inner.step()

COUNTS = {"steps": 0}

class InAGlobal(Counted):
    def change(self):
        COUNTS["steps"] += 1
        self.param_groups[0]["params"][0].grad.mul_(COUNTS["steps"]**-0.5)

class InItsClass(Counted):
    steps = 0
    def change(self):
        type(self).steps += 1
        self.param_groups[0]["params"][0].grad.mul_(self.steps**-0.5)

class InAClosure(Counted):
    def __init__(self, params, lr: float = 0.1):
        super().__init__(params, lr=lr)
        steps = 0
        def counted():
            nonlocal steps
            steps += 1
            return steps
        self.counted = counted

    def change(self):
        self.param_groups[0]["params"][0].grad.mul_(self.counted()**-0.5)

class OnParameters(Counted):
    def step(self, closure):
        self.count = 0
        return super().step(closure)

    def change(self):
        for p in self.param_groups[0]["params"]:
            p.steps = getattr(p, "steps", 0) + 1
            p.grad.mul_(p.steps**-0.5)

class ByIdentity(OnParameters):
    def __init__(self, params, lr: float = 0.1):
        super().__init__(params, lr=lr)
        self.steps = {}

    def change(self):
        for p in self.param_groups[0]["params"]:
            self.steps[id(p)] = self.steps.get(id(p), 0) + 1
            p.grad.mul_(self.steps[id(p)]**-0.5)

class OldGradients(OnParameters):
    def step(self, closure):
        old = [p.grad for p in self.param_groups[0]["params"]]
        closure()
        for p, gradient in zip(self.param_groups[0]["params"], old):
            if gradient is not None:
                p.grad.add_(gradient, alpha=0.5)
        return torch.optim.SGD.step(self)

class Iterating(OnParameters):
    def __init__(self, params, lr: float = 0.1):
        super().__init__(params, lr=lr)
        self.rates = (step**-0.5 for step in itertools.count(1))

    def change(self):
        self.param_groups[0]["params"][0].grad.mul_(next(self.rates))

class Honest(Counted):
    def state_dict(self):
        return {**super().state_dict(), "count": self.count}

    def load_state_dict(self, state):
        state = dict(state)
        self.count = state.pop("count")
        super().load_state_dict(state)

class Picky(torch.optim.SGD):
    """Refuses losses as large as that of a trial."""
    def __init__(self, params, lr: float = 0.1):
        super().__init__(params, lr=lr)

    def step(self, closure):
        loss = closure()
        if loss.item() > 4:
            raise ValueError("this loss is too large for me")
        return super().step()
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "hidden.py"
    path.write_text(HIDDEN)
    return path


NAMES = ["Counted", "EveryTenth", "Drawing", "Averaging", "Holding"]
ELSEWHERE = ["InAGlobal", "InItsClass", "InAClosure", "OnParameters", "ByIdentity", "OldGradients", "Iterating"]


@pytest.mark.parametrize("name", [*NAMES, *ELSEWHERE])
def test_a_run_with_hidden_state_begins_anew_and_says_so(name: str, file: Path, tmp_path: Path) -> None:
    chosen = small(f"{file}:{name}", parameters={})
    perform(tmp_path / "undisturbed", chosen)
    stopped = perform(tmp_path / "stopped", chosen, stop_after(7))
    assert stopped.outcome == "interrupted"
    assert "begins anew when it is interrupted" in stopped.environment["checkpoints"]
    assert not RunFolder(tmp_path / "stopped").checkpoints.files()
    assert "resumed" not in perform(tmp_path / "stopped", chosen).environment
    assert_equal(tmp_path / "undisturbed", tmp_path / "stopped")


def test_a_run_whose_state_is_complete_goes_on(file: Path, tmp_path: Path) -> None:
    chosen = small(f"{file}:Honest", parameters={})
    perform(tmp_path / "undisturbed", chosen)
    assert "checkpoints" not in perform(tmp_path / "stopped", chosen, stop_after(7)).environment
    assert perform(tmp_path / "stopped", chosen).environment["resumed"] == "1"
    assert_equal(tmp_path / "undisturbed", tmp_path / "stopped")


def test_what_cannot_be_tried_is_said(file: Path, tmp_path: Path) -> None:
    chosen = small(f"{file}:Picky", parameters={})
    stopped = perform(tmp_path, chosen, stop_after(7))
    said = "whether this run can be resumed could not be tried, so it begins anew when it is interrupted"
    assert stopped.environment["checkpoints"] == f"{said}: ValueError: this loss is too large for me"
    assert not RunFolder(tmp_path).checkpoints.files()


def test_memory_that_the_trial_lacks_is_no_fault_of_the_optimizer(
    monkeypatch: pytest.MonkeyPatch, file: Path, tmp_path: Path
) -> None:
    def loaded(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(resumption, "_loaded", loaded)
    stopped = perform(tmp_path, small(f"{file}:Honest", parameters={}), stop_after(7))
    assert "could not be tried" in stopped.environment["checkpoints"]
    assert "CUDA out of memory" in stopped.environment["checkpoints"]
