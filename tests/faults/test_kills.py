"""Processes that are killed, and commands that are stopped."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchbench import api
from benchbench.engines.local import LocalEngine
from benchbench.engines.slots import cpu_slots
from benchbench.scheduling.runner import Event
from tests.conftest import benchbench, processes_where, wait_for
from tests.engines.conftest import make_job
from tests.faults.conftest import MISBEHAVING, TRIALS
from tests.helpers.line_suite import SLOW, SUITE, kill_midway, kinds, start, tracked

QUICK = SLOW.replace("pause: 0.1", "pause: 0.02")


def workers(runs: Path) -> list[int]:
    """Return the processes of runs: those that print to a log below this folder."""
    return processes_where(lambda entry: (entry / "fd" / "1").readlink().is_relative_to(runs))


def kill_some(runs: Path, chance: random.Random, kills: int, over: threading.Event) -> None:
    """Kill a random worker at a random moment, some times."""
    while kills and not over.is_set():
        time.sleep(chance.uniform(0.0, 0.3))
        if alive := workers(runs):
            try:
                os.kill(chance.choice(alive), signal.SIGKILL)
            except ProcessLookupError:
                continue
            kills -= 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(TRIALS))
def test_workers_are_killed_at_random_moments(
    seed: int, workplace: Path, write_suite: Callable[..., Path], assert_undisturbed: Callable[[Path], None]
) -> None:
    path = write_suite(QUICK)
    over = threading.Event()
    # Two kills: a run may die three times, and both may hit the same one.
    killer = threading.Thread(target=kill_some, args=(workplace, random.Random(seed), 2, over))
    events: list[Event] = []
    killer.start()
    try:
        api.run(path, slots=2, observe=events.append)
    finally:
        over.set()
        killer.join()
    assert kinds(events).count("ended") == 4
    assert_undisturbed(path)


def kill_one_or_none(runs: Path, chance: random.Random) -> None:
    for worker in workers(runs)[: chance.randint(0, 1)]:
        os.kill(worker, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(TRIALS // 6))
def test_commands_and_workers_are_killed_at_random_moments(
    seed: int, workplace: Path, write_suite: Callable[..., Path], assert_undisturbed: Callable[[Path], None]
) -> None:
    chance = random.Random(seed)
    path = write_suite(SLOW)
    for _ in range(2):
        kill_midway(path, workplace, chance.uniform(0.0, 0.8), before=lambda: kill_one_or_none(workplace, chance))
    assert benchbench("run", str(path), cwd=workplace).returncode == 0
    assert_undisturbed(path)


def parent_of(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def runs_code(process: int) -> bool:
    """Whether a process lives, and has not merely been left in the table by a parent who does not look."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
def test_the_server_that_runs_are_forked_from_is_killed(
    workplace: Path, write_suite: Callable[..., Path], assert_undisturbed: Callable[[Path], None]
) -> None:
    path = write_suite(SLOW)
    command = start(path, workplace)
    alive = wait_for(lambda: len(found := workers(workplace)) == 2 and found)
    wait_for(lambda: len(list(workplace.glob(".benchbench/runs/*/metrics.jsonl"))) == 2)
    [server] = {parent_of(worker) for worker in alive}
    os.kill(server, signal.SIGKILL)
    output = command.communicate(timeout=300)
    assert command.returncode == 0, output
    assert "the server that had forked it was killed" in output[1]
    assert_undisturbed(path)


@pytest.mark.slow
def test_no_run_is_called_dead_that_is_at_work(tmp_path: Path) -> None:
    engine = LocalEngine(cpu_slots(1, cores=1))
    hanging, quick = (make_job(tmp_path / "runs", "line", parameters={"pause": pause}) for pause in (60, 0))
    engine.submit(hanging)
    [worker] = wait_for(lambda: workers(tmp_path))
    os.kill(parent_of(worker), signal.SIGKILL)
    [result] = wait_for(lambda: engine.poll(0.2))
    assert result.outcome == "crashed"
    assert not runs_code(worker)
    engine.submit(quick)
    [result] = wait_for(lambda: engine.poll(0.2))
    assert result.outcome == "finished"


@pytest.mark.slow
def test_a_run_that_lets_no_other_thread_run_dies_with_its_command(
    workplace: Path, write_suite: Callable[..., Path]
) -> None:
    command = start(
        write_suite(SUITE.replace("STUBS:line", f"{MISBEHAVING}:deaf").replace(", steps: 4", "")), workplace
    )
    wait_for(lambda: sum("deaf" in log.read_text() for log in workplace.glob(".benchbench/runs/*/log.txt")) == 2)
    deaf = workers(workplace)
    command.kill()
    command.communicate(timeout=300)
    assert deaf
    assert wait_for(lambda: not any(map(runs_code, deaf)))


def descendants(process: int) -> list[int]:
    """Return all processes that a process and its children have started."""
    children = [int(pid) for pid in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    return [*children, *itertools.chain.from_iterable(map(descendants, children))]


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_signals_for_all_processes_of_a_job_leave_a_checkpoint(ranks: int, tmp_path: Path) -> None:
    engine = LocalEngine(cpu_slots(2, cores=2))
    slow = make_job(tmp_path / "runs", "line", ranks, epochs=200, parameters={"pause": 0.05})
    engine.submit(slow)
    wait_for(slow.folder.records)
    for number in (signal.SIGUSR2, signal.SIGTERM):  # as Slurm sends them
        assert not engine.poll(0.5)
        for process in descendants(os.getpid()):
            os.kill(process, number)
    [result] = wait_for(lambda: engine.poll(0.5))
    assert result.outcome == "interrupted", result.message
    assert slow.folder.checkpoints.latest_steps()
    engine.stop()


ALL_THE_TIME = """
from benchbench import cli
from benchbench.engines import local
local.LocalEngine.__init__.__defaults__ = ((), 3600.0, None)
cli.main()
"""
"""The command, whose runs get an hour to leave a checkpoint."""


@pytest.mark.slow
def test_a_second_ctrl_c_does_not_wait_for_runs_that_hear_nothing(
    workplace: Path, write_suite: Callable[..., Path]
) -> None:
    path = write_suite(SUITE.replace("STUBS:line", f"{MISBEHAVING}:stubborn").replace(", steps: 4", ""))
    command = subprocess.Popen(
        [sys.executable, "-c", ALL_THE_TIME, "run", str(path), "--slots", "2"],
        cwd=workplace,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no thread holds a lock here
    )
    wait_for(lambda: sum("stubborn" in log.read_text() for log in workplace.glob(".benchbench/runs/*/log.txt")) == 2)
    command.send_signal(signal.SIGINT)
    assert command.stderr is not None
    said = iter(command.stderr.readline, "")
    assert any("stopping" in line for line in said)  # it gives the runs time for a checkpoint: an hour
    command.send_signal(signal.SIGINT)
    output = command.communicate(timeout=300)
    assert command.returncode == 130
    assert "Traceback" not in output[1]
    assert not workers(workplace)
    assert {run.info.status for run in tracked()} == {"KILLED"}
