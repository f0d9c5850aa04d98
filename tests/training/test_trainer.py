from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch

from benchbench.runs.folder import RunFolder
from benchbench.training.trainer import run_in_folder
from benchbench.values import EpochRecord, MultiStep, RunResult, RunSpec
from tests.accelerator import current_device, every_device
from tests.conftest import STUBS
from tests.helpers.specs import run_spec

pytestmark = every_device

CPU = torch.device("cpu")

CLOCKS = {"train_seconds", "warm_up_seconds", "warm_up_steps"}
"""What of a cost the machine decides, or how often the run was begun."""


def spec(optimizer: str = "sgd", workload: str = "digits-mlp", epochs: int = 3, **changes: Any) -> RunSpec:
    return run_spec(optimizer, workload, epochs=epochs, batch_size=128, **changes)


def train(chosen: RunSpec) -> tuple[RunResult, list[EpochRecord]]:
    with tempfile.TemporaryDirectory() as path:
        folder = RunFolder(Path(path))
        return run_in_folder(chosen, current_device(), folder), folder.records()


def numbers(result: RunResult) -> dict[str, Any]:
    """What must be equal between two runs of a spec: all but the clock and the machine."""
    return result.model_dump(exclude={"cost": CLOCKS, "environment": True})


def test_a_run_learns_and_counts_its_cost() -> None:
    result, records = train(spec(epochs=5, parameters={"lr": 0.1, "momentum": 0.9}))
    assert result.outcome == "finished"
    assert result.final["test/accuracy"] > 0.8  # chance is 0.1
    assert {**result.final, **records[-1].metrics} == result.final
    assert (result.cost.steps, result.cost.gradients, result.cost.hvps) == (50, 50, 0)
    assert [record.cost.steps for record in records] == [10, 20, 30, 40, 50]
    assert result.cost.train_seconds > 0


def test_the_same_spec_gives_the_same_bits() -> None:
    assert numbers(train(spec())[0]) == numbers(train(spec())[0])


def test_a_run_leaves_the_process_random_state_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    train(spec(epochs=1))
    assert torch.equal(torch.rand(3), expected)


def test_an_optimizer_that_draws_numbers_moves_no_other_stream() -> None:
    quiet, _ = train(spec())
    noisy, _ = train(spec(optimizer=f"{STUBS}:Noisy"))
    assert quiet.final == noisy.final


def test_seeds_change_the_run() -> None:
    assert train(spec())[0].final != train(spec(seed=1))[0].final


def test_methods_share_initial_weights_and_batches() -> None:
    """With a learning rate of zero nothing moves, so every optimizer must see the same losses."""
    still = {"parameters": {"lr": 0.0}}
    assert train(spec("sgd", **still))[0].final == train(spec("adamw", **still))[0].final


def test_an_optimizer_is_judged_at_the_weights_it_recommends() -> None:
    plain, records = train(spec())
    averaging, others = train(spec(optimizer=f"{STUBS}:Averaging"))
    losses = [[each.metrics["train/loss"] for each in run] for run in (records, others)]
    assert losses[0] == losses[1]
    assert averaging.final["test/loss"] == pytest.approx(2.302585)  # that of a network of zeros: log 10
    assert averaging.final != plain.final


def test_divergence_is_an_outcome() -> None:
    result, records = train(spec(optimizer=f"{STUBS}:Exploding", workload=f"{STUBS}:line", epochs=9))
    assert result.outcome == "diverged"
    assert result.epochs == len(records) == 2
    assert "epoch 2" in result.message


def test_the_best_epoch_is_chosen_on_the_validation_split() -> None:
    result, records = train(spec(epochs=6, parameters={"lr": 1.5}))
    scores = [record.metrics["validation/accuracy"] for record in records]
    assert result.selection_metric == "validation/accuracy"
    assert result.best_epoch == 1 + scores.index(max(scores))
    assert result.best_epoch < 6  # so that the test below is one
    assert {**result.best, **records[result.best_epoch - 1].metrics} == result.best


def test_the_test_split_is_read_once_at_the_end() -> None:
    result, records = train(spec(epochs=6, parameters={"lr": 1.5}))
    assert not [name for record in records for name in record.metrics if name.startswith("test/")]
    until_best, _ = train(spec(epochs=result.best_epoch, parameters={"lr": 1.5}))
    for name in ("test/loss", "test/accuracy"):
        assert result.best[name] == until_best.final[name]
    assert result.best["test/loss"] != result.final["test/loss"]


def test_the_papers_protocol_trains_on_everything_and_chooses_on_the_test_split() -> None:
    result, records = train(spec(epochs=6, protocol="paper", parameters={"lr": 1.0}))
    scores = [record.metrics["test/accuracy"] for record in records]
    assert not [name for name in records[0].metrics if name.startswith("validation/")]
    assert records[0].cost.steps == 12  # 1,497 images; without the validation split it is 10
    assert result.selection_metric == "test/accuracy"
    assert result.best_epoch == 1 + scores.index(max(scores))
    assert result.best == records[result.best_epoch - 1].metrics


def test_schedules_reach_the_optimizer() -> None:
    _, records = train(spec(schedule={"lr": MultiStep(milestones=(2,), gamma=0.1)}))
    assert [record.metrics["schedule/lr"] for record in records] == pytest.approx([0.1, 0.1, 0.01])


def test_an_exception_becomes_a_result(tmp_path: Path) -> None:
    chosen = spec(optimizer=f"{STUBS}:Idle", workload=f"{STUBS}:line")
    folder = RunFolder(tmp_path)
    folder.prepare(chosen)
    result = run_in_folder(chosen, CPU, folder)
    assert result.outcome == "failed"
    assert "did not call the objective" in result.message
    assert folder.result() == result


def test_evaluation_leaves_batch_norm_alone() -> None:
    from benchbench.workloads import Setup
    from benchbench.workloads.digits import build_resnet8
    from benchbench.workloads.streams import Streams

    task = build_resnet8(Setup(CPU, 128, Streams(0)))
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    task.evaluate("validation")
    assert all(torch.equal(value, before[name]) for name, value in task.model.state_dict().items())
    assert task.model.training
