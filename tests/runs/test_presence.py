"""Runs of one machine know of each other, whatever command has started them."""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from benchbench.runs.folder import RunFolder
from benchbench.runs.presence import PRESENCE_DIR, present
from benchbench.training.trainer import run_in_folder
from tests.training.test_trainer import CPU, spec


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(PRESENCE_DIR, str(tmp_path / "presence"))
    return tmp_path / "presence"


def stay(folder: str, orders: Connection) -> None:
    os.environ[PRESENCE_DIR] = folder
    with present("cpu") as most:
        orders.send("here")
        orders.recv()
        orders.send(most())


def test_each_knows_how_many_there_were_at_a_time(folder: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    other = context.Process(target=stay, args=(str(folder), theirs))
    other.start()
    assert ours.recv() == "here"
    with present("cpu") as most, present("cuda-0") as elsewhere:
        assert (most(), elsewhere()) == (2, 1)
    ours.send("go")
    assert ours.recv() == 2
    other.join()
    with present("cpu") as most:
        assert most() == 1


def test_the_dead_are_not_counted(folder: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    other = context.Process(target=stay, args=(str(folder), theirs))
    other.start()
    assert ours.recv() == "here"
    assert other.pid is not None
    os.kill(other.pid, signal.SIGKILL)
    other.join()
    with present("cpu") as most:
        assert most() == 1


def test_a_folder_that_cannot_be_used_stops_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(PRESENCE_DIR, str(tmp_path / "file" / "under"))
    with present("cpu") as most:
        assert most() == 1


def test_a_result_says_that_runs_of_other_commands_were_at_work(tmp_path: Path) -> None:
    def environment(name: str) -> dict[str, str]:
        files = RunFolder(tmp_path / name)
        files.prepare(spec(epochs=1))
        return run_in_folder(spec(epochs=1), CPU, files).environment

    assert "other_commands_runs" not in environment("alone")
    with present("cpu"):
        assert environment("beside")["other_commands_runs"] == "1"
