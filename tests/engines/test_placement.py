"""A run that is meant for a GPU is put on that one, or fails; here on machines whose GPUs are pretended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from benchbench.devices import use
from benchbench.devices.kinds import NVIDIA
from benchbench.devices.visible import Visible
from benchbench.engines import create, inline, slots, starting
from benchbench.engines.inline import InlineEngine
from benchbench.engines.local import LocalEngine
from benchbench.engines.slots import Placement, gpu_slots, merged
from benchbench.problems import BadInputError
from benchbench.training import trainer
from benchbench.values import RunResult
from tests.conftest import benchbench
from tests.engines.conftest import execute, make_job

EIGHT = Visible(NVIDIA, tuple(map(str, range(8))), tuple(f"GPU-{index}a" for index in range(8)))
DIVIDED = Visible(NVIDIA, ("MIG-1", "MIG-2"), ("GPU-1a", "MIG-1", "MIG-2"))


@pytest.fixture(autouse=True)
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "ready", lambda slots, preload=(): list(preload))  # no pretended GPU starts
    for name in ("CUDA_VISIBLE_DEVICES", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


def test_a_local_run_without_its_gpu_fails_and_does_not_fall_back(tmp_path: Path) -> None:
    engine = LocalEngine(gpu_slots(EIGHT, ["2", "GPU-3"], cores=2))
    jobs = [make_job(tmp_path / "runs", "line", seed=seed) for seed in range(2)]
    messages = [result.message for result in execute(engine, jobs).values() if result.outcome == "failed"]
    assert sorted(message.partition(": cuda does not start")[0] for message in messages) == [
        "meant for gpu:2",
        "meant for gpu:GPU-3",
    ]
    assert {len(message.splitlines()) for message in messages} == {1}


@pytest.mark.parametrize(
    ("here", "devices", "ranks", "name"),
    [
        (EIGHT, (), 1, "gpu:0"),
        (EIGHT, ("2",), 1, "gpu:2"),
        (EIGHT, ("5", "6"), 2, "gpu:5+gpu:6"),
        (DIVIDED, (), 1, "gpu:MIG-1"),
    ],
)
def test_an_inline_run_takes_the_gpu_that_was_chosen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, here: Visible, devices: tuple[str, ...], ranks: int, name: str
) -> None:
    for module in (slots, inline):
        monkeypatch.setattr(module, "visible", lambda: here)
    started: list[str] = []

    def start(device: Any, number: int = 1) -> None:
        started.append(str(device))
        raise use.DeviceMissingError("cuda does not start: as on this machine")

    monkeypatch.setattr(use, "start", start)
    engine = create("inline", Placement(devices=devices), ranks=ranks)
    [result] = execute(engine, [make_job(tmp_path / "runs", "line", ranks=ranks)]).values()
    assert (result.outcome, result.message) == ("failed", f"meant for {name}: cuda does not start: as on this machine")
    assert started == [f"cuda:{devices[0] if devices else 0}"]


def test_an_inline_run_has_its_gpu_as_the_current_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for module in (slots, inline):
        monkeypatch.setattr(module, "visible", lambda: EIGHT)
    current: list[int] = []

    def run(spec: Any, device: Any, folder: Any, **_: Any) -> RunResult:
        return RunResult(key=spec.key, outcome="finished", message=f"{device} beside {current}")

    @contextmanager
    def device_index(index: int) -> Iterator[None]:
        current.append(index)
        yield
        current.remove(index)

    monkeypatch.setattr(use, "start", lambda device, number=1: None)
    monkeypatch.setattr(trainer, "run_in_folder", run)
    monkeypatch.setattr(torch.accelerator, "device_index", device_index)
    engine = create("inline", Placement(devices=("2",)))
    [result] = execute(engine, [make_job(tmp_path / "runs", "line")]).values()
    assert result.message == "cuda:2 beside [2]"
    assert current == []


@pytest.mark.parametrize(
    ("here", "devices", "ranks"),
    [(EIGHT, ("GPU-3a",), 1), (EIGHT, ("3", "1"), 2), (DIVIDED, ("MIG-2",), 1), (DIVIDED, ("GPU-1a",), 1)],
)
def test_an_inline_run_is_refused_where_it_cannot_choose_its_gpu(
    monkeypatch: pytest.MonkeyPatch, here: Visible, devices: tuple[str, ...], ranks: int
) -> None:
    for module in (slots, inline):
        monkeypatch.setattr(module, "visible", lambda: here)
    with pytest.raises(BadInputError) as caught:
        create("inline", Placement(devices=devices), ranks=ranks)
    [problem] = caught.value.problems
    assert f"CUDA_VISIBLE_DEVICES={','.join(devices)} before the command" in str(problem)


def test_a_slot_with_several_gpus_needs_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inline, "visible", lambda: EIGHT)
    assert InlineEngine(merged(gpu_slots(EIGHT, ["6", "7"], cores=2)))._device == "cuda:6"


@pytest.mark.parametrize(
    ("engine", "options", "message"),
    [
        ("slurm", {"devices": ("0",)}, "--devices: a cluster chooses the GPU of a run itself; allowed: cpu (got 0)"),
        ("slurm", {"per_device": 2}, "--slots-per-device: this cluster gives every run a GPU of its own"),
        (
            "ray",
            {"devices": ("2", "3")},
            "--devices: a cluster chooses the GPU of a run itself; allowed: cpu (got 2,3)",
        ),
    ],
)
def test_a_cluster_is_not_told_which_gpus_of_this_machine(engine: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInputError) as caught:
        create(engine, Placement(**options), address="127.0.0.1:1" if engine == "ray" else None)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("engine", ["local", "inline", "ray"])
def test_ranks_without_a_gpu_each_are_one_line(monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    monkeypatch.setattr(slots, "visible", lambda: EIGHT)
    with pytest.raises(BadInputError, match=r"ranks: each rank needs a GPU of its own; allowed: up to 2, .* \(got 3\)"):
        create(engine, Placement(devices=("0", "1"), per_device=1 if engine == "inline" else 2), ranks=3)


def test_devices_that_are_not_there_end_the_command_in_one_line(workplace: Path) -> None:
    done = benchbench("run", "digits", "--devices", "GPU-7", "--engine", "inline", cwd=workplace)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "--devices: this machine has no GPU: allowed is cpu (got GPU-7)" in done.stderr
