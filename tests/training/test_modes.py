"""Training begins in the modes that a model's author chose, and evaluation leaves no trace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from benchbench.runs.folder import RunFolder
from benchbench.training.trainer import run_in_folder
from benchbench.values import Metrics
from benchbench.workloads import evaluation_mode
from benchbench.workloads.classification import TensorClassification
from tests.training import small_tasks
from tests.training.small_tasks import CPU, here


class Modes(nn.Module):
    """Prints whether it trains, wherever gradients are computed."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            print("training" if self.training else "evaluating")
        return x


def with_a_frozen_part() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 6), nn.Sequential(Modes(), nn.BatchNorm1d(6)).eval(), nn.Linear(6, 2))


def with_a_head_to_train() -> nn.Module:
    """All in evaluation mode but for the last part."""
    model = with_a_frozen_part().eval()
    model[2].train()
    return model


class Stubborn(nn.Sequential):
    """Freezes its batch norm whenever it is set to training mode, as finetuning code does."""

    def train(self, mode: bool = True) -> Stubborn:
        super().train(mode)
        self[1].eval()
        return self


class Careless(TensorClassification):
    """Leaves everything in training mode after an evaluation, and evaluates in the mode that it finds."""

    def evaluate(self, split: str) -> Metrics:
        data = self._held_out[split]
        inputs = torch.cat(list(data.source.evaluation()))
        with torch.no_grad():
            logits = self.model(inputs)
        assert torch.equal(logits, self.model(inputs).detach())  # no dropout
        accuracy = (logits.argmax(1) == data.labels).double().mean().item()
        self.model.train()
        self.model(torch.full_like(inputs, 1e3))  # moves statistics
        return {"loss": 1.0, "accuracy": accuracy}


handed_out = small_tasks.workload(
    lambda: nn.Sequential(Modes(), nn.Linear(8, 6), nn.Dropout(0.5), nn.Linear(6, 2)).eval()
)
frozen = small_tasks.workload(with_a_frozen_part)
head = small_tasks.workload(with_a_head_to_train)
stubborn = small_tasks.workload(
    lambda: Stubborn(nn.Linear(8, 6), nn.Sequential(Modes(), nn.BatchNorm1d(6)), nn.Linear(6, 2)).eval()
)
careless = small_tasks.workload(
    lambda: nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 2)), Careless
)


@pytest.mark.parametrize(
    ("name", "mode"),
    [("handed_out", "training"), ("frozen", "evaluating"), ("head", "evaluating"), ("stubborn", "evaluating")],
)
def test_every_epoch_trains_in_the_same_modes(name: str, mode: str, capsys: pytest.CaptureFixture[str]) -> None:
    small_tasks.trained(small_tasks.spec(here(__file__, name), epochs=3))
    assert capsys.readouterr().out.split() == [mode] * 9


def test_an_evaluation_leaves_neither_modes_nor_statistics_behind(tmp_path: Path) -> None:
    folders = []
    for epochs, name in ((1, "one"), (2, "two")):
        folder = RunFolder(tmp_path / name)
        chosen = small_tasks.spec(here(__file__, "careless"), epochs=epochs, lr=0.0)
        folder.prepare(chosen)
        assert run_in_folder(chosen, CPU, folder).outcome == "finished"
        folders.append(torch.load(folder.weights_file))
    assert folders[0]["1.num_batches_tracked"] == 3
    assert folders[1]["1.num_batches_tracked"] == 6
    assert folders[1]["1.running_mean"].abs().max() < 10


@pytest.mark.parametrize("make", [with_a_frozen_part, with_a_head_to_train])
def test_evaluation_mode_puts_modes_back_after_an_error(make: Callable[[], nn.Module]) -> None:
    model = make()
    before = [module.training for module in model.modules()]
    with pytest.raises(KeyboardInterrupt), evaluation_mode(model):
        assert not any(module.training for module in model.modules())
        raise KeyboardInterrupt
    assert [module.training for module in model.modules()] == before


class Thawing(nn.Module):
    """Wakes its dropout after three training steps, and counts them where no state_dict looks."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout, self.last = nn.Dropout(0.5).eval(), nn.Linear(8, 2)
        self.register_buffer("steps", torch.zeros(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.steps += 1
            if self.steps == 3:
                self.dropout.train()
        return self.last(self.dropout(x) + self.steps)


thawing = small_tasks.workload(Thawing)


def test_a_run_goes_on_with_its_modes_and_with_buffers_that_are_not_persistent(tmp_path: Path) -> None:
    chosen = small_tasks.spec(here(__file__, "thawing"), epochs=3)
    whole = small_tasks.trained(chosen)
    folder = RunFolder(tmp_path / "run")
    folder.prepare(chosen)
    steps = iter([False] * 5 + [True])
    stopped = run_in_folder(chosen, CPU, folder, stop=lambda: next(steps, False))
    assert stopped.outcome == "interrupted"
    result = run_in_folder(chosen, CPU, folder)
    assert result.environment["resumed"] == "1"
    assert result.final == whole.final
    assert result.best == whole.best
