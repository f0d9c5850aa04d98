"""What a command does about each kind of fault: wait for the store, leave out one run, or say what is to be mended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchbench import api
from benchbench.runs.folder import RunFolder
from benchbench.scheduling import recorder
from benchbench.scheduling.recorder import Recorder, TrackingLostError
from benchbench.tracking import TrackingError
from benchbench.tracking.errors import Fault
from benchbench.values import RunResult, RunSpec
from tests.helpers.line_suite import SUITE as LINES
from tests.helpers.line_suite import kinds, mlflow_client, run_inline, tracked
from tests.tracking.commands import SPEC, SUITE, Command, active, result_of


@pytest.fixture(autouse=True)
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that are over at once."""
    monkeypatch.setattr(recorder.time, "sleep", lambda seconds: None)


class Recording:
    """A recorder over a real store, some calls to which fail as they are told to."""

    def __init__(self, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
        self.warnings: list[str] = []
        self.calls: list[str] = []
        self.faults: list[Fault | None] = []
        self.command = command
        self.recorder = Recorder(SUITE, "local", command.tracker, command.holder, self.warnings.append)
        for name in ("follow", "end_run"):
            monkeypatch.setattr(command.tracker, name, self._failing(name, getattr(command.tracker, name)))

    def _failing(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def failing(*arguments: Any) -> Any:
            self.calls.append(name)
            if self.faults and (fault := self.faults.pop(0)):
                raise TrackingError(f"it is {fault}", fault=fault)
            return call(*arguments)

        return failing

    def run(self, spec: RunSpec = SPEC, looks: int = 0, claim: int | None = None) -> RunResult:
        folder = RunFolder(self.command.runs / spec.key, claim)
        folder.prepare(spec)
        for _ in range(looks):
            self.recorder.follow(spec, folder)
        result = result_of(0.1, spec=spec).model_copy(update={"epochs": 0})
        folder.finish(result)
        self.recorder.end(spec, folder, result)
        return result


@pytest.fixture
def recording(command: Command, monkeypatch: pytest.MonkeyPatch) -> Recording:
    return Recording(command, monkeypatch)


OTHER = SPEC.model_copy(update={"seed": 1})


def keys(uri: str) -> list[str]:
    return sorted(run.data.tags["benchbench.key"] for run in active(uri))


def test_a_refusal_that_is_over_costs_nothing(recording: Recording, uri: str) -> None:
    recording.faults = ["run"]
    recording.run()
    recording.recorder.close(finished=True)
    assert [run.info.status for run in active(uri)] == ["FINISHED"]
    assert not recording.warnings


def test_a_run_that_is_refused_twice_is_given_up_and_leaves_nothing_half_written(
    recording: Recording, uri: str
) -> None:
    recording.faults = ["run", "run"]
    recording.run()
    recording.recorder.catch_up()
    recording.run(OTHER)
    with pytest.raises(TrackingLostError) as lost:
        recording.recorder.close(finished=True)
    assert str(lost.value) == (
        f"1 run will not be in the tracking store (it is run); all is in {recording.command.runs}, and tables read it "
        "from there"
    )
    assert recording.calls == ["end_run"] * 3
    assert keys(uri) == [OTHER.key]
    assert {run.info.status for run in active(uri, parents=True)} == {"FINISHED"}


def test_a_run_that_is_refused_while_it_trains_is_not_begun_again_and_again(recording: Recording, uri: str) -> None:
    recording.faults = ["run"]
    recording.run(looks=5)
    recording.recorder.close(finished=True)
    assert recording.calls == ["follow", "end_run"]
    assert [run.info.status for run in active(uri)] == ["FINISHED"]
    assert not recording.warnings


def test_a_store_that_is_away_is_asked_again_when_the_pause_is_over(
    recording: Recording, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(recorder.time, "monotonic", lambda: now[0])
    recording.faults = ["away", "away"]
    recording.run()
    recording.recorder.catch_up()
    assert recording.calls == ["end_run"]
    now[0] += 1.0
    recording.recorder.catch_up()
    now[0] += 1.0  # the pause has become two seconds
    recording.recorder.catch_up()
    assert recording.calls == ["end_run"] * 2
    now[0] += 1.0
    recording.recorder.catch_up()
    assert recording.calls == ["end_run"] * 3
    recording.recorder.close(finished=True)
    assert [run.info.status for run in active(uri)] == ["FINISHED"]
    assert recording.warnings == ["it is away; runs go on, and are written to it when it is back"]


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_run_that_was_taken_over_before_the_store_was_back_is_not_written(
    recording: Recording, uri: str, *, is_lost: bool
) -> None:
    number = recording.command.holder.claim(recording.command.runs / SPEC.key)
    assert number == 1
    recording.faults = ["away"]
    recording.run(claim=number)
    if is_lost:
        (recording.command.runs / SPEC.key / "claims" / "2").write_text("somebody else")
    recording.recorder.close(finished=True)
    assert recording.calls == ["end_run"] * (1 if is_lost else 2)
    # What was half-written when the store went away is the other command's to remove, when it ends the run.
    assert [run.info.status for run in active(uri)] == ["RUNNING" if is_lost else "FINISHED"]


def test_a_store_that_is_away_to_the_end_gets_all_from_the_same_command(recording: Recording, uri: str) -> None:
    recording.faults = ["away"] * 9
    recording.run()
    with pytest.raises(
        TrackingLostError, match=r"^1 run could not be written .*, and the same command writes it there$"
    ):
        recording.recorder.close(finished=True)
    assert recording.calls == ["end_run"] * 4  # at the end of the run, and three times at the end of the command


def test_a_store_that_will_not_work_is_left_alone_to_the_end(
    recording: Recording, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(0, 10**9, 1000))
    monkeypatch.setattr(recorder.time, "monotonic", lambda: float(next(now)))
    recording.faults = ["store"]
    recording.run(looks=3)
    recording.run(OTHER, looks=3)
    recording.recorder.catch_up()
    assert recording.calls == ["follow"]
    assert recording.warnings == ["it is store; runs go on, and stay in their folders"]
    recording.faults = ["store"]
    with pytest.raises(TrackingLostError) as lost:
        recording.recorder.close(finished=False)
    assert "2 runs could not be written" in str(lost.value)
    assert str(lost.value).endswith("; once that is mended (it is store), the same command writes it there")
    recording.recorder.close(finished=True)  # it was mended
    assert keys(uri) == sorted([SPEC.key, OTHER.key])


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("moment", ["epoch", "ended"])
def test_a_run_that_somebody_deletes_meanwhile_in_mlflow_is_written_again(
    moment: str, write_suite: Callable[..., Path]
) -> None:
    path = write_suite(LINES.replace("[0, 1]", "[0]"))
    warnings: list[str] = []

    def delete(event: Any) -> None:
        if event.kind == moment:
            for run in tracked():
                mlflow_client().delete_run(run.info.run_id)

    api.run(path, engine="inline", observe=delete, warn=warnings.append)
    rows, events = run_inline(path)
    assert kinds(events).count("started") == 0
    assert [row.result.outcome for row in rows if row.result] == ["finished"] * 2
    assert [run.info.status for run in tracked()] == ["FINISHED"] * 2
    assert not warnings


ONE = LINES.replace("[0, 1]", "[0]").replace("  AdamW: {optimizer: adamw, lr: 0.01}\n", "")


def test_work_in_another_folder_is_said_before_a_run_is_started(
    command: Command, uri: str, write_suite: Callable[..., Path]
) -> None:
    path = write_suite(ONE)
    [spec] = api.load_suite(path).specs
    at_work = command.begin(spec)
    warnings: list[str] = []
    rows, events = run_inline(path, warn=warnings.append)
    assert kinds(events).count("started") == 1
    assert warnings == [
        "by the tracking store, a command in another folder is at work on 1 run of these too, or was when it was "
        "killed; of the results of each, the store keeps one"
    ]
    assert command.end(at_work, result_of(0.9, spec=spec)) == rows[0].result
    assert len(active(uri)) == 1


def test_work_of_another_command_in_the_same_folder_is_waited_for_and_not_called_elsewhere(
    uri: str, write_suite: Callable[..., Path], workplace: Path
) -> None:
    path = write_suite(ONE)
    [spec] = api.load_suite(path).specs
    killed = Command(uri, workplace / ".benchbench/runs")
    killed.tracker.follow(killed.begin(spec))
    killed.leave()
    warnings: list[str] = []
    rows, _ = run_inline(path, warn=warnings.append)
    assert rows[0].result is not None
    assert not warnings
    assert [run.info.status for run in active(uri)] == ["FINISHED"]
    assert {run.info.status for run in active(uri, parents=True)} == {"KILLED", "FINISHED"}


def test_a_command_shows_the_result_that_the_store_keeps(
    command: Command, uri: str, write_suite: Callable[..., Path]
) -> None:
    path = write_suite(ONE)
    suite = api.load_suite(path)
    warnings: list[str] = []

    def be_faster(event: Any) -> None:
        if event.kind == "started":
            command.end(command.begin(event.spec), result_of(0.9, spec=event.spec))

    rows = api.run(suite, engine="inline", observe=be_faster, warn=warnings.append)
    assert [row.result for row in rows] == [result_of(0.9, spec=suite.specs[0])]
    assert api.rows(suite) == rows
    assert warnings == [
        "1 run had been made in another folder meanwhile; the tracking store keeps, and tables show, that folder's "
        "results"
    ]
    assert len(active(uri)) == 1


def test_an_attempt_that_fails_is_shown_though_the_store_keeps_an_answer(
    command: Command, uri: str, write_suite: Callable[..., Path]
) -> None:
    path = write_suite(ONE.replace("STUBS:line", "STUBS:failing").replace(", steps: 4", ""))
    suite = api.load_suite(path)
    command.end(command.begin(suite.specs[0]), result_of(0.9, spec=suite.specs[0]))
    warnings: list[str] = []
    rows = api.run(suite, engine="inline", force=True, warn=warnings.append)
    assert [row.result and row.result.outcome for row in rows] == ["failed"]
    assert [row.result and row.result.outcome for row in api.rows(suite)] == ["finished"]
    assert not warnings
