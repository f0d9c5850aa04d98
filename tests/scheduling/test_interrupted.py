"""Runs whose parent, node or process is taken away, at any moment, end as if nothing had happened."""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchbench import api
from benchbench.scheduling.runner import Event
from tests.conftest import benchbench, wait_for
from tests.helpers.line_suite import (
    SLOW,
    SUITE,
    histories,
    kill_midway,
    kinds,
    processes,
    results,
    run_inline,
    start,
    tracked,
)
from tests.helpers.suites import suite


@pytest.fixture
def undisturbed(workplace: Path, write_suite: Callable[..., Path]) -> list[Any]:
    """What an undisturbed execution of the slow suite gives, its traces removed."""
    rows, _ = run_inline(write_suite(SUITE), workspace=api.Workspace(runs_dir=workplace / "undisturbed"))
    quick = [(row.result.final, row.result.best) for row in rows if row.result]
    assert len(quick) == 4
    return quick


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_end_of_the_parent_loses_nothing(
    sign: signal.Signals, undisturbed: list[Any], workplace: Path, write_suite: Callable[..., Path]
) -> None:
    path = write_suite(SLOW)
    parent = start(path, workplace)
    wait_for(lambda: list(workplace.glob(".benchbench/runs/*/metrics.jsonl")))
    parent.send_signal(sign)
    output = parent.communicate(timeout=300)
    assert parent.returncode == (-signal.SIGKILL if sign == signal.SIGKILL else 130)
    assert "Traceback" not in output[1]
    wait_for(lambda: not processes(workplace))  # the runs die with their parent
    if sign != signal.SIGKILL:
        assert {run.info.status for run in tracked()} <= {"FINISHED", "KILLED"}
    again = benchbench("run", str(path), cwd=workplace)
    assert again.returncode == 0, again.stderr
    rows = api.rows(api.load_suite(path))
    assert [(row.result.final, row.result.best) for row in rows if row.result] == undisturbed
    slow_runs = [run for run in tracked() if run.data.params.get("workload.pause") == "0.1"]
    assert len(slow_runs) == 4
    assert {run.info.status for run in slow_runs} == {"FINISHED"}
    assert any("resumed" in result.environment for result in results(slow_runs))
    assert histories(slow_runs) == histories([run for run in tracked() if run not in slow_runs])


@pytest.mark.slow
def test_a_node_that_is_taken_away_leaves_checkpoints(workplace: Path, write_suite: Callable[..., Path]) -> None:
    """Every process of the job gets SIGTERM, as from a cluster's scheduler."""
    path = write_suite(SLOW.replace("pause: 0.1", "pause: 0.3"))
    parent = start(path, workplace)
    wait_for(lambda: len(list(workplace.glob(".benchbench/runs/*/checkpoints/*.pt"))) > 1)
    for process in processes(workplace):
        os.kill(process, signal.SIGTERM)
    parent.communicate(timeout=300)
    assert parent.returncode == 130
    wait_for(lambda: not processes(workplace))
    messages = {run.data.tags["benchbench.message"] for run in tracked()}
    assert all(message.startswith("stopped ") for message in messages), messages
    assert benchbench("run", str(path), cwd=workplace).returncode == 0
    assert any("resumed" in result.environment for result in results(tracked()))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_killed_again_and_again_at_any_moment_nothing_is_lost(
    seed: int, undisturbed: list[Any], workplace: Path, write_suite: Callable[..., Path]
) -> None:
    chance = random.Random(seed)
    path = write_suite(SLOW)
    for _ in range(3):
        kill_midway(path, workplace, chance.uniform(0.0, 1.0))
    assert benchbench("run", str(path), cwd=workplace).returncode == 0
    rows = api.rows(api.load_suite(path))
    assert [(row.result.final, row.result.best) for row in rows if row.result] == undisturbed
    slow_runs = [run for run in tracked() if run.data.params.get("workload.pause") == "0.1"]
    assert histories(slow_runs) == histories([run for run in tracked() if run not in slow_runs])


def test_a_run_that_is_killed_goes_on_from_its_checkpoint(workplace: Path, write_suite: Callable[..., Path]) -> None:
    whole = {"workload": "STUBS:regularised", "epochs": 3, "batch_size": 8}
    mortal = {**whole, "die_after": 8, "marker": str(workplace / "dead")}
    methods = {"AdamW": {"optimizer": "adamw", "lr": 0.01}}
    path = write_suite(suite(workloads={"whole": whole, "mortal": mortal}, methods=methods, checkpoint_minutes=1e-6))
    events: list[Event] = []
    rows = api.run(api.load_suite(path), slots=2, observe=events.append)
    assert kinds(events).count("retried") == 1
    results = {row.spec.workload_label: row.result for row in rows}
    assert results["mortal"].environment["resumed"] == "1"
    assert results["mortal"].final == results["whole"].final
    assert results["mortal"].cost.steps == results["whole"].cost.steps == 15
    runs = {run.data.tags["benchbench.workload"]: run for run in tracked()}
    assert histories([runs["mortal"]]) == histories([runs["whole"]])
    folders = [workplace / ".benchbench/runs" / row.spec.key for row in rows]
    assert len({(folder / "weights.pt").read_bytes() for folder in folders}) == 1


@pytest.mark.usefixtures("workplace")
def test_ctrl_c_leaves_a_checkpoint_of_an_inline_run_too_and_force_begins_anew(
    write_suite: Callable[..., Path],
) -> None:
    path = write_suite(SLOW)

    def interrupt() -> None:
        wait_for(lambda: list(Path.cwd().glob(".benchbench/runs/*/metrics.jsonl")))
        os.kill(os.getpid(), signal.SIGINT)

    for force, resumed in ((False, ["1"]), (True, [])):
        shutil.rmtree(".benchbench", ignore_errors=True)
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            run_inline(path, force=True)
        thread.join()
        rows, _ = run_inline(path, force=force)
        found = [
            row.result.environment["resumed"] for row in rows if row.result and "resumed" in row.result.environment
        ]
        assert found == resumed


@pytest.mark.slow
def test_two_invocations_at_once_share_the_work(workplace: Path, write_suite: Callable[..., Path]) -> None:
    path = write_suite(SLOW)
    both = [start(path, workplace), start(path, workplace)]
    outputs = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0]  # the same table
    assert len(tracked()) == 4
    assert {run.info.status for run in tracked()} == {"FINISHED"}
    assert sum(output[1].count(": started") for output in outputs) == 4
