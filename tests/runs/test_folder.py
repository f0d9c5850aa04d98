"""The folder of a run: whose it is, what stays of an earlier attempt, and what is private."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchbench.runs import claims
from benchbench.runs.checkpoint import save_tensors
from benchbench.runs.folder import RunFolder, Tail
from benchbench.values import EpochRecord, RunResult, Submission
from tests.training.test_trainer import spec

SPEC = spec(epochs=3)
RECORDS = [EpochRecord(epoch=n, metrics={"test/accuracy": 0.1 * n}, cost={}) for n in (1, 2, 3)]


def test_everything_in_it_is_its_owners_alone(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.path.chmod(0o755)
    before = os.umask(0)
    try:
        folder.prepare(SPEC)
        folder.append(RECORDS[0])
        folder.checkpoints.save(1, {"a": 1})
        folder.finish(RunResult(key="k", outcome="failed"))
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (folder.path, *folder.path.rglob("*"))}
    assert len(modes) == 6
    assert all(mode & 0o077 == 0 for mode in modes.values()), modes


def test_an_attempt_begins_without_what_an_earlier_one_has_left_but_its_checkpoints(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.prepare(SPEC)
    folder.append(RECORDS[0])
    folder.log_file.write_text("earlier")
    save_tensors(folder.weights_file, {"w": 1})
    folder.checkpoints.save(4, {"a": 1})
    folder.finish(RunResult(key="k", outcome="crashed"))
    folder.prepare(SPEC)
    assert {path.name for path in folder.path.iterdir()} == {"spec.json", "checkpoints"}
    assert folder.checkpoints.latest_steps() == 4


@pytest.mark.parametrize(("outcome", "left"), [("finished", 0), ("diverged", 0), ("crashed", 4), ("interrupted", 4)])
def test_checkpoints_stay_as_long_as_they_have_a_use(tmp_path: Path, outcome: str, left: int) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.prepare(SPEC)
    folder.checkpoints.save(4, {"a": 1})
    folder.finish(RunResult(key="k", outcome=outcome))  # type: ignore[arg-type]
    assert folder.checkpoints.latest_steps() == left


def test_what_was_handed_over_is_written_by_whoever_has_it(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with claims.Holder(tmp_path) as holder:
        number = holder.claim(folder.path)
        assert folder.as_claimed().claim == number
        folder.submit(Submission(engine="slurm", job="1", submitted_at=""))
        assert folder.as_claimed().claim is None


def test_epochs_are_shown_once_though_an_attempt_writes_them_again(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.prepare(SPEC)
    tail = Tail(folder)
    for record in RECORDS[:2]:
        folder.append(record)
    assert tail.new() == RECORDS[:2]
    assert tail.new() == []
    folder.rewind(RECORDS[:1])
    assert tail.new() == []
    for record in RECORDS[1:]:
        folder.append(record)
    assert tail.new() == RECORDS[2:]


def test_a_line_that_is_being_written_does_not_count_yet(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.prepare(SPEC)
    folder.append(RECORDS[0])
    folder.append(RECORDS[1])
    whole = folder.metrics_file.read_bytes()
    folder.metrics_file.write_bytes(whole[:-1])
    tail = Tail(folder)
    assert tail.new() == RECORDS[:1]
    folder.metrics_file.write_bytes(whole)
    assert tail.new() == RECORDS[1:2]


@pytest.mark.parametrize("lines", [1, 3, 100])
def test_the_end_of_a_log_is_its_last_lines(tmp_path: Path, lines: int) -> None:
    folder = RunFolder(tmp_path)
    assert folder.log_tail(lines) == ""
    every = [f"line {number}" for number in range(20_000)]
    folder.log_file.write_text("\n".join(every))
    assert folder.log_tail(lines).splitlines() == every[-lines:]
