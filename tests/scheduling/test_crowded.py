"""Memory that runs out beside other runs: the run that it ended is tried alone before it counts as a failure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchbench import api
from benchbench.runs.folder import RunFolder
from benchbench.scheduling.runner import Event
from tests.conftest import benchbench
from tests.helpers.suites import suite


def suite_in(folder: Path, *, memory: str = "device", always: bool = False) -> str:
    crowded = {"workload": "STUBS:crowded", "folder": str(folder), "memory_of": memory, "always": always}
    return suite(seeds=[0, 1], workloads={"crowded": {**crowded, "epochs": 1, "batch_size": 8}}, tables=["accuracy"])


@pytest.mark.parametrize("memory", ["device", "host"])
def test_a_run_whose_neighbours_may_have_taken_its_memory_is_tried_alone(
    workplace: Path, write_suite: Callable[..., Path], memory: str
) -> None:
    events: list[Event] = []
    rows = api.run(write_suite(suite_in(workplace, memory=memory)), slots=2, devices=["cpu"], observe=events.append)
    results = [row.result for row in rows if row.result]
    assert [result.outcome for result in results] == ["finished"] * 2, [result.message for result in results]
    assert {result.environment["concurrent_runs"] for result in results} == {"1"}
    retried = [event for event in events if event.kind == "retried"]
    assert [(event.alone, event.result and event.result.out_of_memory) for event in retried] == [(True, memory)] * 2


def test_a_run_that_runs_out_of_memory_alone_as_well_has_failed(
    workplace: Path, write_suite: Callable[..., Path]
) -> None:
    path = str(write_suite(suite_in(workplace, always=True)))
    done = benchbench("run", path, "--slots", "2", "--devices", "cpu", cwd=workplace)
    assert done.returncode == 1, done.stderr
    said = "CUDA out of memory.; ran out of memory beside other runs; started again, alone"
    assert done.stderr.count(said) == 2, done.stderr
    assert done.stderr.count("started again") == 2
    results = [RunFolder(file.parent).result() for file in workplace.glob(".benchbench/runs/*/result.json")]
    assert [(result.outcome, result.out_of_memory) for result in results if result] == [("failed", "device")] * 2


def test_a_run_that_was_alone_from_the_start_is_not_tried_again(
    workplace: Path, write_suite: Callable[..., Path]
) -> None:
    (workplace / "first-0").touch()
    events: list[Event] = []
    text = suite_in(workplace, always=True).replace("[0, 1]", "[0]")
    [row] = api.run(write_suite(text), slots=2, devices=["cpu"], observe=events.append)
    assert row.result is not None
    assert (row.result.outcome, row.result.out_of_memory) == ("failed", "device")
    assert "retried" not in [event.kind for event in events]
