"""An exception after the numbers have ceased to be finite is a divergence, a result like any other."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchbench.runs.folder import RunFolder
from benchbench.training.trainer import run_in_folder
from benchbench.values import Metrics, RunResult, RunSpec
from benchbench.workloads.classification import TensorClassification
from tests.training import small_tasks
from tests.training.small_tasks import CPU, here


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))


class Suspicious(TensorClassification):
    """Its metrics refuse NaN, as those of scikit-learn do."""

    def evaluate(self, split: str) -> Metrics:
        logits = self.model(torch.cat(list(self._held_out[split].source.evaluation())))
        if logits.isnan().any():
            raise ValueError("Input contains NaN.")
        return super().evaluate(split)


class Broken(TensorClassification):
    """Breaks for reasons of its own."""

    def evaluate(self, split: str) -> Metrics:
        raise ValueError("a bug")


plain = small_tasks.workload(model)
suspicious = small_tasks.workload(model, Suspicious)
broken = small_tasks.workload(model, Broken)


class Careful(torch.optim.SGD):
    """Makes its steps too long from the fifth on, and ends in its own way once a gradient is not finite."""

    def __init__(self, params: Any, lr: float = 0.1, *, how: str = "assert") -> None:
        super().__init__(params, lr=lr)
        self.how, self.made = how, 0

    def step(self, closure: Any) -> Tensor:
        loss: Tensor = closure()
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        if not all(gradient.isfinite().all() for gradient in gradients):
            if self.how == "exit":
                sys.exit("the loss is NaN")
            if self.how == "memory":
                raise torch.OutOfMemoryError("out of memory")
            raise AssertionError("gradients must be finite")
        self.made += 1
        if self.made == 5:
            self.param_groups[0]["lr"] = 1e38 if self.how != "bug" else 0.1
            if self.how == "bug":
                raise AssertionError("a bug of its own")
        super().step()
        return loss


def perform(folder: Path, chosen: RunSpec) -> tuple[RunResult, RunFolder]:
    kept = RunFolder(folder)
    kept.prepare(chosen)
    return run_in_folder(chosen, CPU, kept), kept


@pytest.mark.parametrize(
    ("how", "outcome", "message"),
    [
        ("assert", "diverged", "AssertionError: gradients must be finite"),
        ("exit", "diverged", "SystemExit: the loss is NaN"),
        ("memory", "failed", "out of memory"),
        ("bug", "failed", "a bug of its own"),
    ],
)
def test_what_an_exception_means(how: str, outcome: str, message: str, tmp_path: Path) -> None:
    result, folder = perform(tmp_path, small_tasks.spec(here(__file__, "plain"), here(__file__, "Careful"), 4, how=how))
    assert result.outcome == outcome
    assert message in result.message
    if outcome == "diverged":
        records = folder.records()
        assert [record.epoch for record in records] == [1, 2]
        assert result.has_all_of(records)
        assert "in epoch 2" in result.message
        assert math.isfinite(records[0].metrics["train/loss"])
        assert math.isnan(result.final["train/loss"])
        assert math.isnan(result.final["validation/accuracy"])
        assert result.best_epoch == 1
        assert result.best["validation/accuracy"] == records[0].metrics["validation/accuracy"]
        assert result.cost.steps == 5
        assert result.cost.gradients == 6
        assert result.cost.train_seconds > records[0].cost.train_seconds


def test_a_divergence_of_several_ranks_is_a_result_too(tmp_path: Path) -> None:
    chosen = small_tasks.spec(here(__file__, "plain"), here(__file__, "Careful"), 4, execution={"ranks": 2})
    result, folder = perform(tmp_path, chosen)
    assert (result.outcome, result.epochs, result.environment["ranks"]) == ("diverged", 2, "2")
    assert "AssertionError: gradients must be finite" in result.message
    assert result.has_all_of(folder.records())


@pytest.mark.parametrize("optimizer", ["shampoo", "shampoo_grafted"])
def test_a_decomposition_of_nan_is_a_divergence_of_shampoo(optimizer: str, tmp_path: Path) -> None:
    result, _ = perform(tmp_path, small_tasks.spec(here(__file__, "plain"), optimizer, 2, lr=1e30))
    assert result.outcome == "diverged"
    assert "not finite in epoch 1" in result.message


def test_metrics_that_refuse_nan_are_a_divergence(tmp_path: Path) -> None:
    result, _ = perform(tmp_path, small_tasks.spec(here(__file__, "suspicious"), epochs=2, lr=1e38))
    assert result.outcome == "diverged"
    assert "ValueError: Input contains NaN." in result.message
    assert (result.epochs, result.cost.steps) == (1, 3)


def test_an_error_while_all_is_finite_is_a_failure(tmp_path: Path) -> None:
    result, _ = perform(tmp_path, small_tasks.spec(here(__file__, "broken")))
    assert result.outcome == "failed"
    assert "a bug" in result.message
