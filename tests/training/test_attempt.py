"""A run that is stopped, killed or finds its checkpoints damaged ends with the bits of an undisturbed one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchbench.devices import use
from benchbench.optim.equality import same
from benchbench.runs.checkpoint import Checkpoints, load_tensors
from benchbench.runs.folder import RunFolder
from benchbench.training import clock
from benchbench.training.checkpointer import Checkpointer
from benchbench.training.state import RunState
from benchbench.training.trainer import run_in_folder
from benchbench.values import Component, Cosine, Execution, Plateau, RunResult, RunSpec
from tests.accelerator import current_device, every_device
from tests.conftest import STUBS
from tests.training.test_trainer import CLOCKS, numbers, spec

pytestmark = every_device

REGULARISED = {"workload": f"{STUBS}:regularised", "epochs": 3}
EVERY_STEP = {"checkpoint_minutes": 1e-9}

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"parameters": {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3}},
    "adamw": {"parameters": {"lr": 0.01}},
    "lbfgs": {"parameters": {"lr": 0.3, "max_iter": 3, "history_size": 4}},
    "sam": {"parameters": {"lr": 0.1, "momentum": 0.9}},
    "sassha": {"parameters": {"lr": 0.05, "lazy_hessian": 3}},
    "msassha": {"parameters": {"lr": 0.05, "lazy_hessian": 3}},
    "adahessian": {"parameters": {"lr": 0.05}},
    "sophia_h": {"parameters": {"lr": 0.01, "lazy_hessian": 3}},
    "shampoo": {"parameters": {"lr": 0.1}},
    "by_role": {"parameters": {"matrices": {"name": "muon", "lr": 0.02}, "rest": "adamw"}},
    "schedulefree:AdamWScheduleFree": {"parameters": {"lr": 0.02, "warmup_steps": 4}},
    "schedulefree:SGDScheduleFree": {"parameters": {"lr": 0.5}},
    f"{STUBS}:Noisy": {},
}


def stop_after(steps: int) -> Callable[[], bool]:
    """Return what asks for a stop after a number of steps (it is looked at once before the first)."""
    left = iter(range(steps))
    return lambda: next(left, None) is None


def never() -> bool:
    return False


def perform(folder: Path, chosen: RunSpec, stop: Callable[[], bool] = never) -> RunResult:
    files = RunFolder(folder)
    files.prepare(chosen)
    return run_in_folder(chosen, current_device(), files, stop=stop)


def small(optimizer: str = "sgd", **changes: Any) -> RunSpec:
    chosen = spec(optimizer, **{**REGULARISED, **OPTIMIZERS.get(optimizer, {}), **changes})
    return chosen.model_copy(update={"batch_size": 8})


def assert_equal(one: Path, other: Path) -> None:
    """Assert that two runs have the same weights, results and metrics, bit for bit; only their clocks may differ."""
    folders = RunFolder(one), RunFolder(other)
    results = [folder.result() for folder in folders]
    assert results[0] is not None and results[1] is not None
    assert results[0].outcome == "finished", results[0].message
    assert numbers(results[0]) == numbers(results[1])
    weights = [load_tensors(folder.weights_file) for folder in folders]
    assert same(*weights)
    lines = [[record.model_dump(exclude={"cost": CLOCKS}) for record in f.records()] for f in folders]
    assert lines[0] == lines[1]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_stopped_in_every_phase_a_run_ends_with_the_same_bits(optimizer: str, tmp_path: Path) -> None:
    chosen = small(optimizer)
    perform(tmp_path / "undisturbed", chosen)
    # 3 epochs of 5 steps: within one, at the end of one (looked at twice), within the last, twice in one epoch.
    for steps in (2, 5, 3, 1):
        stopped = perform(tmp_path / "stopped", chosen, stop_after(steps))
        assert stopped.outcome == "interrupted", stopped.message
    result = perform(tmp_path / "stopped", chosen)
    assert result.environment["resumed"] == "4"
    assert "checkpoints" not in result.environment
    assert_equal(tmp_path / "undisturbed", tmp_path / "stopped")


@pytest.mark.parametrize("changes", [{}, {"protocol": "paper"}, {"schedule": {"lr": Cosine(warmup_epochs=1)}}])
def test_data_protocol_and_schedules_go_on_as_well(changes: dict[str, Any], tmp_path: Path) -> None:
    chosen = spec("sgd", "digits-mlp", parameters={"lr": 1.0, "momentum": 0.9}, **changes)
    perform(tmp_path / "undisturbed", chosen)
    perform(tmp_path / "stopped", chosen, stop_after(14))
    perform(tmp_path / "stopped", chosen, stop_after(3))
    perform(tmp_path / "stopped", chosen)
    assert_equal(tmp_path / "undisturbed", tmp_path / "stopped")


def test_a_plateau_remembers_the_epochs_before(tmp_path: Path) -> None:
    chosen = small(epochs=6, schedule={"lr": Plateau(patience=0, gamma=0.5)})
    whole = perform(tmp_path / "undisturbed", chosen)
    assert whole.final["schedule/lr"] < 0.1
    perform(tmp_path / "stopped", chosen, stop_after(24))
    perform(tmp_path / "stopped", chosen)
    assert_equal(tmp_path / "undisturbed", tmp_path / "stopped")


def test_checkpoints_on_the_way_change_nothing(tmp_path: Path) -> None:
    perform(tmp_path / "without", small())
    result = perform(tmp_path / "with", small(**EVERY_STEP))
    assert "resumed" not in result.environment
    assert_equal(tmp_path / "without", tmp_path / "with")


def test_the_end_of_a_run_leaves_weights_and_no_checkpoint(tmp_path: Path) -> None:
    result = perform(tmp_path, small("schedulefree:AdamWScheduleFree", **EVERY_STEP))
    folder = RunFolder(tmp_path)
    assert not folder.checkpoints.files()
    assert {path.name for path in tmp_path.iterdir()} == {"spec.json", "metrics.jsonl", "result.json", "weights.pt"}
    # The weights are those that the optimizer recommends, at the end and not at the best epoch.
    from benchbench.workloads import Setup
    from benchbench.workloads.streams import Streams
    from tests.helpers.stub_plugins import build_regularised

    task = build_regularised(Setup(current_device(), 8, Streams(0)))
    task.model.load_state_dict(load_tensors(folder.weights_file))
    assert task.evaluate("test") == {"loss": result.final["test/loss"], "accuracy": result.final["test/accuracy"]}
    assert result.best_epoch < result.epochs


def interrupted(folder: Path, chosen: RunSpec, steps: int = 9) -> list[Path]:
    """Stop a run that saves at every step; return its checkpoints, the newest first."""
    perform(folder, chosen, stop_after(steps))
    return RunFolder(folder).checkpoints.files()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    damage: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = small("adamw", **EVERY_STEP)
    perform(tmp_path / "undisturbed", chosen)
    [newest, _] = interrupted(tmp_path / "damaged", chosen)
    damage(newest)
    result = perform(tmp_path / "damaged", chosen)
    assert result.environment["resumed"] == "1"
    assert result.environment["checkpoints"] == f"checkpoint {newest.name} is not used: damaged"
    assert newest.name in capsys.readouterr().err
    assert_equal(tmp_path / "undisturbed", tmp_path / "damaged")


def test_without_a_usable_checkpoint_a_run_begins_anew_and_says_so(tmp_path: Path) -> None:
    chosen = small("adamw", **EVERY_STEP)
    perform(tmp_path / "undisturbed", chosen)
    [newest, older] = interrupted(tmp_path / "damaged", chosen)
    flip(newest)
    cut(older)
    result = perform(tmp_path / "damaged", chosen)
    assert "resumed" not in result.environment
    assert "no checkpoint can be used: the run begins anew" in result.environment["checkpoints"]
    assert_equal(tmp_path / "undisturbed", tmp_path / "damaged")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"run": "another"}, "made for run another"),
        ({"torch": "1.0"}, "torch 1.0 instead of"),
        ({"format": 0}, "format"),
        ({"device": "cuda (NVIDIA A100-SXM4-40GB)"}, "made for device cuda (NVIDIA A100-SXM4-40GB) instead of "),
    ],
)
def test_a_checkpoint_of_something_else_is_not_used(changed: dict[str, Any], said: str, tmp_path: Path) -> None:
    chosen = small()
    [newest] = interrupted(tmp_path, chosen)
    folder = RunFolder(tmp_path)
    content = folder.checkpoints.load(newest)
    content["made_for"] |= changed
    folder.checkpoints.save(99, content)
    result = perform(tmp_path, chosen)
    assert result.outcome == "finished"
    assert said in result.environment["checkpoints"]


def test_an_optimizer_whose_state_cannot_be_saved_runs_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = small(f"{STUBS}:Opaque", **EVERY_STEP)
    assert not interrupted(tmp_path, chosen)
    assert capsys.readouterr().err.count("cannot be resumed") == 1
    result = perform(tmp_path, chosen)
    assert result.outcome == "finished"
    assert "resumed" not in result.environment
    assert "this run cannot be resumed" in result.environment["checkpoints"]


def test_an_optimizer_that_loads_another_state_begins_anew(tmp_path: Path) -> None:
    chosen = small(f"{STUBS}:Forgetful")
    perform(tmp_path / "undisturbed", chosen)
    stopped = perform(tmp_path / "stopped", chosen, stop_after(7))
    assert "a part of the optimizer's state is not in its state_dict" in stopped.environment["checkpoints"]
    assert "resumed" not in perform(tmp_path / "stopped", chosen).environment
    assert_equal(tmp_path / "undisturbed", tmp_path / "stopped")


def test_a_full_disk_does_not_stop_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    perform(tmp_path / "undisturbed", small())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("benchbench.runs.checkpoint.save_tensors", full)
    result = perform(tmp_path / "full", small(**EVERY_STEP))
    assert "no checkpoint after step 1: " in result.environment["checkpoints"]
    assert_equal(tmp_path / "undisturbed", tmp_path / "full")


def test_time_and_resumption_accumulate(tmp_path: Path) -> None:
    chosen = small()
    perform(tmp_path, chosen, stop_after(14))
    [file] = RunFolder(tmp_path).checkpoints.files()
    before = RunFolder(tmp_path).checkpoints.load(file)["progress"]
    assert before["seconds"] > 0
    assert before["batches"] == 2
    result = perform(tmp_path, chosen)
    times = [record.cost.train_seconds for record in RunFolder(tmp_path).records()]
    assert times == sorted(times)
    assert result.cost.train_seconds == times[-1] > before["seconds"] - before["warm_up"]["seconds"]


def test_checkpoints_take_no_time_of_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock that moves by an hour with every checkpoint that is written, and by nothing else."""
    hours = [0.0]
    save = Checkpoints.save

    def slow(self: Checkpoints, *arguments: Any) -> Path:
        hours[0] += 1
        return save(self, *arguments)

    monkeypatch.setattr(Checkpoints, "save", slow)
    monkeypatch.setattr(clock.time, "perf_counter", lambda: 3600 * hours[0])
    result = perform(tmp_path, small(**EVERY_STEP))
    assert hours[0] > result.epochs  # within epochs, too
    assert result.cost.train_seconds + (result.cost.warm_up_seconds or 0) == 0


def test_seconds_on_two_models_of_a_device_are_never_added_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = small()
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(use, "model", lambda device: "another model")
        perform(tmp_path, chosen, stop_after(14))
    stopped = RunFolder(tmp_path).result()
    assert stopped is not None
    assert "another model" in stopped.environment["device"]
    result = perform(tmp_path, chosen)
    assert (result.outcome, "resumed" in result.environment) == ("finished", False)
    assert "another model" not in result.environment["device"]
    assert "the run begins anew" in result.environment["checkpoints"]


def test_seconds_beside_other_runs_are_known_after_an_attempt_without_any(tmp_path: Path) -> None:
    chosen, files = small(), RunFolder(tmp_path)
    files.prepare(chosen)
    run_in_folder(chosen, current_device(), files, concurrent_runs=lambda: 3, stop=stop_after(14))
    result = perform(tmp_path, chosen)
    assert (result.environment["resumed"], result.environment["concurrent_runs"]) == ("1", "3")


def test_a_checkpoint_is_due_by_time_and_at_the_end_of_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(clock.time, "monotonic", lambda: now)
    saved: list[int] = []
    save = Checkpointer._save

    def note(checkpointer: Checkpointer, state: RunState) -> None:
        saved.append(state.training.ledger.steps)
        save(checkpointer, state)

    monkeypatch.setattr(Checkpointer, "_save", note)

    def tick(seconds: float) -> Callable[[], bool]:
        def look() -> bool:
            nonlocal now
            now += seconds
            return False

        return look

    # Every look takes a second; there is one before the first step, and two at the end of an epoch of five steps.
    perform(tmp_path / "often", small(checkpoint_minutes=0.05), tick(1.0))
    assert saved == [2, 5, 7, 10, 12, 15]
    saved.clear()
    perform(tmp_path / "seldom", small(checkpoint_minutes=0.2), tick(1.0))
    assert saved == [5, 10, 15]
    saved.clear()
    perform(tmp_path / "quick", small(), tick(0.2))
    assert not saved


def test_the_random_state_of_the_process_is_put_back_when_a_run_stops(tmp_path: Path) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    perform(tmp_path, small(), stop_after(3))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("optimizer", ["adamw", "sassha"])
def test_in_another_memory_format_a_stopped_run_ends_with_the_same_bits(optimizer: str, tmp_path: Path) -> None:
    workload = Component(target="digits-resnet8", parameters={"width": 2})
    execution = Execution(channels_last=True, autocast="bf16", clip_norm=1.0)
    chosen = small(optimizer, epochs=1).model_copy(
        update={"workload": workload, "execution": execution, "batch_size": 256}
    )
    perform(tmp_path / "undisturbed", chosen)
    for steps in (1, 3):
        assert perform(tmp_path / "stopped", chosen, stop_after(steps)).outcome == "interrupted"
    perform(tmp_path / "stopped", chosen)
    assert_equal(tmp_path / "undisturbed", tmp_path / "stopped")
