"""The ray engine on a real cluster of several nodes, and on one that it starts."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchbench.engines import Engine, EngineError, create
from benchbench.engines.slots import Placement
from tests.conftest import REPOSITORY, benchbench, pretend_gpus, processes_where, wait_for
from tests.engines.conftest import assert_as_undisturbed, execute, make_job
from tests.helpers.suites import suite

SUITE = suite(seeds=[0, 1], ray={"num_cpus": 1, "num_gpus": 0}, tables=["accuracy"])


def slow_job(folder: Path) -> Any:
    return make_job(folder / "runs", "line", epochs=20, checkpoint_minutes=1e-6, parameters={"pause": 0.05})


@pytest.mark.slow
def test_a_node_that_dies_is_a_crash_and_the_next_attempt_goes_on_elsewhere(
    ray_cluster: Any, new_engine: Callable[..., Engine], tmp_path: Path
) -> None:
    engine, slow = new_engine("ray"), slow_job(tmp_path)
    engine.submit(slow)
    wait_for(lambda: engine.poll(0.2) or slow.folder.checkpoints.files())
    [worker] = workers_of(slow.spec.key)
    raylet = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])  # its parent
    [node] = [node for node in ray_cluster.list_all_nodes() if raylet == pid_of_raylet(node)]
    ray_cluster.remove_node(node, allow_graceful=False)
    [result] = wait_for(lambda: engine.poll(0.5), seconds=60)
    assert result.outcome == "crashed"
    assert "lost by Ray" in result.message
    again = execute(engine, [slow])[slow.spec.key]
    assert again.environment["resumed"] == "1"
    assert_as_undisturbed(slow)
    engine.stop()
    ray_cluster.add_node(num_cpus=2, num_gpus=1, object_store_memory=80 * 2**20)
    ray_cluster.wait_for_nodes()


def pid_of_raylet(node: Any) -> int:
    return node.all_processes["raylet"][0].process.pid


@pytest.mark.slow
def test_a_worker_that_is_killed_takes_its_run_along(new_engine: Callable[..., Engine], tmp_path: Path) -> None:
    engine, slow = new_engine("ray"), slow_job(tmp_path)
    engine.submit(slow)
    wait_for(lambda: engine.poll(0.2) or slow.folder.checkpoints.files())
    [worker] = workers_of(slow.spec.key)
    os.kill(worker, signal.SIGKILL)
    [result] = wait_for(lambda: engine.poll(0.5))
    assert result.outcome == "crashed"
    steps = slow.folder.checkpoints.latest_steps()
    again = execute(engine, [slow])[slow.spec.key]
    assert again.environment["resumed"] == "1"
    assert steps < again.cost.steps
    assert_as_undisturbed(slow)
    engine.stop()


def workers_of(key: str) -> list[int]:
    """Return the worker processes that have a run's task; Ray names them by it."""
    title = f"ray::benchbench {key}".encode()
    return processes_where(lambda entry: (entry / "cmdline").read_bytes().startswith(title))


@pytest.mark.slow
def test_results_travel_back_from_a_node_that_does_not_see_the_folder(
    new_engine: Callable[..., Engine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = new_engine("ray")
    monkeypatch.setattr(engine, "_token", lambda runs: runs / "not-there")
    good, bad = make_job(tmp_path / "runs", "line"), make_job(tmp_path / "runs", "failing")
    results = execute(engine, [good, bad])
    assert results[good.spec.key].outcome == "finished"
    assert good.folder.result() == results[good.spec.key]
    assert [record.epoch for record in good.folder.records()] == [1, 2]
    assert good.folder.weights_file.exists()
    assert results[bad.spec.key].outcome == "failed"
    assert "RuntimeError: this workload always fails" in bad.folder.log_file.read_text()
    engine.stop()


@pytest.mark.slow
def test_every_run_sees_the_gpu_that_ray_gives_it(new_engine: Callable[..., Engine], tmp_path: Path) -> None:
    engine = new_engine("ray", options={"num_gpus": 1})
    jobs = [make_job(tmp_path / "runs", "line", seed=seed) for seed in range(2)]
    results = execute(engine, jobs)
    assert {result.outcome for result in results.values()} == {"failed"}  # and never on the CPU
    for result in results.values():
        assert re.fullmatch(r"meant for 1 GPU, and \S+ has 0 for it; given to it: 0", result.message)  # of two nodes
    engine.stop()


RUNS_ON_PRETEND_GPUS = """
import json, sys
from pathlib import Path
from benchbench.devices.visible import visible
from benchbench.engines.ray import RayEngine
from benchbench.engines.slots import gpu_slots
from tests.engines.conftest import execute, make_job
names, per_device, folder = sys.argv[1].split(","), int(sys.argv[2]), Path(sys.argv[3])
engine = RayEngine(gpu_slots(visible(), names, 2, per_device), share=1 / per_device)
jobs = [make_job(folder / "runs", "line", seed=seed) for seed in range(2)]
print(json.dumps(sorted(result.message for result in execute(engine, jobs).values())))
engine.stop()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("gpus", "per_device", "places"),
    [
        ("2,3", 1, ["gpu:2", "gpu:3"]),
        ("5", 2, ["gpu:5", "gpu:5"]),
        ("GPU-000d5548", 1, ["gpu:GPU-000d5548", "gpu:GPU-000d5548"]),
    ],
)
def test_runs_on_a_cluster_of_this_machine_are_meant_for_its_chosen_gpus(
    nvml_folder: Path, tmp_path: Path, gpus: str, per_device: int, places: list[str]
) -> None:
    pytest.importorskip("ray")
    environment = {**pretend_gpus(nvml_folder, 8), "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", RUNS_ON_PRETEND_GPUS, gpus, str(per_device), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    messages = json.loads(done.stdout.splitlines()[-1])
    assert [message.partition(": cuda does not start")[0] for message in messages] == [
        f"meant for {at}" for at in places
    ]


@pytest.mark.slow
def test_a_run_has_the_memory_that_its_suite_states(new_engine: Callable[..., Engine], tmp_path: Path) -> None:
    import ray

    engine = new_engine("ray")
    job = make_job(tmp_path / "runs", "line", memory=1.5, epochs=200, parameters={"pause": 0.05})
    engine.submit(job)
    wait_for(job.folder.records)
    assert wait_for(lambda: ray.cluster_resources()["memory"] - ray.available_resources()["memory"] == 1.5 * 2**30)
    engine.stop()


@pytest.mark.slow
def test_a_cluster_is_started_here_where_there_is_none(workplace: Path, write_suite: Callable[..., Path]) -> None:
    path = str(write_suite(SUITE.replace("batch_size: 8", "batch_size: 8, memory: 1.0e+6")))  # no machine has that
    done = benchbench("run", path, "--engine", "ray", "--slots", "2", cwd=workplace)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("finished") == 2


@pytest.mark.slow
def test_a_command_uses_the_cluster_at_an_address(
    ray_cluster: Any, workplace: Path, write_suite: Callable[..., Path]
) -> None:
    path = str(write_suite(SUITE))
    done = benchbench("run", path, "--engine", "ray", "--address", ray_cluster.address, cwd=workplace)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_missing_cluster_is_one_line(workplace: Path, write_suite: Callable[..., Path]) -> None:
    path = str(write_suite(SUITE))
    done = benchbench("run", path, "--engine", "ray", "--address", "127.0.0.1:1", cwd=workplace)
    assert done.returncode == 2, done.stderr
    assert "error: no Ray cluster at 127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_cluster_that_starts_too_slowly_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def hesitate(**_: Any) -> None:
        raise Exception("The current node timed out during startup.")  # noqa: TRY002 - as Ray does

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)  # the other tests' cluster may be at work
    monkeypatch.setattr(ray, "init", hesitate)
    with pytest.raises(EngineError, match="Ray does not start: The current node timed out"):
        create("ray", Placement(devices=("cpu",)))
