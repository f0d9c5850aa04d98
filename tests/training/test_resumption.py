"""The first checkpoint of a run is tried on copies: with state outside of `state_dict`, it is not relied on."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchbench.runs.folder import RunFolder
from tests.training.test_attempt import assert_equal, perform, small, stop_after

HIDDEN = '''
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


@pytest.mark.parametrize("name", ["Counted", "EveryTenth", "Drawing", "Averaging", "Holding"])
def test_a_run_with_hidden_state_begins_anew_and_says_so(name: str, file: Path, tmp_path: Path) -> None:
    chosen = small(f"{file}:{name}", parameters={})
    perform(tmp_path / "undisturbed", chosen)
    stopped = perform(tmp_path / "stopped", chosen, stop_after(7))
    assert stopped.outcome == "interrupted"
    assert "cannot be resumed, and begins anew when it is interrupted" in stopped.environment["checkpoints"]
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
    said = "whether this run can be resumed could not be tried: ValueError: this loss is too large for me"
    assert stopped.environment["checkpoints"] == said
