"""What the slurm engine submits, takes up and refuses, as far as no Slurm is needed to see it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchbench import api
from benchbench.engines import EngineError, slurm_queue
from benchbench.engines.slurm import SlurmEngine
from benchbench.engines.slurm_job import run_as_job
from benchbench.engines.slurm_options import sbatch_options
from benchbench.runs.folder import RunFolder
from benchbench.values import RunResult, Submission
from tests.conftest import benchbench
from tests.engines.test_slurm import SUITE, slow_job


def test_without_slurm_the_engine_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(EngineError, match="no login node"):
        SlurmEngine()


def test_what_is_asked_for_grows_with_the_ranks() -> None:
    asked = sbatch_options({"gpus": 1, "cpus_per_task": 3, "mem": "8G", "exclusive": True, "requeue": False}, ranks=2)
    assert asked == {"gpus": 2, "cpus-per-task": 6, "mem": "8G", "exclusive": True}


@pytest.mark.parametrize(
    ("options", "expected"), [({}, {"mem": "1537M"}), ({"mem_per_cpu": "3G"}, {"mem-per-cpu": "3G"})]
)
def test_memory_that_a_suite_states_is_asked_for_unless_its_options_do(
    options: dict[str, Any], expected: dict[str, Any]
) -> None:
    asked = sbatch_options(options, ranks=1, memory=1536 * 2**20 + 1)
    assert asked == {"requeue": True, "cpus-per-task": 1, **expected}


def test_a_controller_that_does_not_answer_ends_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "squeue").write_text("#!/bin/sh\necho Unable to contact slurm controller >&2; exit 1\n")
    for name in ("sbatch", "srun", "sacct"):
        (tmp_path / name).write_text("#!/bin/sh\n")
    for file in tmp_path.iterdir():
        file.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(slurm_queue.SlurmError, match="Unable to contact"):
        slurm_queue.states(["12_3"])
    engine = SlurmEngine()
    engine._jobs["12_3"] = slow_job(tmp_path)
    assert not engine.poll(0.0)
    assert engine.capacity == 999


def test_a_run_that_ends_while_it_is_being_taken_up_is_not_submitted_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "squeue").write_text("#!/bin/sh\necho '8|COMPLETED'\n")
    for name in ("sbatch", "srun"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
    for file in tmp_path.iterdir():
        file.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    job = slow_job(tmp_path)
    job.folder.prepare(job.spec)
    job.folder.submit(Submission(engine="slurm", job="8", submitted_at="2026-01-01T00:00:00+00:00"))
    finished = RunResult(key=job.spec.key, outcome="finished")
    job.folder.finish(finished)
    engine = SlurmEngine()
    engine.submit(job)
    assert engine.poll(0.0) == [finished]


def test_options_that_do_not_go_together_are_refused(workplace: Path, write_suite: Callable[..., Path]) -> None:
    path = str(write_suite(SUITE.replace("PAUSE", "0")))
    done = benchbench("run", path, "--no-wait", "--address", "127.0.0.1:6379", cwd=workplace)
    assert done.returncode == 2
    assert "--no-wait: only --engine slurm" in done.stderr
    assert "--address: only --engine ray" in done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slurm: {array: 1-3}", "array is set by the engine"),
        ("slurm: {--mem: 1G}", "write it without dashes"),
        ("slurm: {mem: [1]}", "mem must be text, a number"),
        ('slurm: {mem: "1\\n2"}', "control characters"),
        ("ray: {cpus: 2}", "allowed: num_cpus, num_gpus, memory"),
        ("ray: {num_cpus: 0}", "must be greater than 0"),
    ],
)
def test_a_suite_with_a_bad_request_is_refused(write_suite: Callable[..., Path], text: str, message: str) -> None:
    path = write_suite(
        SUITE.replace("slurm: {partition: main, time: 10, mem: 500M, gpus: 0}", text).replace("PAUSE", "0")
    )
    with pytest.raises(ValueError, match=message):
        api.load_suite(path, thorough=False)


def test_requests_are_no_part_of_a_run_s_key(write_suite: Callable[..., Path]) -> None:
    text = SUITE.replace("PAUSE", "0")
    one = api.load_suite(write_suite(text), thorough=False)
    other = api.load_suite(write_suite(text.replace("mem: 500M", "mem: 1G")), thorough=False)
    assert one.engine_options["slurm"] == {"partition": "main", "time": 10, "mem": "500M", "gpus": 0}
    assert [spec.key for spec in one.specs] == [spec.key for spec in other.specs]


def test_a_job_gives_way_to_another_that_its_run_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_ARRAY_JOB_ID", raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    folder = RunFolder(tmp_path)
    folder.submit(Submission(engine="slurm", job="8", submitted_at="2026-01-01T00:00:00+00:00"))
    before = sorted(tmp_path.iterdir())
    run_as_job("this spec is not even read", str(tmp_path), str(tmp_path), 0)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.usefixtures("workplace")
def test_a_run_that_waits_to_be_run_again_is_not_shown_as_done(
    write_suite: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = api.load_suite(write_suite(SUITE.replace("PAUSE", "0")))
    api.run(suite, engine="inline")
    folder = RunFolder(Path(".benchbench/runs") / suite.specs[0].key)
    folder.submit(Submission(engine="slurm", job="8_0", submitted_at="2026-01-01T00:00:00+00:00"))
    for said, shown in (("PENDING", "pending"), ("COMPLETED", "finished")):
        monkeypatch.setattr(slurm_queue, "states", lambda jobs, said=said: dict.fromkeys(jobs, said))
        assert api.status(suite)[0]["state"] == shown
