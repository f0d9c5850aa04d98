"""Runs that take more than they should: memory, room in logs, time; and clocks that jump."""

from __future__ import annotations

import itertools
import resource
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchbench import api
from benchbench.engines import worker
from benchbench.values import RunResult
from tests.faults.conftest import MISBEHAVING
from tests.helpers.line_suite import SUITE, run_inline

BESIDE = SUITE.replace("workloads:", 'workloads:\n  other: {workload: "BAD", epochs: 2, batch_size: 8}')


def outcomes(path: Path) -> dict[str, list[RunResult]]:
    """Run a suite with the local engine, and return its results by workload."""
    found: dict[str, list[RunResult]] = {}
    for row in api.run(path, slots=2):
        assert row.result is not None
        found.setdefault(row.spec.workload_label, []).append(row.result)
    return found


@pytest.mark.slow
@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("workload", ["hungry", "vast"])  # of the machine, and of the device, a GPU where there is one
def test_a_run_without_memory_fails_alone(workload: str, write_suite: Callable[..., Path]) -> None:
    found = outcomes(write_suite(BESIDE.replace("BAD", f"{MISBEHAVING}:{workload}")))
    assert {result.outcome for result in found["line"]} == {"finished"}
    assert {result.outcome for result in found["other"]} == {"failed"}
    assert "memory" in found["other"][0].message


@pytest.mark.slow
@pytest.mark.usefixtures("workplace")
def test_a_flooded_log_is_cut(write_suite: Callable[..., Path]) -> None:
    text = BESIDE.replace("BAD", f"{MISBEHAVING}:flooding").replace("epochs: 2", "epochs: 2, steps: 40, pause: 0.02")
    path = write_suite(text.replace("seeds: [0, 1]", "seeds: [0]"))
    outcomes(write_suite(SUITE, "quiet.yaml"))  # loads what every command needs
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = outcomes(path)
    assert {result.outcome for results in found.values() for result in results} == {"finished"}
    flooded = [spec for spec in api.load_suite(path).specs if spec.workload_label == "other"]
    for spec in flooded:
        log = Path(".benchbench/runs", spec.key, "log.txt").read_text()
        assert len(log) < 1.5 * worker.LONGEST_LOG  # of 80 MiB
        assert log.startswith("x")
        assert "what stood here is cut" in log
        assert log.rstrip().endswith("batch 39 of epoch 2")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


@pytest.mark.slow
@pytest.mark.usefixtures("workplace")
def test_an_optimizer_that_hangs_is_stopped(write_suite: Callable[..., Path]) -> None:
    text = BESIDE.replace("BAD", f"{MISBEHAVING}:stubborn").replace("seeds", "timeout: 3\nseeds", 1)
    found = outcomes(write_suite(text))
    assert {result.outcome for result in found["line"]} == {"finished"}
    assert {result.outcome for result in found["other"]} == {"timeout"}
    assert "stopped after 3 s" in found["other"][0].message


@pytest.mark.usefixtures("workplace")
def test_clocks_that_jump_change_nothing(
    write_suite: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, assert_undisturbed: Callable[[Path], None]
) -> None:
    now, jumps = time.time, itertools.cycle((0.0, 86_400.0, -86_400.0, 3e7, -3e7))
    path = write_suite(SUITE)
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: now() + next(jumps))
        rows, _ = run_inline(path)
    assert all(row.result is not None and 0 <= row.result.cost.train_seconds < 80_000 for row in rows)
    assert_undisturbed(path)
