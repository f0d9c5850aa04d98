"""The local engine with real processes: what they see, and how they die."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchbench.engines import EngineError, Job, create, local
from benchbench.engines.host_memory import room
from benchbench.engines.local import LocalEngine
from benchbench.engines.slots import Placement, Slot, cpu_slots
from benchbench.values import Execution, RunResult
from tests.conftest import wait_for
from tests.engines.conftest import execute, make_job


def job(runs: Path, workload: str, seed: int = 0, timeout: float | None = None, **parameters: Any) -> Job:
    return make_job(runs, workload, seed=seed, timeout=timeout, parameters=parameters)


@pytest.fixture
def engine() -> Iterator[LocalEngine]:
    made = LocalEngine(cpu_slots(2, cores=2))
    yield made
    made.stop()


def test_an_engine_that_there_is_not_is_said() -> None:
    with pytest.raises(EngineError, match="there is no engine 'lokal'; allowed: local, inline, ray, slurm"):
        create("lokal", Placement())


def test_a_run_leaves_its_files(engine: LocalEngine, tmp_path: Path) -> None:
    one = job(tmp_path, "line")
    result = execute(engine, [one])[one.spec.key]
    assert result.outcome == "finished"
    assert one.folder.result() == result
    assert [record.epoch for record in one.folder.records()] == [1, 2]
    assert one.folder.spec() == one.spec
    assert result.environment["threads"] == "1"


def test_a_result_says_how_many_runs_there_were_at_a_time(engine: LocalEngine, tmp_path: Path) -> None:
    alone = job(tmp_path, "line")
    assert execute(engine, [alone])[alone.spec.key].environment["concurrent_runs"] == "1"
    together = [job(tmp_path, "line", seed=seed) for seed in (1, 2)]
    assert {each.environment["concurrent_runs"] for each in execute(engine, together).values()} == {"2"}


def test_runs_on_different_devices_are_no_company(tmp_path: Path) -> None:
    first, second = cpu_slots(2, cores=2)
    engine = LocalEngine([replace(first, devices=("0",)), second])
    try:
        results = execute(engine, [job(tmp_path, "line", seed=seed) for seed in (1, 2)])
    finally:
        engine.stop()
    assert {each.environment["concurrent_runs"] for each in results.values()} == {"1"}


def test_a_run_that_shall_be_alone_waits_for_its_device_and_keeps_others_away(tmp_path: Path) -> None:
    slots = [replace(slot, devices=(str(index % 2),)) for index, slot in enumerate(cpu_slots(4, cores=4))]
    engine = LocalEngine(slots)
    try:
        for seed in (1, 2):
            engine.submit(job(tmp_path, "line", seed=seed, pause=600))
        alone = replace(job(tmp_path, "line"), alone="device")
        engine.submit(alone)  # each device has a run by now
        assert (engine.capacity, len(engine._running)) == (0, 2)
        engine._end(engine._running[0])
        [result] = wait_for(lambda: engine.poll(0.2))
        assert (result.key, result.environment["concurrent_runs"]) == (alone.spec.key, "1")
        engine.submit(replace(job(tmp_path, "line", seed=3), alone="host"))
        assert (engine.capacity, len(engine._running)) == (0, 1)
    finally:
        engine.stop(at_once=True)


@pytest.mark.parametrize(("kills", "memory"), [([4, 4, 5], "host"), ([4, 4, 4], ""), ([None, None, None], "")])
def test_a_kill_is_put_down_to_memory_where_the_system_says_so(
    engine: LocalEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: list[int | None], memory: str
) -> None:
    counts = iter(kills)
    monkeypatch.setattr(local, "oom_kills", lambda: next(counts))
    beside = job(tmp_path, "line", seed=1, pause=600)
    killed = job(tmp_path, "killed", marker=str(tmp_path / "kills"), kills=9)
    for each in (beside, killed):
        engine.submit(each)
    [result] = wait_for(lambda: engine.poll(0.2))
    engine.stop(at_once=True)
    assert (result.outcome, result.out_of_memory) == ("crashed", memory)
    assert killed.folder.result() == result
    assert result.environment.get("concurrent_runs") == ("2" if memory else None)


def test_what_an_engine_of_one_slot_cannot_see_is_said_by_the_slot(tmp_path: Path) -> None:
    engine = LocalEngine([Slot("cpu", "cpu", threads=1, sharing=4)])
    try:
        [result] = execute(engine, [job(tmp_path, "line")]).values()
    finally:
        engine.stop()
    assert result.environment["concurrent_runs"] == "4"


def test_the_death_of_a_process_harms_no_other(engine: LocalEngine, tmp_path: Path) -> None:
    killed = job(tmp_path, "killed", marker=str(tmp_path / "kills"), kills=9)
    broken, failing = job(tmp_path, "segfault"), job(tmp_path, "failing")
    healthy = [job(tmp_path, "line", seed=seed) for seed in range(3)]
    results = execute(engine, [killed, broken, failing, *healthy])
    assert results[killed.spec.key].outcome == "crashed"
    assert "SIGKILL" in results[killed.spec.key].message
    assert results[broken.spec.key].outcome == "crashed"
    assert "SIGSEGV" in results[broken.spec.key].message
    assert "build_segfault" in broken.folder.log_file.read_text()  # where it happened
    assert results[failing.spec.key].outcome == "failed"
    assert "this workload always fails" in results[failing.spec.key].message
    assert {results[one.spec.key].outcome for one in healthy} == {"finished"}


def test_a_run_is_stopped_when_its_time_is_up(engine: LocalEngine, tmp_path: Path) -> None:
    slow, quick = job(tmp_path, "line", timeout=1.0, pause=30), job(tmp_path, "line")
    results = execute(engine, [slow, quick])
    assert results[slow.spec.key].outcome == "timeout"
    assert results[quick.spec.key].outcome == "finished"
    assert engine.capacity == 2


def test_each_slot_sets_its_environment_before_the_run_starts(tmp_path: Path) -> None:
    slots = [Slot(f"gpu:{gpu}", "cpu", threads=gpu, environment={"CUDA_VISIBLE_DEVICES": str(gpu)}) for gpu in (2, 5)]
    engine = LocalEngine(slots)
    jobs = [
        job(tmp_path, "environment", seed=seed, variable="CUDA_VISIBLE_DEVICES", folder=str(tmp_path))
        for seed in range(4)
    ]
    execute(engine, jobs)
    seen = [(tmp_path / f"{seed}.txt").read_text() for seed in range(4)]
    assert sorted(seen[:2]) == ["2 2", "5 5"]
    assert set(seen) == {"2 2", "5 5"}


def test_stopping_kills_what_does_not_end_in_time(tmp_path: Path) -> None:
    engine = LocalEngine(cpu_slots(2, cores=2), grace=0.2)
    slow = job(tmp_path, "line", pause=600)
    engine.submit(slow)
    wait_for(slow.folder.log_file.exists)
    time.sleep(0.5)  # it sleeps before its first step by now, or is being set up
    engine.stop()
    assert engine.capacity == 2
    result = slow.folder.result()
    assert result is None or result.message == "stopped before its first step"


def test_stopping_leaves_a_checkpoint_that_the_next_attempt_goes_on_from(engine: LocalEngine, tmp_path: Path) -> None:
    slow = job(tmp_path, "line", pause=0.2, steps=10)
    engine.submit(slow)
    wait_for(slow.folder.metrics_file.exists)  # the second of two epochs has begun
    engine.stop()
    stopped = slow.folder.result()
    assert stopped is not None
    assert stopped.outcome == "interrupted"
    assert "steps" in stopped.message
    [checkpoint] = slow.folder.checkpoints.files()
    assert 10 <= int(checkpoint.name[:12]) < 20
    again = execute(engine, [slow])[slow.spec.key]
    assert again.environment["resumed"] == "1"


def test_a_run_with_ranks_waits_for_as_many_slots(engine: LocalEngine, tmp_path: Path) -> None:
    first, ranked = job(tmp_path, "line", pause=0.1), job(tmp_path, "environment", variable="X", folder=str(tmp_path))
    ranked = Job(ranked.spec.model_copy(update={"execution": Execution(ranks=2)}), ranked.folder, ranked.data)
    engine.submit(first)
    engine.submit(ranked)
    assert engine.capacity == 0
    results = execute(engine, [])
    while len(results) < 2:
        results |= {result.key: result for result in engine.poll(0.2)}
        assert first.spec.key in results or not ranked.folder.path.exists()
    assert engine.capacity == 2


def test_runs_that_do_not_fit_into_memory_together_run_one_after_the_other(tmp_path: Path) -> None:
    engine = LocalEngine(cpu_slots(2, cores=2), memory=1000)
    large, other, small = (
        replace(job(tmp_path, "line", seed=seed, pause=0.2), memory=memory)
        for seed, memory in enumerate((600, 600, 400))
    )
    engine.submit(large)
    engine.submit(other)
    assert engine.capacity == 0  # the second one waits, and nothing overtakes it
    assert not other.folder.path.exists()
    [first] = wait_for(lambda: engine.poll(0.2))
    assert first.key == large.spec.key
    assert engine.capacity == 1
    engine.submit(small)
    assert engine.capacity == 0  # these two fit
    assert other.folder.spec_file.exists()
    assert small.folder.spec_file.exists()
    engine.stop()


def test_a_run_that_needs_more_than_there_is_runs_alone(tmp_path: Path) -> None:
    engine = LocalEngine(cpu_slots(2, cores=2), memory=1000)
    huge = replace(job(tmp_path, "line"), memory=5000)
    assert execute(engine, [huge])[huge.spec.key].outcome == "finished"


def test_room_is_what_is_available_within_the_limit_of_the_control_group(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 999 kB\nMemAvailable:   100 kB\n")
    assert room(tmp_path, tmp_path) == 100 * 1024
    limit = tmp_path / "fs/cgroup/memory.max"
    limit.parent.mkdir(parents=True)
    limit.write_text("max\n")
    assert room(tmp_path, tmp_path) == 100 * 1024
    limit.write_text("50000\n")
    assert room(tmp_path, tmp_path) == 50000
    assert room(tmp_path / "none", tmp_path / "none") is None


def test_a_result_that_is_there_counts_though_time_has_run_out_since(engine: LocalEngine, tmp_path: Path) -> None:
    """Something is measured beside the run, after its end, and does not end."""
    ended, hanging = (job(tmp_path, "line", seed=seed, timeout=3600, pause=600) for seed in (0, 1))
    for each in (ended, hanging):
        engine.submit(each)
    result = RunResult(key=ended.spec.key, outcome="finished", epochs=2)
    ended.folder.finish(result)
    for running in engine._running:
        running.deadline = 0.0
    found = {each.key: each for each in engine.poll(0.1)}
    assert found[ended.spec.key] == result == ended.folder.result()
    assert found[hanging.spec.key].outcome == "timeout"
    assert hanging.folder.result() == found[hanging.spec.key]


def test_memory_is_free_again_when_a_run_has_ended(tmp_path: Path) -> None:
    engine = LocalEngine(cpu_slots(3, cores=3), memory=1000)
    runs = [replace(job(tmp_path, "line", seed=seed, pause=600), memory=500) for seed in range(3)]
    for each in runs:
        engine.submit(each)
    assert len(engine._running) == 2  # exactly as much as there is
    engine._end(engine._running[0])
    engine.poll(0.0)
    assert len(engine._running) == 2
    assert runs[2].folder.path.exists()
    engine.stop(at_once=True)
