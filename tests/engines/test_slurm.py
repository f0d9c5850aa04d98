"""The slurm engine against a real Slurm: what people and the cluster do to jobs, and the commands around it."""

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

from benchbench import api
from benchbench.engines import Engine, EngineError
from benchbench.runs.folder import RunFolder
from benchbench.values import RunResult
from tests.conftest import benchbench, pretend_gpus, processes_where, wait_for
from tests.engines.conftest import assert_as_undisturbed, execute, make_job
from tests.helpers.suites import line, suite

NewEngine = Callable[..., Engine]

SUITE = suite(
    title="Lines",
    seeds=[0, 1],
    checkpoint_minutes=1e-6,
    slurm={"partition": "main", "time": 10, "mem": "500M", "gpus": 0},
    workloads={"line": line(epochs=3, steps=4, pause="PAUSE")},
    tables=["accuracy"],
)


def slurm_command(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout


def job_of(engine: Engine, folder: Any) -> str:
    """Return the name of a run's job, once it has made a checkpoint."""
    wait_for(lambda: engine.poll(0.2) or folder.checkpoints.files())
    submission = folder.submission()
    assert submission is not None
    return submission.job


def slow_job(folder: Path, epochs: int = 20) -> Any:
    return make_job(folder / "runs", "line", epochs=epochs, checkpoint_minutes=1e-6, parameters={"pause": 0.05})


@pytest.mark.slow
def test_a_cancelled_run_is_interrupted_and_not_tried_again(new_engine: NewEngine, tmp_path: Path) -> None:
    engine, running, waiting = new_engine("slurm", parallel=1), slow_job(tmp_path), slow_job(tmp_path, epochs=21)
    engine.submit(running)
    engine.submit(waiting)
    array = job_of(engine, running.folder).partition("_")[0]
    slurm_command("scancel", array)
    results: dict[str, RunResult] = {}
    wait_for(lambda: results.update({each.key: each for each in engine.poll(0.5)}) or len(results) == 2)
    assert {result.outcome for result in results.values()} == {"interrupted"}
    assert all("cancelled in Slurm" in result.message for result in results.values())
    assert running.folder.checkpoints.files()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["requeue", "time limit"])
def test_a_run_that_is_requeued_goes_on_from_its_checkpoint(new_engine: NewEngine, tmp_path: Path, how: str) -> None:
    engine, slow = new_engine("slurm"), slow_job(tmp_path)
    engine.submit(slow)
    job = job_of(engine, slow.folder)
    if how == "requeue":
        slurm_command("scontrol", "requeue", job)
    else:
        slurm_command("scancel", "--signal=USR2", job)  # what Slurm sends when time is nearly up
    wait_for(lambda: "PENDING" in slurm_command("squeue", "-h", "-o", "%T", "-j", job))
    assert not engine.poll(1.0)
    if how == "time limit":
        assert "stopped after" in slow.folder.result().message  # which leaves a checkpoint; it was not killed
    begin_again(job)
    [result] = wait_for(lambda: engine.poll(0.5))
    assert result.environment.get("resumed") == "1", result
    assert_as_undisturbed(slow)


def begin_again(job: str) -> None:
    """Start a job that was requeued, and that Slurm would let wait for two minutes."""

    def start() -> bool:
        slurm_command("scontrol", "update", f"jobid={job}", "starttime=now")
        return "PENDING" not in slurm_command("squeue", "-h", "-o", "%T", "-j", job)

    wait_for(start)


@pytest.mark.slow
def test_a_run_that_is_preempted_goes_on_where_it_was(new_engine: NewEngine, tmp_path: Path) -> None:
    cores = os.cpu_count() or 1
    engine = new_engine("slurm", options={"partition": "low", "cpus_per_task": cores, "gpus": 0})
    slow = make_job(tmp_path / "runs", "line", epochs=40, parameters={"pause": 0.05})  # without checkpoints of its own
    engine.submit(slow)
    wait_for(lambda: engine.poll(0.2) or slow.folder.records())
    job = slow.folder.submission().job
    slurm_command("sbatch", "--partition=high", f"--cpus-per-task={cores}", "--output=/dev/null", "--wrap=sleep 1")
    wait_for(lambda: "PENDING" in slurm_command("squeue", "-h", "-o", "%T", "-j", job))
    assert "stopped after" in slow.folder.result().message
    begin_again(job)
    [result] = wait_for(lambda: engine.poll(0.5))
    assert result.environment.get("resumed") == "1", result
    assert_as_undisturbed(slow)


@pytest.mark.slow
def test_a_job_that_is_killed_is_a_crash_with_slurm_s_own_word(new_engine: NewEngine, tmp_path: Path) -> None:
    engine, slow = new_engine("slurm"), slow_job(tmp_path)
    engine.submit(slow)
    job = job_of(engine, slow.folder)
    os.kill(process_of(job), signal.SIGKILL)
    [result] = wait_for(lambda: engine.poll(0.5))
    assert result.outcome == "crashed"
    assert f"Slurm ended job {job} as FAILED" in result.message
    again = execute(engine, [slow])[slow.spec.key]
    assert again.environment["resumed"] == "1"
    assert_as_undisturbed(slow)


def process_of(job: str) -> int:
    """Return the process that submitit has started in a job."""

    def is_of_job(entry: Path) -> bool:
        command = (entry / "cmdline").read_bytes().split(b"\0")
        own = b"submitit.core._submit" in command and b"python" in command[0]
        return own and f"SLURM_JOB_ID={job}".encode() in (entry / "environ").read_bytes().split(b"\0")

    found = processes_where(is_of_job)
    assert found, f"job {job} has no process here"
    return found[0]


@pytest.mark.slow
def test_a_run_in_the_queue_is_taken_up_by_the_next_engine(new_engine: NewEngine, tmp_path: Path) -> None:
    slow = slow_job(tmp_path)
    first = new_engine("slurm")
    first.submit(slow)
    job = job_of(first, slow.folder)
    second = new_engine("slurm")
    second.submit(slow)
    second.poll(0.1)
    assert slow.folder.submission().job == job
    [result] = wait_for(lambda: second.poll(0.5))
    assert (result.outcome, "resumed" in result.environment) == ("finished", False)


@pytest.mark.slow
def test_every_job_of_an_array_has_a_gpu_of_its_own_or_fails(
    new_engine: NewEngine, nvml_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in pretend_gpus(nvml_folder, 2).items():  # which the jobs inherit
        monkeypatch.setenv(name, value)
    engine = new_engine("slurm", options={"gpus": 1})
    jobs = [make_job(tmp_path / "runs", "line", seed=seed, epochs=200, parameters={"pause": 1}) for seed in range(2)]
    results = execute(engine, jobs)
    assert {result.outcome for result in results.values()} == {"failed"}  # and never on the CPU
    places = {result.message.partition(": cuda does not start")[0] for result in results.values()}
    assert places <= {"meant for gpu:0", "meant for gpu:1"}


@pytest.mark.slow
def test_a_job_without_the_gpu_that_it_is_meant_for_fails(new_engine: NewEngine, tmp_path: Path) -> None:
    engine = new_engine("slurm", options={"gres": "gpu:1"})
    job = make_job(tmp_path / "runs", "line")
    [result] = execute(engine, [job]).values()
    assert result.outcome == "failed"
    assert re.fullmatch(r"meant for 1 GPU, and \S+ has 0 for it.*", result.message), result.message


@pytest.mark.slow
def test_a_cluster_with_gpus_is_not_left_to_its_cpus_without_a_word(new_engine: NewEngine, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"this cluster has GPUs, and the suite does not say .* `slurm: {gpus: 0}`"):
        new_engine("slurm", options={"mem": "100M"})
    engine = new_engine("slurm", options={"gpus": 1})
    job = make_job(tmp_path / "runs", "line")
    engine.submit(job)
    engine.poll(0.0)
    asked = slurm_command("scontrol", "show", "job", job.folder.submission().job)
    engine.stop()
    assert re.search(rf"CPUs/Task={max(1, (os.cpu_count() or 1) // 2)}\b", asked), asked  # of two GPUs


@pytest.mark.slow
def test_a_job_asks_for_the_memory_that_its_suite_states(new_engine: NewEngine, tmp_path: Path) -> None:
    engine = new_engine("slurm")
    job = make_job(tmp_path / "runs", "line", memory=1.5)
    engine.submit(job)
    engine.poll(0.0)
    asked = slurm_command("scontrol", "show", "job", job.folder.submission().job)
    assert "MinMemoryNode=1.50G" in asked
    engine.stop()


@pytest.mark.slow
def test_what_slurm_refuses_is_one_line(new_engine: NewEngine, tmp_path: Path) -> None:
    engine = new_engine("slurm", options={"partition": "nonesuch"})
    engine.submit(slow_job(tmp_path))
    with pytest.raises(EngineError, match="partition"):
        engine.poll(0.1)


@pytest.mark.slow
@pytest.mark.usefixtures("slurm")
def test_runs_go_on_without_their_command_and_are_collected(workplace: Path, write_suite: Callable[..., Path]) -> None:
    path = str(write_suite(SUITE.replace("PAUSE", "0").replace("gpus: 0}", "gpus: 0, hold: true}")))
    submitted = benchbench("run", path, "--engine", "slurm", "--no-wait", "--slots", "1", cwd=workplace)
    assert submitted.returncode == 0, submitted.stderr
    folders = list(workplace.glob(".benchbench/runs/*/submitted.json"))
    jobs = {found.job for file in folders if (found := RunFolder(file.parent).submission())}
    assert len(jobs) == 2

    def jobs_shown() -> list[dict[str, Any]]:
        return json.loads(benchbench("status", path, "--json", cwd=workplace).stdout)

    assert {line["state"] for line in jobs_shown()} == {"pending"}
    assert {line["job"] for line in jobs_shown()} == jobs
    benchbench("run", path, "--engine", "slurm", "--no-wait", cwd=workplace)  # submits nothing a second time
    done = benchbench("run", path, cwd=workplace)  # nor does the local engine start what Slurm has
    assert "is in the queue" in done.stderr, done.stderr
    assert "started" not in done.stderr
    found = [RunFolder(file.parent).submission() for file in folders]
    assert {each.job for each in found if each} == jobs
    slurm_command("scontrol", "release", *jobs)
    wait_for(lambda: all(line["state"].startswith("finished") for line in jobs_shown()))
    collected = benchbench("collect", path, cwd=workplace)
    assert collected.returncode == 0, collected.stderr
    assert {line["state"] for line in jobs_shown()} == {"finished"}
    rows = api.rows(api.load_suite(path))
    assert [row.result.epochs for row in rows if row.result] == [3, 3]
    assert not list(workplace.glob(".benchbench/runs/*/submitted.json"))


@pytest.mark.slow
@pytest.mark.usefixtures("slurm")
def test_ctrl_c_takes_the_jobs_out_of_the_queue_with_their_checkpoints(
    workplace: Path, write_suite: Callable[..., Path]
) -> None:
    path = str(write_suite(SUITE.replace("PAUSE", "0.3")))
    command = [str(Path(sys.executable).with_name("benchbench")), "run", path, "--engine", "slurm"]
    parent = subprocess.Popen(
        command,
        cwd=workplace,
        text=True,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no thread holds a lock here
    )
    wait_for(lambda: list(workplace.glob(".benchbench/runs/*/checkpoints/*.pt")))
    parent.send_signal(signal.SIGINT)
    _, errors = parent.communicate(timeout=90)
    assert parent.returncode == 130, errors
    assert slurm_command("squeue", "-h").strip() == ""
    assert list(workplace.glob(".benchbench/runs/*/checkpoints/*.pt"))
