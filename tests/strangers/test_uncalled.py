"""Methods that a training loop of its own would call: said before the run, by name."""

from __future__ import annotations

import pytest

from tests.strangers.conftest import Command

CODE = """
class Base(torch.optim.SGD):
    def __init__(self, params, lr: float = 0.1):
        super().__init__(params, lr=lr)
        self.prepare()
        self.count = 0

    def prepare(self):
        raise NotImplementedError

    @property
    def rate(self):
        return 1

    @staticmethod
    def about():
        return "nothing"

    def step(self, closure):
        self.count += 1
        if self.count % 10 == 0:
            self.every_tenth()
        return super().step(closure)

    @torch.no_grad()
    def every_tenth(self):
        pass

    def train(self):
        pass

    def eval(self):
        pass

class NeedsItsLoop(Base):
    def prepare(self):
        pass

    @torch.no_grad()
    def update_hessian(self):
        self.count -= 1

    def set_batch(self, inputs, targets):
        pass

class OwnWrapper(torch.optim.Optimizer):
    def __init__(self, params, lr: float = 0.1):
        super().__init__(params, {"lr": lr})
        self.inner = NeedsItsLoop(params, lr)

    def step(self, closure):
        return self.inner.step(closure)

def made(params):
    return NeedsItsLoop(params)
"""


@pytest.mark.parametrize("name", ["NeedsItsLoop", "OwnWrapper", "made"])
@pytest.mark.parametrize("arguments", [(), ("plan", "suite.yaml")])
def test_methods_that_nothing_calls_are_named(command: Command, name: str, arguments: tuple[str, ...]) -> None:
    done = command(CODE, {"It": {"optimizer": f"mine.py:{name}"}}, *arguments)
    assert done.exit_code == 0
    [line] = [line for line in done.stderr.splitlines() if "nothing calls" in line]
    assert "nothing calls update_hessian, set_batch of " in line
    assert "methods.It.optimizer" in line


@pytest.mark.parametrize("name", ["mine.py:Base", "adamw", "sassha", "sam", "schedulefree:AdamWScheduleFree"])
def test_of_all_others_nothing_is_said(command: Command, name: str) -> None:
    assert "nothing calls" not in command(CODE, {"It": {"optimizer": name}}, "plan", "suite.yaml").stderr


MATRICES = """
class Matrices(torch.optim.SGD):
    def __init__(self, params, lr: float = 0.1):
        super().__init__(params, lr=lr)
        if any(p.dim() != 2 for group in self.param_groups for p in group["params"]):
            raise ValueError("2D only")
"""


def test_an_optimizer_for_matrices_is_told_of_by_role(command: Command) -> None:
    done = command(MATRICES, {"It": {"optimizer": "mine.py:Matrices"}})
    assert done.exit_code == 2
    assert "2D only; `by_role` gives it hidden matrices" in done.errors[0]
    fine = command(MATRICES, {"It": {"optimizer": "by_role", "matrices": {"name": "mine.py:Matrices", "lr": 0.1}}})
    assert fine.results["It"]["outcome"] == "finished"
