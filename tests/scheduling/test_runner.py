"""The path of a suite: planned, run, tracked, continued; with a real MLflow store and real processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchbench import api
from benchbench.runs.folder import RunFolder
from benchbench.scheduling.runner import Event
from benchbench.values import Memory, Row
from tests.conftest import STUBS
from tests.helpers.line_suite import SUITE, kinds, mlflow_client, run_inline, tracked
from tests.helpers.suites import line, suite


def numbers(rows: list[Row]) -> list[Any]:
    """Return what must not depend on how often a suite was interrupted."""
    return [
        row.result and (row.result.outcome, row.result.final, row.result.best, row.result.cost.gradients)
        for row in rows
    ]


@pytest.mark.usefixtures("workplace")
def test_every_number_is_in_mlflow(write_suite: Callable[..., Path]) -> None:
    rows, _ = run_inline(write_suite(SUITE))
    runs = {run.data.tags["benchbench.key"]: run for run in tracked()}
    assert len(runs) == len(rows) == 4
    client = mlflow_client()
    for row in rows:
        assert row.result is not None
        run = runs[row.spec.key]
        assert run.info.status == "FINISHED"
        assert run.data.metrics["final/test/accuracy"] == row.result.final["test/accuracy"]
        assert run.data.metrics["cost/gradients"] == row.result.cost.gradients == 12
        assert run.data.params["optimizer"] == row.spec.optimizer.target
        assert run.data.params["optimizer.lr"] == str(row.spec.optimizer.parameters["lr"])
        history = client.get_metric_history(run.info.run_id, "validation/loss")
        assert [point.step for point in history] == [1, 2, 3]
        files = {file.path for file in client.list_artifacts(run.info.run_id)}
        assert {"spec.json", "result.json"} <= files
        parent = client.get_run(run.data.tags["mlflow.parentRunId"])
        assert parent.info.status == "FINISHED"


@pytest.mark.usefixtures("workplace")
def test_what_is_measured_beside_a_run_is_in_mlflow_and_reads_back(write_suite: Callable[..., Path]) -> None:
    text = SUITE.replace("seeds", "measure: [flops]\nseeds")
    text = text.replace("  AdamW", "  Momentum: {optimizer: sgd, lr: 0.1, momentum: 0.9}\n  AdamW")
    rows, _ = run_inline(write_suite(text))
    found = {(row.spec.method, row.spec.seed): row.result for row in rows}
    assert [found["SGD", seed].gc_measured for seed in (0, 1)] == [1.0, None]
    assert found["Momentum", 0].memory == Memory(parameters=8, state=8)
    metrics = [run.data.metrics for run in tracked() if run.data.tags["benchbench.method"] == "Momentum"]
    assert {run["memory/state"] for run in metrics} == {8.0}
    assert [run["cost/gc_measured"] for run in metrics if "cost/gc_measured" in run] == [1.0]


@pytest.mark.usefixtures("workplace")
def test_why_nothing_was_measured_reads_back_too(
    write_suite: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    unmeasured = None, "no formula for magic"
    monkeypatch.setattr("benchbench.training.operations.gradient_equivalents", lambda *_, **__: unmeasured)
    [first, *_], _ = run_inline(write_suite(SUITE.replace("seeds", "measure: [flops]\nseeds")))
    assert first.result is not None
    assert (first.result.gc_measured, first.result.unmetered) == (None, "no formula for magic")


def test_a_run_in_a_process_of_its_own_says_how_large_that_became(
    workplace: Path, write_suite: Callable[..., Path]
) -> None:
    rows = api.run(write_suite(SUITE.replace("[0, 1]", "[0]")), slots=1)
    assert all(row.result and row.result.memory.host_peak for row in rows)


@pytest.mark.usefixtures("workplace")
def test_results_read_back_equal_what_the_run_wrote(write_suite: Callable[..., Path]) -> None:
    rows, _ = run_inline(write_suite(SUITE))
    for row in rows:
        assert row.result is not None
        assert row.result == RunFolder(Path(".benchbench/runs", row.spec.key)).result()


@pytest.mark.usefixtures("workplace")
def test_the_same_command_runs_nothing_twice_and_force_runs_all(write_suite: Callable[..., Path]) -> None:
    path = write_suite(SUITE)
    first, _ = run_inline(path)
    again, events = run_inline(path)
    assert kinds(events) == ["planned"] * 4
    assert numbers(again) == numbers(first)
    forced, events = run_inline(path, force=True)
    assert kinds(events).count("started") == 4
    assert numbers(forced) == numbers(first)
    assert len(tracked()) == 4


@pytest.mark.usefixtures("workplace")
def test_labels_and_suites_share_runs_with_equal_settings(write_suite: Callable[..., Path]) -> None:
    run_inline(write_suite(SUITE))
    renamed = SUITE.replace("name: lines", "name: other").replace("SGD:", "Plain SGD:")
    _, events = run_inline(write_suite(renamed, "other.yaml"))
    assert "started" not in kinds(events)


@pytest.mark.usefixtures("workplace")
def test_a_lost_tracking_store_is_filled_again_from_the_disk(
    write_suite: Callable[..., Path], migrated_store: Path
) -> None:
    path = write_suite(SUITE)
    first, _ = run_inline(path)
    Path("mlflow.db").write_bytes(migrated_store.read_bytes())
    again, events = run_inline(path)
    assert "started" not in kinds(events)
    assert numbers(again) == numbers(first)
    assert len(tracked()) == 4


@pytest.mark.usefixtures("workplace")
def test_divergence_is_tracked_and_never_repeated(write_suite: Callable[..., Path]) -> None:
    path = (
        write_suite(SUITE + "\n  # none\n")
        .read_text()
        .replace(
            "AdamW: {optimizer: adamw, lr: 0.01}",
            f'Bad: {{optimizer: "{STUBS}:Exploding"}}',
        )
    )
    suite = write_suite(path)
    rows, _ = run_inline(suite)
    assert [row.result.outcome for row in rows if row.result] == ["finished"] * 2 + ["diverged"] * 2
    _, events = run_inline(suite)
    assert "started" not in kinds(events)


def crashing(marker: Path, kills: int) -> str:
    """A suite of three runs: one ends, one kills its process so often, and one fails."""
    killed = line(workload="STUBS:killed", marker=str(marker), kills=kills)
    return suite(workloads={"line": line(), "killed": killed, "failing": line(workload="STUBS:failing")})


def run_local(path: Path) -> tuple[dict[str, str], list[Event]]:
    events: list[Event] = []
    rows = api.run(api.load_suite(path), slots=2, observe=events.append)
    return {row.spec.workload_label: row.result.outcome if row.result else "" for row in rows}, events


def test_a_killed_run_is_started_again(workplace: Path, write_suite: Callable[..., Path]) -> None:
    outcomes, events = run_local(write_suite(crashing(workplace / "kills", 1)))
    assert outcomes == {"line": "finished", "killed": "finished", "failing": "failed"}
    [retried] = [event for event in events if event.kind == "retried"]
    assert retried.result is not None
    assert "SIGKILL" in retried.result.message
    assert len(tracked()) == 3  # the crashed attempt gave way to the finished one
    assert {run.info.status for run in tracked()} == {"FINISHED", "FAILED"}


def test_a_run_that_always_dies_is_given_up_and_tried_again_by_the_next_command(
    workplace: Path, write_suite: Callable[..., Path]
) -> None:
    path = write_suite(crashing(workplace / "kills", 4))
    outcomes, _ = run_local(path)
    assert outcomes["killed"] == "crashed"
    outcomes, events = run_local(path)
    assert outcomes == {"line": "finished", "killed": "finished", "failing": "failed"}
    assert [event.spec.workload_label for event in events if event.kind == "started"] == ["killed", "failing"]
    assert len(tracked()) == 3
