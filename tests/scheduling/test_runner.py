"""The path of a suite: planned, run, tracked, continued; with a real MLflow store and real processes."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from benchbench import api
from benchbench.scheduling.runner import Event
from benchbench.tracking import Tracker
from benchbench.values import Memory, Row, RunResult
from tests.conftest import STUBS, benchbench, processes_where, wait_for

SUITE = """
name: lines
title: Lines
seeds: [0, 1]
workloads:
  line: {workload: "STUBS:line", epochs: 3, batch_size: 8, steps: 4}
methods:
  SGD: {optimizer: sgd, lr: 0.1}
  AdamW: {optimizer: adamw, lr: 0.01}
tables: [accuracy]
"""


def mlflow_client() -> MlflowClient:
    return MlflowClient(f"sqlite:///{Path.cwd()}/mlflow.db")


def tracked(experiment: str = "lines") -> list[Run]:
    """Return the child runs that MLflow shows, read back by MLflow's own client."""
    client = mlflow_client()
    found = client.get_experiment_by_name(experiment)
    runs = client.search_runs([found.experiment_id]) if found else []
    return [run for run in runs if "benchbench.key" in run.data.tags]


def numbers(rows: list[Row]) -> list[Any]:
    """Return what must not depend on how often a suite was interrupted."""
    return [
        row.result and (row.result.outcome, row.result.final, row.result.best, row.result.cost.gradients)
        for row in rows
    ]


def kinds(events: list[Event]) -> list[str]:
    return [event.kind for event in events]


def run_inline(path: Path, **options: Any) -> tuple[list[Row], list[Event]]:
    events: list[Event] = []
    rows = api.run(api.load_suite(path), engine="inline", observe=events.append, **options)
    return rows, events


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
    monkeypatch.setattr("benchbench.training.probe.gradient_equivalents", lambda *_, **__: unmeasured)
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
        on_disk = Path(".benchbench/runs", row.spec.key, "result.json").read_text()
        assert row.result is not None
        assert row.result == type(row.result).model_validate_json(on_disk)


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


CRASHING = """
name: lines
title: Lines
seeds: [0]
workloads:
  line: {workload: "STUBS:line", epochs: 2, batch_size: 8}
  killed: {workload: "STUBS:killed", epochs: 2, batch_size: 8, marker: MARKER, kills: KILLS}
  failing: {workload: "STUBS:failing", epochs: 2, batch_size: 8}
methods:
  SGD: {optimizer: sgd, lr: 0.1}
tables: [accuracy]
"""


def run_local(path: Path) -> tuple[dict[str, str], list[Event]]:
    events: list[Event] = []
    rows = api.run(api.load_suite(path), slots=2, observe=events.append)
    return {row.spec.workload_label: row.result.outcome if row.result else "" for row in rows}, events


def test_a_killed_run_is_started_again(workplace: Path, write_suite: Callable[..., Path]) -> None:
    text = CRASHING.replace("MARKER", str(workplace / "kills")).replace("KILLS", "1")
    outcomes, events = run_local(write_suite(text))
    assert outcomes == {"line": "finished", "killed": "finished", "failing": "failed"}
    [retried] = [event for event in events if event.kind == "retried"]
    assert retried.result is not None
    assert "SIGKILL" in retried.result.message
    assert len(tracked()) == 3  # the crashed attempt gave way to the finished one
    assert {run.info.status for run in tracked()} == {"FINISHED", "FAILED"}


def test_a_run_that_always_dies_is_given_up_and_tried_again_by_the_next_command(
    workplace: Path, write_suite: Callable[..., Path]
) -> None:
    path = write_suite(CRASHING.replace("MARKER", str(workplace / "kills")).replace("KILLS", "4"))
    outcomes, _ = run_local(path)
    assert outcomes["killed"] == "crashed"
    outcomes, events = run_local(path)
    assert outcomes == {"line": "finished", "killed": "finished", "failing": "failed"}
    assert [event.spec.workload_label for event in events if event.kind == "started"] == ["killed", "failing"]
    assert len(tracked()) == 3


SLOW = SUITE.replace("steps: 4", "steps: 4, pause: 0.1").replace("seeds", "checkpoint_minutes: 1.0e-6\nseeds")


def start(path: Path, cwd: Path) -> subprocess.Popen[str]:
    command = [str(Path(sys.executable).with_name("benchbench")), "run", str(path), "--slots", "2"]
    return subprocess.Popen(
        command,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that starts the tests in the background lets them, and what they start, ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no thread holds a lock here
    )


def processes(cwd: Path) -> list[int]:
    """Return the processes that work in a folder."""
    return processes_where(lambda entry: (entry / "cwd").resolve() == cwd and int(entry.name) != os.getpid())


@pytest.fixture
def undisturbed(workplace: Path, write_suite: Callable[..., Path]) -> list[Any]:
    """What an undisturbed execution of the slow suite gives, its traces removed."""
    rows, _ = run_inline(write_suite(SUITE), runs_dir=workplace / "undisturbed")
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
    output = parent.communicate(timeout=60)
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


def results(runs: list[Run]) -> list[RunResult]:
    """Return what the store holds of runs."""
    return list(Tracker().results([run.data.tags["benchbench.key"] for run in runs]).values())


def histories(runs: list[Run]) -> dict[tuple[str, str], Any]:
    """Return every value that MLflow holds of each run, clocks and memory of the process left out."""
    client = mlflow_client()
    return {
        (run.data.tags["benchbench.method"], run.data.params["seed"]): {
            name: [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, name)]
            for name in run.data.metrics
            if name not in ("cost/train_seconds", "memory/host_peak")
        }
        for run in runs
    }


@pytest.mark.slow
def test_a_node_that_is_taken_away_leaves_checkpoints(workplace: Path, write_suite: Callable[..., Path]) -> None:
    """Every process of the job gets SIGTERM, as from a cluster's scheduler."""
    path = write_suite(SLOW.replace("pause: 0.1", "pause: 0.3"))
    parent = start(path, workplace)
    wait_for(lambda: len(list(workplace.glob(".benchbench/runs/*/checkpoints/*.pt"))) > 1)
    for process in processes(workplace):
        os.kill(process, signal.SIGTERM)
    parent.communicate(timeout=60)
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
        parent = start(path, workplace)
        wait_for(lambda: processes(workplace) and list(workplace.glob(".benchbench/runs/*/log.txt")))
        time.sleep(chance.uniform(0.0, 1.0))
        parent.kill()
        parent.communicate(timeout=60)
        wait_for(lambda: not processes(workplace))
    assert benchbench("run", str(path), cwd=workplace).returncode == 0
    rows = api.rows(api.load_suite(path))
    assert [(row.result.final, row.result.best) for row in rows if row.result] == undisturbed
    slow_runs = [run for run in tracked() if run.data.params.get("workload.pause") == "0.1"]
    assert histories(slow_runs) == histories([run for run in tracked() if run not in slow_runs])


MORTAL = """
name: lines
title: Mortal
seeds: [0]
checkpoint_minutes: 1.0e-6
workloads:
  whole: {workload: "STUBS:regularised", epochs: 3, batch_size: 8}
  mortal: {workload: "STUBS:regularised", epochs: 3, batch_size: 8, die_after: 8, marker: MARKER}
methods:
  AdamW: {optimizer: adamw, lr: 0.01}
tables: [accuracy]
"""


def test_a_run_that_is_killed_goes_on_from_its_checkpoint(workplace: Path, write_suite: Callable[..., Path]) -> None:
    path = write_suite(MORTAL.replace("MARKER", str(workplace / "dead")))
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
    outputs = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0]  # the same table
    assert len(tracked()) == 4
    assert {run.info.status for run in tracked()} == {"FINISHED"}
    assert sum(output[1].count(": started") for output in outputs) == 4
