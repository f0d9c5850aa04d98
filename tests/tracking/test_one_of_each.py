"""Commands in several folders write the same runs to one store: of each, one remains, and all agree on it."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from benchbench.runs.folder import RunFolder
from benchbench.tracking import Tracker
from benchbench.values import Outcome, RunResult
from tests.tracking.commands import SPEC, Command, InTurns, KilledError, Turns, active, result_of

SEEDS = range(8)


@pytest.fixture
def commands(uri: str, tmp_path: Path) -> Iterator[list[Command]]:
    """Three commands in folders of their own."""
    made = [Command(uri, tmp_path / f"runs-{number}") for number in range(3)]
    yield made
    for command in made:
        command.leave()


def race(commands: list[Command], results: list[RunResult], seed: int, lives: list[int]) -> list[RunResult | None]:
    """End a run in every folder, in turns; return what each command takes for its result, `None` if it was killed."""
    turns = Turns(len(commands), seed)
    given: list[RunResult | None] = [None] * len(commands)
    begun = [command.begin() for command in commands]

    def end(number: int) -> None:
        store = commands[number].tracker._store
        store.__dict__["client"] = InTurns(store.client, turns, number, lives[number])
        try:
            given[number] = commands[number].end(begun[number], results[number])
        except KilledError:
            pass
        finally:
            turns.leave()

    threads = [threading.Thread(target=end, args=(number,)) for number in range(len(commands))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return given


def outcomes(chance: random.Random) -> list[RunResult]:
    kinds: tuple[Outcome, ...] = ("finished", "finished", "diverged", "failed", "interrupted")
    return [result_of(number / 10, chance.choice(kinds)) for number in range(3)]


@pytest.mark.parametrize("seed", SEEDS)
def test_whoever_comes_first_one_run_remains_and_all_agree_on_it(seed: int, commands: list[Command], uri: str) -> None:
    results = outcomes(random.Random(seed))
    given = race(commands, results, seed, [1000] * 3)
    [run] = active(uri)
    kept = Tracker(uri).results([SPEC])[SPEC.key]
    assert kept in results
    assert kept.conclusive is any(result.conclusive for result in results)
    assert run.data.metrics["final/test/accuracy"] == kept.final["test/accuracy"]
    assert run.info.status == {"finished": "FINISHED", "diverged": "FINISHED", "interrupted": "KILLED"}.get(
        kept.outcome, "FAILED"
    )
    assert kept in given
    kept_files = MlflowClient(uri).list_artifacts(run.info.run_id)
    assert {"spec.json", "metrics.jsonl", "result.json"} <= {file.path for file in kept_files}


@pytest.mark.parametrize("seed", SEEDS)
def test_commands_that_are_killed_at_any_call_leave_one_run_after_the_next_ones(
    seed: int, commands: list[Command], uri: str, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    results = [result_of(number / 10) for number in range(3)]
    given = race(commands, results, seed, [chance.randrange(8) for _ in commands])
    shown = Tracker(uri).results([SPEC]).get(SPEC.key)
    assert all(shown is not None for result in given if result is not None)
    for number, command in enumerate(commands):  # the next command in every folder
        command.leave()
        commands[number] = again = Command(uri, tmp_path / f"runs-{number}")
        found = again.tracker.results([SPEC])
        assert found.get(SPEC.key) == shown
        again.tracker.clean(again.holder.has_outlived)
    runs = active(uri)
    assert len(runs) == (shown is not None)
    assert {run.info.status for run in active(uri, parents=True)} == {"KILLED"}
    assert all(run.info.status == "FINISHED" and run.info.end_time for run in runs)
    assert Tracker(uri).results([SPEC]).get(SPEC.key) == shown


@pytest.mark.parametrize("days", [(0, 1, 2), (0, -1, -2), (1, -1, 0), (0, 0, 0)])
def test_what_is_run_again_replaces_what_was_known_whatever_the_clocks_say(
    days: tuple[int, ...], commands: list[Command], uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time
    for number, command in enumerate(commands):
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr("time.time", lambda: now() + 86_400 * days[number])  # noqa: B023 - called in this round
            assert command.run(result_of(number / 10)) == result_of(number / 10)
        assert Tracker(uri).results([SPEC]) == {SPEC.key: result_of(number / 10)}
        assert len(active(uri)) == 1


def test_of_runs_made_at_the_same_time_the_first_to_end_stays_and_the_others_show_it(
    commands: list[Command], uri: str
) -> None:
    late, early, broken = (command.begin() for command in commands)
    assert commands[1].end(early, result_of(0.1)) == result_of(0.1)
    assert commands[0].end(late, result_of(0.2)) == result_of(0.1)
    assert commands[2].end(broken, result_of(0.3, "failed")) == result_of(0.1)
    assert [run.info.run_id for run in active(uri)] == [early.info.run_id]


@pytest.mark.parametrize("outcome", ["interrupted", "failed", "crashed", "timeout"])
def test_an_attempt_that_ends_without_an_answer_does_not_replace_one(
    outcome: Outcome, commands: list[Command], uri: str, tmp_path: Path
) -> None:
    commands[0].run(result_of(0.1))
    commands[1].run(result_of(0.2, outcome))
    assert len(active(uri)) == 1
    assert Tracker(uri).results([SPEC]) == {SPEC.key: result_of(0.1)}
    Tracker(uri).fetch(SPEC.key, ["result.json"], tmp_path)
    assert (tmp_path / "result.json").read_text().count("finished") == 1


def test_a_later_run_without_an_answer_that_is_still_there_hides_no_answer(
    commands: list[Command], uri: str, tmp_path: Path
) -> None:
    commands[0].run(result_of(0.1))
    later = commands[1].begin()
    commands[1].tracker._store.__dict__["client"] = InTurns(commands[1].tracker._store.client, Turns(1, 0), 0, 2)
    with pytest.raises(KilledError):  # before it can look for others
        commands[1].end(later, result_of(0.2, "failed"))
    assert len(active(uri)) == 2
    for specs in ([SPEC], [SPEC, SPEC.model_copy(update={"seed": 9})]):
        assert Tracker(uri).results(specs) == {SPEC.key: result_of(0.1)}
    Tracker(uri).fetch(SPEC.key, ["result.json"], tmp_path)
    assert '"finished"' in (tmp_path / "result.json").read_text()


def test_a_run_that_is_at_work_in_another_folder_is_left_alone_and_shown_to_nobody(
    commands: list[Command], uri: str, tmp_path: Path
) -> None:
    at_work = commands[1].begin()
    commands[1].tracker.follow(at_work)
    commands[0].run(result_of(0.1))
    assert {run.info.status for run in active(uri)} == {"RUNNING", "FINISHED"}
    reader = Tracker(uri)
    assert reader.results([SPEC]) == {SPEC.key: result_of(0.1)}
    assert reader.running([SPEC.key]) == {SPEC.key: commands[1].holder.name}
    commands[0].tracker.results([SPEC])
    commands[0].tracker.clean(commands[0].holder.has_outlived)
    assert at_work.info.run_id in {run.info.run_id for run in active(uri)}
    neighbour = Command(uri, tmp_path / "runs-1")  # of a command that lives
    neighbour.tracker.results([SPEC])
    neighbour.tracker.clean(neighbour.holder.has_outlived)
    assert at_work.info.run_id in {run.info.run_id for run in active(uri)}
    assert {run.info.status for run in active(uri, parents=True)} == {"RUNNING"}
    neighbour.leave()
    commands[1].end(at_work, result_of(0.2))
    assert len(active(uri)) == 1


def test_a_run_that_has_ended_since_it_was_listed_is_not_what_a_dead_command_has_left(
    commands: list[Command], uri: str, tmp_path: Path
) -> None:
    neighbour = Command(uri, tmp_path / "runs-0")
    at_work = commands[0].begin()
    neighbour.tracker.results([SPEC])
    commands[0].end(at_work, result_of(0.1))
    commands[0].leave()
    neighbour.tracker.clean(neighbour.holder.has_outlived)
    neighbour.leave()
    assert Tracker(uri).results([SPEC]) == {SPEC.key: result_of(0.1)}


def test_what_a_killed_command_was_writing_is_removed_by_who_runs_it_again(
    commands: list[Command], uri: str, tmp_path: Path
) -> None:
    commands[0].tracker.follow(commands[0].begin())
    commands[0].leave()
    again = Command(uri, tmp_path / "runs-0")
    again.run(result_of(0.1))
    again.leave()
    assert [run.info.status for run in active(uri)] == ["FINISHED"]


def test_what_is_added_to_a_run_does_not_change_when_it_ended(
    commands: list[Command], uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands[0].run(result_of(0.1))
    [before] = active(uri)
    added = commands[0].tracker.trained_run(
        SPEC.model_copy(update={"measure": ("sharpness",)}), RunFolder(commands[0].runs / SPEC.key)
    )
    assert added is not None
    now = time.time
    monkeypatch.setattr("time.time", lambda: now() + 100)
    commands[0].tracker.end_run(added, result_of(0.1))
    [after] = active(uri)
    assert (after.info.run_id, after.info.end_time) == (before.info.run_id, before.info.end_time)


def test_a_run_to_which_something_was_to_be_added_stays_when_that_is_given_up(
    commands: list[Command], uri: str
) -> None:
    commands[0].run(result_of(0.1))
    asking = SPEC.model_copy(update={"measure": ("sharpness",)})
    added = commands[0].tracker.trained_run(asking, RunFolder(commands[0].runs / SPEC.key))
    assert added is not None
    commands[0].tracker.discard_run(added)
    assert [run.info.run_id for run in active(uri)] == [added.info.run_id]
