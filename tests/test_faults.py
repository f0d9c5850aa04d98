"""Faults, injected into real executions: the state afterwards is that of an undisturbed one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchbench import api
from benchbench.values import Row
from tests.conftest import STUBS, wait_for
from tests.scheduling.test_runner import SLOW, SUITE, tracked

FIVE_METHODS = SUITE.replace("seeds: [0, 1]", "seeds: [0, 1, 2, 3]")

ON_A_MACHINE = """
import functools, sys
from benchbench import cli
from benchbench.runs import claims
from benchbench.scheduling import runner
runner.Holder = functools.partial(claims.Holder, machine=sys.argv.pop(1), lease=float(sys.argv.pop(1)))
cli.main()
"""
"""The command, as if on another machine."""


def on_machine(name: str, path: Path, lease: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", ON_A_MACHINE, name, str(lease), "run", str(path), "--slots", "1"]
    return subprocess.Popen(
        command, cwd=path.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def outcomes(rows: list[Row]) -> list[Any]:
    """Return what must not depend on any fault."""
    results = [row.result for row in rows]
    return [each and (each.outcome, each.final, each.best, each.cost.steps) for each in results]


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> dict[str, Any]:
    """What the quick suite gives when nothing happens, by label and seed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "suite.yaml").write_text(FIVE_METHODS.replace("STUBS", str(STUBS)))
    (folder / "mlflow.db").write_bytes(migrated_store.read_bytes())
    uri = f"sqlite:///{folder}/mlflow.db"
    rows = api.run(folder / "suite.yaml", engine="inline", runs_dir=folder / "runs", tracking_uri=uri)
    return {f"{row.spec.method} {row.spec.seed}": (row.result.final, row.result.best) for row in rows if row.result}


def assert_undisturbed(path: Path, undisturbed: dict[str, Any]) -> None:
    rows = api.rows(api.load_suite(path))
    found = {f"{row.spec.method} {row.spec.seed}": (row.result.final, row.result.best) for row in rows if row.result}
    assert found == {name: undisturbed[name] for name in found}
    assert len(found) == len(rows)
    keys = [run.data.tags["benchbench.key"] for run in tracked()]
    assert sorted(keys) == sorted(row.spec.key for row in rows)


@pytest.mark.slow
def test_two_machines_share_the_work(workplace: Path, write_suite: Callable[..., Path], undisturbed: Any) -> None:
    path = write_suite(SLOW)
    both = [on_machine(name, path, lease=30) for name in ("a", "b")]
    outputs = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0]  # the same table
    started = [output[1].count(": started") for output in outputs]
    assert sum(started) == 4
    assert all(started)
    assert_undisturbed(path, undisturbed)


@pytest.mark.slow
def test_a_machine_that_is_suspended_loses_its_run_and_writes_nothing_more(
    workplace: Path, write_suite: Callable[..., Path], undisturbed: Any
) -> None:
    path = write_suite(SLOW.replace("pause: 0.1", "pause: 0.4"))
    asleep = on_machine("a", path, lease=1.5)
    wait_for(lambda: list(workplace.glob(".benchbench/runs/*/metrics.jsonl")))
    os.killpg(asleep.pid, signal.SIGSTOP)
    awake = on_machine("b", path, lease=1.5)
    wait_for(lambda: list(workplace.glob(".benchbench/runs/*/claims/2")))
    os.killpg(asleep.pid, signal.SIGCONT)
    outputs = [process.communicate(timeout=120) for process in (asleep, awake)]
    assert [process.returncode for process in (asleep, awake)] == [0, 0], outputs
    assert "is being run by another invocation" in outputs[0][1]
    assert sum(output[1].count(": started") for output in outputs) == 5
    assert_undisturbed(path, undisturbed)
