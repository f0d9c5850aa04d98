"""A suite of four short runs on a line, commands on it, and what MLflow shows of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from benchbench import api
from benchbench.scheduling.runner import Event
from benchbench.tracking.entities import read_result
from benchbench.values import Row, RunResult
from benchbench.values.sharpness import SharpnessSettings
from tests.conftest import processes_where, wait_for
from tests.helpers.suites import SGD, line, suite

SUITE = suite(
    title="Lines",
    seeds=[0, 1],
    workloads={"line": line(epochs=3, steps=4)},
    methods={"SGD": SGD, "AdamW": {"optimizer": "adamw", "lr": 0.01}},
    tables=["accuracy"],
)


SLOW = SUITE.replace("steps: 4", "steps: 4, pause: 0.1").replace("seeds", "checkpoint_minutes: 1.0e-6\nseeds")


def mlflow_client() -> MlflowClient:
    return MlflowClient(f"sqlite:///{Path.cwd()}/mlflow.db")


def tracked(experiment: str = "lines") -> list[Run]:
    """Return the child runs that MLflow shows, read back by MLflow's own client."""
    client = mlflow_client()
    found = client.get_experiment_by_name(experiment)
    runs = client.search_runs([found.experiment_id]) if found else []
    return [run for run in runs if "benchbench.key" in run.data.tags]


def kinds(events: list[Event]) -> list[str]:
    return [event.kind for event in events]


def run_inline(path: Path, **options: Any) -> tuple[list[Row], list[Event]]:
    events: list[Event] = []
    rows = api.run(api.load_suite(path), engine="inline", observe=events.append, **options)
    return rows, events


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


def kill_midway(path: Path, cwd: Path, seconds: float, before: Callable[[], object] = lambda: None) -> None:
    """Start a command, kill it some seconds after its runs have begun, and wait until they are gone too."""
    command = start(path, cwd)
    wait_for(lambda: processes(cwd) and list(cwd.glob(".benchbench/runs/*/log.txt")))
    time.sleep(seconds)
    before()
    command.kill()
    command.communicate(timeout=300)
    wait_for(lambda: not processes(cwd))


def processes(cwd: Path) -> list[int]:
    """Return the processes that work in a folder."""
    return processes_where(lambda entry: (entry / "cwd").resolve() == cwd and int(entry.name) != os.getpid())


def results(runs: list[Run]) -> list[RunResult]:
    """Return what the store holds of runs."""
    return [read_result(run, SharpnessSettings()) for run in runs]


def histories(runs: list[Run]) -> dict[tuple[str, str], Any]:
    """Return every value that MLflow holds of each run, clocks and memory of the process left out."""
    client = mlflow_client()
    return {
        (run.data.tags["benchbench.method"], run.data.params["seed"]): {
            name: [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, name)]
            for name in run.data.metrics
            if name not in ("cost/train_seconds", "cost/warm_up_seconds", "cost/warm_up_steps", "memory/host_peak")
        }
        for run in runs
    }
