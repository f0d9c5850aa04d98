"""What the slurm engine submits, takes up and refuses, as far as no Slurm is needed to see it."""

from __future__ import annotations

import dataclasses
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchbench import api
from benchbench.engines import EngineError, Job, slurm_queue, submissions
from benchbench.engines.slurm import SlurmEngine
from benchbench.engines.slurm_job import run_as_job
from benchbench.engines.slurm_options import sbatch_options
from benchbench.runs.folder import RunFolder
from benchbench.suite.schema import SuiteFile
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


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """A function that puts shell scripts in place of Slurm's commands, by default ones that do nothing."""

    def install(**scripts: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        for name, script in {**dict.fromkeys(("sbatch", "srun", "sacct", "sinfo"), ""), **scripts}.items():
            (folder / name).write_text(f"#!/bin/sh\n{script}\n")
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=":")

    return install


def saying(folder: Path, *states: str) -> str:
    """Return a script in place of `squeue` that says another state of job 8 each time, the last one for ever."""
    file = folder / "states"
    file.write_text("\n".join(states))
    return f'echo "8|$(head -n 1 {file})"; [ $(wc -l < {file}) = 0 ] || sed -i 1d {file}'


def submitted(folder: Path, result: RunResult | None = None, job: str = "8") -> Job:
    """Return a job of a run that Slurm has been given, and that may have left a result."""
    made = slow_job(folder)
    made.folder.prepare(made.spec)
    made.folder.submit(Submission(engine="slurm", job=job, submitted_at="2026-01-01T00:00:00+00:00"))
    if result is not None:
        made.folder.finish(result.model_copy(update={"key": made.spec.key}))
    return made


STOPPED = RunResult(key="", outcome="interrupted", message="stopped after 3 of 9 steps")


@pytest.mark.parametrize("passing", ["CANCELLED", "PREEMPTED", "NODE_FAIL", "COMPLETED", "FAILED", "UNKNOWN"])
def test_a_run_is_not_over_while_slurm_may_queue_it_up_again(
    pretend: Callable[..., None], tmp_path: Path, passing: str
) -> None:
    job = submitted(tmp_path, STOPPED)
    pretend(squeue=saying(tmp_path, passing, "PENDING", passing, "RUNNING", "RUNNING"))
    engine = SlurmEngine(interval=0.0, patience=1000.0)
    engine._jobs["8"] = job
    assert [engine.poll(0.0) for _ in range(4)] == [[], [], [], []]
    assert not submissions.ended([job.folder], patience=0.0)
    job.folder.finish(RunResult(key=job.spec.key, outcome="finished"))
    (tmp_path / "states").write_text("COMPLETED")
    [result] = engine.poll(0.0)
    assert result.outcome == "finished"


@pytest.mark.parametrize(("states", "over"), [(("CANCELLED", "PENDING"), False), (("CANCELLED",), True)])
def test_what_is_collected_has_ended_for_good(
    pretend: Callable[..., None], tmp_path: Path, states: tuple[str, ...], over: bool
) -> None:
    job = submitted(tmp_path, STOPPED)
    pretend(squeue=saying(tmp_path, *states))
    ended = submissions.ended([job.folder], patience=0.0)
    assert [result.outcome for result in ended.values()] == ["interrupted"] * over


def test_a_job_that_stays_ended_is_over_after_the_engine_s_patience(
    pretend: Callable[..., None], tmp_path: Path
) -> None:
    pretend(squeue=saying(tmp_path, "CANCELLED"))
    engine = SlurmEngine(interval=0.0, patience=0.0)
    engine._jobs["8"] = submitted(tmp_path, STOPPED)
    [result] = engine.poll(0.0)
    assert (result.outcome, result.message) == ("interrupted", f"job 8 was cancelled in Slurm: {STOPPED.message}")


def test_a_run_that_slurm_does_not_queue_up_again_says_so(
    pretend: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(scontrol="echo Requested operation not supported >&2; exit 1")
    monkeypatch.delenv("SLURM_ARRAY_JOB_ID", raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    job = submitted(tmp_path)

    def stopped(job: Job, wanted: object, stop: object) -> RunResult:
        job.folder.checkpoints.save(3, {})
        job.folder.finish(STOPPED.model_copy(update={"key": job.spec.key}))
        signal.raise_signal(signal.SIGUSR2)
        return STOPPED.model_copy(update={"key": job.spec.key})

    monkeypatch.setattr("benchbench.engines.node.execute", stopped)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR2)}
    try:
        run_as_job(job.spec.model_dump_json(), str(job.folder.path), str(tmp_path), 0)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    result = job.folder.result()
    assert result is not None
    assert result.outcome == "timeout"
    assert "not queued up again: scontrol: Requested operation not supported: stopped after" in result.message


def test_a_controller_that_does_not_answer_ends_nothing(pretend: Callable[..., None], tmp_path: Path) -> None:
    pretend(squeue="echo Unable to contact slurm controller >&2; exit 1")
    with pytest.raises(slurm_queue.SlurmError, match="Unable to contact"):
        slurm_queue.states(["12_3"])
    engine = SlurmEngine()
    engine._jobs["12_3"] = slow_job(tmp_path)
    assert not engine.poll(0.0)
    assert engine.capacity == 999


def test_a_run_that_ends_while_it_is_being_taken_up_is_not_submitted_again(
    pretend: Callable[..., None], tmp_path: Path
) -> None:
    pretend(squeue=saying(tmp_path, "COMPLETED"), sbatch="exit 1", srun="exit 1")
    job = submitted(tmp_path, RunResult(key="", outcome="finished"))
    engine = SlurmEngine()
    engine.submit(job)
    assert engine.poll(0.0) == [RunResult(key=job.spec.key, outcome="finished")]


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
        ("slurm: {wrap: touch x}", "wrap is set by the engine"),
        ("slurm: {wra: touch x}", r"wrap is set by the engine \(wra\)"),
        ("slurm: {export: LD_PRELOAD=x.so}", "export is set by the engine"),
        ("slurm: {get_user_env: true}", "get-user-env is set by the engine"),
        ("slurm: {job_name: x}", "job-name is set by the engine"),
        ('slurm: {"mem --wrap": x}', "write it without dashes"),
        ('slurm: {"mem\\n#SBATCH --wrap": x}', "is no option of sbatch"),
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
        api.load_suite(path)


MINIMAL = {"name": "x", "seeds": [0], "workloads": {"w": {}}, "methods": {"A": {}}}

VALUES = [
    "--wrap=evil", "x --wrap=evil", "'x' --wrap=evil", '"x" --wrap=evil', "x' --wrap='evil", "$(evil)", "`evil`", "# x",
    "x; evil", "-x", "x\\ny", "é %j", "'", '"',
]  # fmt: skip


def test_values_of_a_suite_reach_sbatch_as_values_of_their_options(
    pretend: Callable[..., None], tmp_path: Path
) -> None:
    given = {"partition": "low", **{f"comment{number}": value for number, value in enumerate(VALUES)}}
    assert SuiteFile.model_validate({**MINIMAL, "slurm": given}).slurm == given
    batch, said = tmp_path / "batch", tmp_path / "said"
    keep = f'printf "%s\\n" "$@" > {said}; for last in "$@"; do :; done; cp "$last" {batch}; echo Submitted batch job 8'
    pretend(sbatch=keep, squeue="echo 8|RUNNING")
    engine = SlurmEngine(interval=0.0, options=given)
    job = slow_job(tmp_path)
    name = "'; evil #\n--wrap=evil"
    spec = job.spec.model_copy(update={"suite": name, "method": name, "workload_label": name})
    engine.submit(dataclasses.replace(job, spec=spec))
    engine.poll(0.0)
    assert len(said.read_text().splitlines()) == 1  # the script
    lines = batch.read_text().splitlines()
    words = [shlex.split(line.removeprefix("#SBATCH "), comments=True) for line in lines if line.startswith("#SBATCH")]
    assert all(len(each) == 1 for each in words)
    options = dict(word.removeprefix("--").split("=", 1) for [word] in words if "=" in word)
    assert {option: options[option] for option in given} == given
    assert not {"wrap", "export"} & {word.removeprefix("--").partition("=")[0] for [word] in words}
    assert not [line for line in lines if "evil" in line and not line.startswith("#SBATCH --comment")]


def test_requests_are_no_part_of_a_run_s_key(write_suite: Callable[..., Path]) -> None:
    text = SUITE.replace("PAUSE", "0")
    one = api.load_suite(write_suite(text))
    other = api.load_suite(write_suite(text.replace("mem: 500M", "mem: 1G")))
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
