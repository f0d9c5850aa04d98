"""Runs whose steps several processes make."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed import distributed_c10d

from benchbench.engines import Job
from benchbench.engines.local import LocalEngine
from benchbench.engines.slots import cpu_slots
from benchbench.optim.execution import ranks as ranks_module
from benchbench.optim.execution.ranks import Ranks, joined
from benchbench.runs.folder import RunFolder
from benchbench.training.rank_workers import rank_workers
from benchbench.training.trainer import run_in_folder
from benchbench.values import Component, Plateau, RunResult, RunSpec
from benchbench.workloads import DATA
from tests.engines.conftest import execute
from tests.helpers import rank_training
from tests.helpers.specs import run_spec
from tests.training import small_tasks

CPU = torch.device("cpu")


def spec(workload: str, ranks: int = 2, **changes: Any) -> RunSpec:
    fields = {"epochs": 2, "batch_size": 100, "execution": {"ranks": ranks}, **changes}
    return run_spec("adamw", workload, parameters={"lr": 0.01}, **fields)


def test_a_run_with_ranks_gives_the_numbers_of_one_process() -> None:
    alone, shared = (small_tasks.trained(spec("digits-mlp", ranks)) for ranks in (1, 2))
    assert shared.final == pytest.approx(alone.final, rel=1e-5)
    assert (shared.cost.steps, shared.cost.gradients) == (alone.cost.steps, alone.cost.gradients)
    assert (shared.environment["ranks"], shared.environment["batch_norm"]) == ("2", "local")
    assert not torch.distributed.is_initialized()


def test_a_dead_rank_ends_the_run(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    result = run_in_folder(spec(f"{rank_training.__file__}:deadly"), CPU, folder)
    assert (result.outcome, result.message) == ("crashed", "the process of another rank has ended; see the log")


def executed(name: str, place: Path, **parameters: Any) -> RunResult:
    """Return how a run of a workload of `ranked` ends in a process of its own."""
    engine = LocalEngine(cpu_slots(1, cores=1))
    workload = Component(target=f"{rank_training.__file__}:{name}", parameters=parameters)
    chosen = spec("").model_copy(update={"workload": workload})
    try:
        [result] = execute(engine, [Job(chosen, RunFolder(place / "runs/run"), DATA)], seconds=60).values()
    finally:
        engine.stop()
    return result


@pytest.mark.slow
def test_every_rank_can_have_processes_that_load_its_data(tmp_path: Path) -> None:
    result = executed("loading", tmp_path)
    assert (result.outcome, result.cost.steps) == ("finished", 2 * len(rank_training.SIZES)), result.message


@pytest.mark.slow
def test_a_rank_whose_death_is_not_noticed_ends_the_run(tmp_path: Path) -> None:
    result = executed("deaf", tmp_path)
    assert (result.outcome, "the process of rank 1 has ended" in result.message) == ("crashed", True), result.message


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fails", "outcome", "left"),
    [(False, "finished", {"leave-0": "result", "leave-1": "result"}), (True, "failed", {"abort-0": "no result"})],
)
def test_ranks_leave_together_and_after_an_error_rank_0_alone(
    tmp_path: Path, fails: bool, outcome: str, left: dict[str, str]
) -> None:
    result = executed("waiting", tmp_path, folder=str(tmp_path), fails=fails)
    assert result.outcome == outcome, result.message
    assert {file.name: file.read_text() for file in tmp_path.glob("*-*")} == left


def test_a_rank_that_does_not_leave_in_time_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    never_set, aborted = threading.Event(), list[bool]()
    monkeypatch.setattr(ranks_module, "LEAVE_SECONDS", 0.1)
    monkeypatch.setattr(torch.distributed, "destroy_process_group", never_set.wait)
    abort = distributed_c10d._abort_process_group
    monkeypatch.setattr(distributed_c10d, "_abort_process_group", lambda: (aborted.append(True), abort()))
    with joined(Ranks(0, 1), tmp_path / "store", CPU):
        pass
    assert aborted == [True]
    assert not torch.distributed.is_initialized()
    never_set.set()


def test_a_rank_that_cannot_be_set_up_ends_the_run(tmp_path: Path) -> None:
    result = run_in_folder(spec("digits-mpl"), CPU, RunFolder(tmp_path))
    assert (result.outcome, "unknown workload" in result.message) == ("failed", True)


@pytest.mark.slow
def test_ranks_take_up_a_run_where_it_stopped(tmp_path: Path) -> None:
    plateau = {"lr": Plateau(name="plateau", gamma=0.5, patience=0)}
    of_three = spec(f"{rank_training.__file__}:mlp", epochs=3, schedule=plateau)
    undisturbed, folder = RunFolder(tmp_path / "undisturbed"), RunFolder(tmp_path / "stopped")
    for each in (undisturbed, folder):
        each.prepare(of_three)
    run_in_folder(of_three, CPU, undisturbed)

    steps = iter(range(100))
    stopped = run_in_folder(of_three, CPU, folder, stop=lambda: next(steps) == 6)  # it looks once more before
    assert (stopped.outcome, stopped.message) == ("interrupted", "stopped after 5 steps")  # in the second epoch
    folder.prepare(of_three)
    assert run_in_folder(of_three, CPU, folder).environment["resumed"] == "1"
    records = folder.records()
    assert [record.metrics for record in records] == [record.metrics for record in undisturbed.records()]
    assert len({record.metrics["train/loss"] for record in records}) == 3


def test_ranks_do_not_share_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with (
        pytest.raises(ValueError, match="each of 2 needs a GPU of its own, and there are 1"),
        rank_workers(spec("digits-mlp"), torch.device("cuda"), DATA),
    ):
        pass


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_ranks_on_gpus_give_the_numbers_of_one() -> None:
    device = torch.device("cuda")
    alone, shared = (small_tasks.trained(spec("digits-mlp", ranks), device) for ranks in (1, 2))
    assert shared.final == pytest.approx(alone.final, rel=1e-4)
    assert shared.environment["ranks"] == "2"
