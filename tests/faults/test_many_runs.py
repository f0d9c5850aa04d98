"""Very many very short runs; `BENCHBENCH_FAULT_RUNS=2000` asks for that many, which takes minutes."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import wait_for
from tests.helpers.line_suite import SUITE, processes, start, tracked

RUNS = int(os.environ.get("BENCHBENCH_FAULT_RUNS", "40"))


def resident(command: subprocess.Popen[str]) -> int:
    """Return the memory that a command takes up, in KiB."""
    found = re.search(r"VmRSS:\s*(\d+) kB", Path(f"/proc/{command.pid}/status").read_text())
    return int(found[1]) if found else 0


def finished(folder: Path) -> int:
    return len(list((folder / ".benchbench/runs").glob("*/result.json")))


@pytest.mark.slow
def test_many_short_runs_survive_the_death_of_their_command(workplace: Path, write_suite: Callable[..., Path]) -> None:
    path = write_suite(SUITE.replace("seeds: [0, 1]", f"seeds: {list(range(RUNS // 2))}"))
    command = start(path, workplace)
    wait_for(lambda: finished(workplace) >= RUNS // 10, seconds=RUNS)
    early = resident(command)
    wait_for(lambda: finished(workplace) >= RUNS // 2, seconds=RUNS)
    assert resident(command) - early < 64 * 1024
    command.kill()
    command.communicate(timeout=60)
    wait_for(lambda: not processes(workplace))
    done = finished(workplace)
    again = start(path, workplace)
    _, errors = again.communicate(timeout=60 + 2 * RUNS)
    assert again.returncode == 0, errors
    assert errors.count(": started") == RUNS - done
    runs = tracked()
    assert len(runs) == len({run.data.tags["benchbench.key"] for run in runs}) == RUNS
    assert {run.info.status for run in runs} == {"FINISHED"}
