"""What a command does when its runs end, die or are taken from it, by an engine that does what it is told to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from benchbench.engines import Job
from benchbench.runs.claims import current
from benchbench.runs.folder import RunFolder
from benchbench.scheduling import recorder
from benchbench.scheduling.runner import ATTEMPTS, Event, Runner
from benchbench.tracking import Tracker, TrackingError
from benchbench.values import Cost, EpochRecord, RunResult
from tests.helpers.line_suite import kinds, mlflow_client, tracked
from tests.tracking.commands import SPEC, SUITE, result_of

Act = Callable[[Job], RunResult | None]


class Scripted:
    """An engine with a place for one run, which does at each poll what comes next."""

    name = "scripted"

    def __init__(self, *script: Act) -> None:
        self.script = list(script)
        self.submitted: list[Job] = []
        self.stopped = False

    @property
    def capacity(self) -> int:
        return 1

    def submit(self, job: Job) -> None:
        self.submitted.append(job)
        job.folder.prepare(job.spec)

    def poll(self, seconds: float) -> Sequence[RunResult]:
        result = self.script.pop(0)(self.submitted[-1]) if self.script else None
        return [result] if result else []

    def stop(self, *, at_once: bool = False) -> None:
        self.stopped = True


def run(engine: Scripted) -> tuple[Runner, list[Event]]:
    events: list[Event] = []
    runner = Runner(SUITE, engine, Tracker(), Path("runs"), Path("data"), events.append, keep_stale=True)
    runner.run()
    return runner, events


def finish(value: float) -> Act:
    def act(job: Job) -> RunResult:
        result = result_of(value).model_copy(update={"epochs": len(job.folder.records())})
        job.folder.finish(result)
        return result

    return act


def train(job: Job) -> None:
    job.folder.append(EpochRecord(epoch=1, metrics={"validation/loss": 0.5}, cost=Cost(steps=3)))


def crash(job: Job) -> RunResult:
    return RunResult(key=job.spec.key, outcome="crashed", message="it is dead")


def take_over(result: RunResult | None) -> Callable[[Job], None]:
    """Do what another command does that has taken a run over, for this one had been silent, and has let it go."""

    def act(job: Job) -> None:
        number = current(job.folder.path) + 1
        if result is not None:
            RunFolder(job.folder.path).finish(result)
        (job.folder.path / "claims" / str(number)).write_text("free")

    return act


def interrupt(job: Job) -> RunResult:
    raise KeyboardInterrupt


def both(first: Act, second: Act) -> Act:
    def act(job: Job) -> RunResult | None:
        first(job)
        return second(job)

    return act


@pytest.mark.usefixtures("workplace")
def test_a_run_that_was_taken_over_is_the_other_ones_to_tell_about() -> None:
    theirs = result_of(0.9)
    engine = Scripted(train, both(take_over(theirs), lambda job: result_of(0.1)))
    runner, events = run(engine)
    assert kinds(events) == ["planned", "started", "epoch", "waiting", "epoch", "ended"]
    assert runner.results == {SPEC.key: theirs}
    assert Tracker().results([SPEC]) == {SPEC.key: theirs}
    assert [run.info.status for run in tracked()] == ["FINISHED"]
    assert len(engine.submitted) == 1


@pytest.mark.usefixtures("workplace")
def test_a_run_that_was_taken_over_and_dropped_is_run_again() -> None:
    engine = Scripted(both(take_over(None), lambda job: result_of(0.1)), train, finish(0.2))
    runner, events = run(engine)
    assert kinds(events) == ["planned", "started", "waiting", "started", "epoch", "ended"]
    assert [job.folder.claim for job in engine.submitted] == [1, 3]
    assert runner.results[SPEC.key].final == {"test/accuracy": 0.2}
    assert len(tracked()) == 1


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("is_lost", [False, True])
def test_an_interrupted_command_tells_about_the_runs_that_are_still_its_own(*, is_lost: bool) -> None:
    engine = Scripted(train, both(take_over(None), lambda job: None) if is_lost else lambda job: None, interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(engine)
    assert engine.stopped
    assert [run.data.tags["benchbench.outcome"] for run in tracked()] == ([] if is_lost else ["interrupted"])
    assert (RunFolder(Path("runs") / SPEC.key).result() is None) is is_lost
    [parent] = [
        run
        for run in mlflow_client().search_runs([mlflow_client().get_experiment_by_name("lines").experiment_id])
        if "benchbench.key" not in run.data.tags
    ]
    assert parent.info.status == "KILLED"


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("deaths", range(ATTEMPTS + 1))
def test_a_run_that_dies_is_started_three_times_in_all(deaths: int) -> None:
    assert ATTEMPTS == 3
    runner, events = run(Scripted(*[crash] * deaths, finish(0.1)))
    is_given_up = deaths == ATTEMPTS
    assert kinds(events).count("retried") == min(deaths, ATTEMPTS - 1)
    assert kinds(events).count("started") == kinds(events).count("ended") == 1
    assert runner.results[SPEC.key].outcome == ("crashed" if is_given_up else "finished")
    assert [run.data.tags["benchbench.outcome"] for run in tracked()] == ["crashed" if is_given_up else "finished"]


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("moment", range(1, 8))
def test_whichever_call_to_the_store_fails_all_that_a_run_has_written_arrives(
    moment: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    calls = []

    def failing(name: str) -> None:
        called = getattr(SqlAlchemyStore, name)

        def call(*arguments: object, **options: object) -> object:
            calls.append(name)
            if len(calls) == moment:
                raise MlflowException("not now", TEMPORARILY_UNAVAILABLE)
            return called(*arguments, **options)

        monkeypatch.setattr(SqlAlchemyStore, name, call)

    ticks = iter(range(0, 10**9, 1000))
    monkeypatch.setattr(recorder.time, "monotonic", lambda: float(next(ticks)))
    monkeypatch.setattr(recorder.time, "sleep", lambda seconds: None)

    def record(epoch: int) -> Act:
        return lambda job: job.folder.append(EpochRecord(epoch=epoch, metrics={"loss": 1 / epoch}, cost=Cost()))

    done = result_of(0.1).model_copy(update={"epochs": 3})

    def end(job: Job) -> RunResult:
        job.folder.finish(done)
        return done

    tracker = Tracker()
    tracker.results([SPEC.model_copy(update={"seed": 9})])
    for name in ("create_run", "log_batch", "update_run_info", "search_runs"):
        failing(name)
    events: list[Event] = []
    runner = Runner(
        SUITE,
        Scripted(record(1), record(2), record(3), end),
        tracker,
        Path("runs"),
        Path("data"),
        events.append,
        keep_stale=True,
    )
    try:
        runner.run()
    except TrackingError:  # the first calls are those of a store that does not answer at the start
        assert kinds(events) in ([], ["planned"])
        runner.run()
    assert len(calls) >= moment
    [found] = tracked()
    history = mlflow_client().get_metric_history(found.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(1, 1.0), (2, 1 / 2), (3, 1 / 3)]
    assert found.info.status == "FINISHED"
    assert found.data.params["seed"] == "0"
