"""What plugins do to the processes that they run in, and to the folders of runs."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from benchbench import api
from benchbench.engines import FORK_SERVER, Job, local
from benchbench.engines.local import LocalEngine
from benchbench.engines.slots import cpu_slots
from benchbench.processes.state import process_state_kept
from benchbench.runs import claims
from benchbench.runs.folder import RunFolder
from benchbench.runs.presence import present
from benchbench.scheduling.runner import ATTEMPTS, Event, Runner
from benchbench.tracking import Tracker
from benchbench.values import RunResult
from tests.conftest import benchbench, processes_where, wait_for
from tests.engines.conftest import make_job
from tests.faults.conftest import MISBEHAVING
from tests.helpers.line_suite import SUITE, kinds, run_inline, tracked

ONE = SUITE.replace("seeds: [0, 1]", "seeds: [0]").replace("  AdamW: {optimizer: adamw, lr: 0.01}\n", "")

WAYS = ["folder", "mask", "signals", "environment", "streams", "descriptors"]


def rude(*ways: str) -> str:
    """Return the suite of lines with workloads in addition that change their process."""
    extra = "".join(
        f'  {way}: {{workload: "{MISBEHAVING}:rude", what: {way}, epochs: 3, batch_size: 8}}\n' for way in ways
    )
    return ONE.replace("methods:", f"{extra}methods:")


@pytest.mark.parametrize("engine", ["inline", pytest.param("local", marks=pytest.mark.slow)])
def test_what_plugins_change_of_their_process_is_survived(
    engine: str, workplace: Path, write_suite: Callable[..., Path]
) -> None:
    """In a command of its own, where standard streams are real; each run must give what the calm one gives."""
    done = benchbench("run", str(write_suite(rude(*WAYS))), "--engine", engine, "--slots", "1", cwd=workplace)
    assert done.returncode == 0, done.stderr
    assert all(way in done.stdout for way in WAYS), done.stdout
    assert "Traceback" not in done.stderr
    rows = api.rows(api.load_suite("suite.yaml"))
    assert {row.result.outcome for row in rows if row.result} == {"finished"}
    assert len({str(row.result.final) for row in rows if row.result}) == 1
    assert len(tracked()) == len(WAYS) + 1
    folders = [RunFolder(Path(".benchbench/runs", row.spec.key)) for row in rows]
    assert [len(folder.records()) for folder in folders] == [3] * len(folders)
    assert {folder.metrics_file.stat().st_mode & 0o777 for folder in folders} == {0o600}


def test_the_state_of_a_process_is_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "kept")
    monkeypatch.setenv("PLUGINS_OWN", "old")
    before = Path.cwd(), signal.getsignal(signal.SIGINT), os.umask(0o022)
    with pytest.raises(ZeroDivisionError), process_state_kept():
        os.chdir(tmp_path)
        os.umask(0o777)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.environ.update(MLFLOW_TRACKING_URI="changed", BENCHBENCH_NEW="x", PLUGINS_OWN="new")
        print(1 / 0)
    assert (Path.cwd(), signal.getsignal(signal.SIGINT)) == before[:2]
    assert os.umask(before[2]) == 0o022
    assert os.environ["MLFLOW_TRACKING_URI"] == "kept"
    assert "BENCHBENCH_NEW" not in os.environ
    assert os.environ["PLUGINS_OWN"] == "new"


@pytest.mark.parametrize("times", [1, 99])
def test_a_run_whose_folder_disappears_is_tried_as_often_as_one_that_dies(
    times: int, workplace: Path, write_suite: Callable[..., Path]
) -> None:
    settings = f"runs: {workplace}/.benchbench/runs, marker: {workplace}/marker, times: {times}"
    text = ONE.replace("STUBS:line", f"{MISBEHAVING}:vanishing").replace("steps: 4", settings)
    rows, events = run_inline(write_suite(text))
    [result] = [row.result for row in rows]
    assert result is not None
    happened = [kind for kind in kinds(events) if kind not in ("epoch", "planned")]
    if times == 1:
        assert (result.outcome, happened) == ("finished", ["started", "retried", "ended"])
    else:
        assert happened == ["started", *["retried"] * (ATTEMPTS - 1), "ended"]
        assert result.outcome == "crashed"
        assert f"{rows[0].spec.key}, has disappeared" in result.message
    assert RunFolder(Path(".benchbench/runs", rows[0].spec.key)).result() == result
    [run] = tracked()
    assert run.info.status == ("FINISHED" if times == 1 else "FAILED")


class Scripted:
    """An engine whose runs end as a script says: for each start of a run, what it ends with."""

    name, capacity = "local", 2

    def __init__(self, script: Callable[[Job, int], RunResult]) -> None:
        self.started: list[Job] = []
        self._script = script
        self._ended: list[RunResult] = []

    def submit(self, job: Job) -> None:
        self.started.append(job)
        job.folder.prepare(job.spec)
        result = self._script(job, sum(job.spec.key == each.spec.key for each in self.started))
        job.folder.finish(result)
        self._ended.append(result)

    def poll(self, seconds: float) -> Sequence[RunResult]:
        ended, self._ended = self._ended, []
        return ended

    def stop(self, *, at_once: bool = False) -> None:
        pass


def perform(path: Path, engine: Scripted) -> tuple[Runner, list[Event]]:
    events: list[Event] = []
    suite = api.load_suite(path)
    runner = Runner(suite, engine, Tracker(), Path(".benchbench/runs"), Path("data"), events.append)
    runner.run()
    return runner, events


@pytest.mark.usefixtures("workplace")
def test_a_server_that_is_killed_uses_up_no_attempt_of_its_runs(write_suite: Callable[..., Path]) -> None:
    """The first run kills it whenever it runs; the others die with it unless it is alone."""

    def script(job: Job, start: int) -> RunResult:
        guilty = job.spec.seed == 0 and job.spec.method == "SGD"
        if guilty or not job.alone:
            lost = {FORK_SERVER: "killed"}
            return RunResult(key=job.spec.key, outcome="crashed", message="server", environment=lost)
        return RunResult(key=job.spec.key, outcome="finished")

    engine = Scripted(script)
    runner, _ = perform(write_suite(SUITE), engine)
    outcomes = [runner.results[spec.key].outcome for spec in runner.suite.specs]
    assert sorted(outcomes) == ["crashed", "finished", "finished", "finished"]
    starts = [sum(spec.key == job.spec.key for job in engine.started) for spec in runner.suite.specs]
    assert sorted(starts) == [3, 3, 3, 2 + ATTEMPTS]
    assert [job.alone for job in engine.started[:4]] == [""] * 4


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("deaths", [ATTEMPTS - 1, ATTEMPTS, ATTEMPTS + 1])
def test_a_run_is_started_so_often_and_no_more(deaths: int, write_suite: Callable[..., Path]) -> None:
    def script(job: Job, start: int) -> RunResult:
        return RunResult(key=job.spec.key, outcome="crashed" if start <= deaths else "finished")

    engine = Scripted(script)
    runner, events = perform(write_suite(ONE), engine)
    assert len(engine.started) == min(deaths + 1, ATTEMPTS)
    assert kinds(events).count("retried") == len(engine.started) - 1
    assert runner.results[runner.suite.specs[0].key].outcome == ("finished" if deaths < ATTEMPTS else "crashed")


@pytest.mark.usefixtures("workplace")
def test_a_run_that_others_take_over_and_leave_is_not_started_for_ever(write_suite: Callable[..., Path]) -> None:
    def script(job: Job, start: int) -> RunResult:
        number = claims.current(job.folder.path)
        (job.folder.path / "claims" / str(number + 1)).write_text("a command that is dead by now")
        return RunResult(key=job.spec.key, outcome="finished")

    engine = Scripted(script)
    runner, events = perform(write_suite(ONE), engine)
    assert len(engine.started) == ATTEMPTS
    [result] = runner.results.values()
    assert result.outcome == "crashed"
    assert "other commands have taken it over" in result.message
    assert kinds(events)[-1] == "ended"


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("written", [False, True])
def test_interrupted_before_a_run_was_started_report_and_disk_agree(
    write_suite: Callable[..., Path], *, written: bool
) -> None:
    def script(job: Job, start: int) -> RunResult:
        if written:
            job.folder.finish(RunResult(key=job.spec.key, outcome="interrupted", message="after 3 steps"))
        raise KeyboardInterrupt

    path = write_suite(ONE)
    with pytest.raises(KeyboardInterrupt):
        perform(path, Scripted(script))
    suite = api.load_suite(path)
    [row] = api.rows(suite)
    assert row.result == RunFolder(Path(".benchbench/runs", row.spec.key)).result()
    assert [run.info.status for run in tracked()] == ["KILLED"] * written
    assert (row.result is not None) == written
    with claims.Holder(Path(".benchbench/runs")) as other:
        assert other.claim(Path(".benchbench/runs", row.spec.key)) == 2


def workers(runs: Path) -> list[int]:
    return processes_where(lambda entry: (entry / "fd" / "1").readlink().is_relative_to(runs))


def test_a_run_whose_start_was_broken_off_does_not_go_on_unseen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = local._process

    def broken_off(*arguments: object) -> None:
        started(*arguments)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(local, "_process", broken_off)
    engine = LocalEngine(cpu_slots(1, cores=1))
    hanging = make_job(tmp_path / "runs", "line", parameters={"pause": 60})
    with pytest.raises(KeyboardInterrupt):
        engine.submit(hanging)
    wait_for(lambda: workers(tmp_path))
    engine.stop()
    wait_for(lambda: not workers(tmp_path))
    assert hanging.folder.result() is None


def test_a_command_says_that_others_use_the_cores_too(workplace: Path, write_suite: Callable[..., Path]) -> None:
    said: list[str] = []
    path = write_suite(ONE)
    with present("cpu"):
        run_inline(path, warn=said.append)
    assert [line.partition(":")[0] for line in said] == ["other commands have 1 run at work on this machine"]
    said.clear()
    run_inline(path, warn=said.append, force=True)
    assert said == []
