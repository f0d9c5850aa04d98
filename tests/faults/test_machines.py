"""Several machines at work on one suite, one of which falls asleep."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import wait_for
from tests.helpers.line_suite import SLOW

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


@pytest.mark.slow
def test_two_machines_share_the_work(
    workplace: Path, write_suite: Callable[..., Path], assert_undisturbed: Callable[[Path], None]
) -> None:
    path = write_suite(SLOW)
    both = [on_machine(name, path, lease=30) for name in ("a", "b")]
    outputs = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0]  # the same table
    started = [output[1].count(": started") for output in outputs]
    assert sum(started) == 4
    assert all(started)
    assert_undisturbed(path)


@pytest.mark.slow
def test_a_machine_that_is_suspended_loses_its_run_and_writes_nothing_more(
    workplace: Path, write_suite: Callable[..., Path], assert_undisturbed: Callable[[Path], None]
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
    assert_undisturbed(path)
