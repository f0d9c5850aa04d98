"""`benchbench tune` on clusters: a search whose command is killed goes on where it was."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import benchbench, wait_for
from tests.engines.test_slurm import slurm_command

SUITE = """
name: lines
seeds: [0]
tuning: {budget: {trials: 3}, finalists: {count: 1, seeds: [7]}}
slurm: {partition: main, time: 10, mem: 500M, gpus: 0}
ray: {num_cpus: 1, num_gpus: 0}
workloads:
  line: {workload: "STUBS:line", epochs: 2, batch_size: 8, steps: 4, pause: 0.1}
methods:
  SGD: {optimizer: sgd, search: {lr: {log_uniform: [1e-3, 1]}}}
tables: [accuracy]
"""


def ended(folder: Path) -> dict[str, int]:
    """When the result of each run was written, by key."""
    return {path.parent.name: path.stat().st_mtime_ns for path in (folder / ".benchbench/runs").glob("*/result.json")}


def jobs() -> set[str]:
    """Return the jobs that Slurm remembers: it does for ten minutes."""
    return set(slurm_command("squeue", "--noheader", "--states=all", "--array", "--format=%i").split())


def choices(output: str) -> list[Any]:
    return [(each["method"], each["chosen"], pytest.approx(each["value"])) for each in json.loads(output)]


def kill_in_the_middle(options: Sequence[str], workplace: Path) -> None:
    """Kill a search once it has the first result."""
    search = subprocess.Popen([str(Path(sys.executable).with_name("benchbench")), *options], cwd=workplace)
    wait_for(lambda: ended(workplace) or search.poll() is not None)
    assert search.poll() is None
    search.kill()
    search.wait()


def check_end(options: Sequence[str], path: str, workplace: Path) -> None:
    """Bring a search to its end, which repeats nothing and chooses what an undisturbed one does."""
    before = ended(workplace)
    again = benchbench(*options, "--json", cwd=workplace)
    assert again.returncode == 0, again.stderr
    assert before.items() <= ended(workplace).items()
    assert len(ended(workplace)) == 4
    elsewhere = ["--runs-dir", "other", "--tracking-uri", "sqlite:///other.db"]
    undisturbed = benchbench("tune", path, "--engine", "inline", *elsewhere, "--json", cwd=workplace)
    assert choices(again.stdout) == choices(undisturbed.stdout)


@pytest.mark.slow
def test_a_killed_search_on_ray_goes_on(ray_cluster: Any, workplace: Path, write_suite: Callable[..., Path]) -> None:
    path = str(write_suite(SUITE))
    options = ["tune", path, "--engine", "ray", "--address", ray_cluster.address]
    kill_in_the_middle(options, workplace)
    check_end(options, path, workplace)


@pytest.mark.slow
@pytest.mark.usefixtures("slurm")
def test_a_killed_search_on_slurm_finds_its_jobs_again(workplace: Path, write_suite: Callable[..., Path]) -> None:
    path, before = str(write_suite(SUITE)), jobs()
    options = ["tune", path, "--engine", "slurm"]
    kill_in_the_middle(options, workplace)
    check_end(options, path, workplace)
    assert len(jobs() - before) == 4
