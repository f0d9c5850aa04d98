"""Commands, as a store sees them: each in a folder of its own, one after the other or in turns."""

from __future__ import annotations

import random
import threading
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from benchbench.runs.claims import Holder
from benchbench.runs.folder import RunFolder
from benchbench.tracking import TrackedRun, Tracker
from benchbench.values import Cost, EpochRecord, Outcome, RunResult, RunSpec, Suite
from tests.helpers.specs import run_spec

SPEC = run_spec(workload="line", suite="lines", method="SGD", workload_label="line")
SUITE = Suite(
    name="lines", title="", protocol="holdout", seeds=(0,), methods=(), workloads=("line",), tables=(), specs=(SPEC,)
)


def result_of(value: float, outcome: Outcome = "finished", spec: RunSpec = SPEC) -> RunResult:
    return RunResult(key=spec.key, outcome=outcome, epochs=1, final={"test/accuracy": value}, cost=Cost(steps=3))


class Command:
    """A command that writes to a store from a folder of runs."""

    def __init__(self, uri: str, runs: Path) -> None:
        self.tracker = Tracker(uri)
        self.runs = runs
        self.holder = Holder(runs)
        self.holder.__enter__()

    def begin(self, spec: RunSpec = SPEC) -> TrackedRun:
        self.tracker.results([spec])
        self.parent = self.tracker.begin_invocation(SUITE, "local", self.holder.name)
        folder = RunFolder(self.runs / spec.key)
        folder.prepare(spec)
        folder.append(EpochRecord(epoch=1, metrics={"validation/loss": 0.5}, cost=Cost(steps=3)))
        return self.tracker.begin_run(self.parent, spec, folder, self.holder.name)

    def end(self, tracked: TrackedRun, result: RunResult) -> RunResult:
        tracked.folder.finish(result)
        return self.tracker.end_run(tracked, result)

    def run(self, result: RunResult) -> RunResult:
        return self.end(self.begin(), result)

    def leave(self) -> None:
        """End as a command does, or as one is found that was killed."""
        self.holder.__exit__(None, None, None)


def active(uri: str, *, parents: bool = False) -> list[Run]:
    """Return the runs that MLflow shows, read by MLflow's own client."""
    client = MlflowClient(uri)
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    return [run for run in runs if ("benchbench.key" in run.data.tags) is not parents]


class KilledError(BaseException):
    """The command ends here."""


class Turns:
    """Threads of which one goes on at a time, by chance, whenever it comes to a call to its store.

    Args:
        count: Threads.
        seed: Of the chance.
    """

    def __init__(self, count: int, seed: int) -> None:
        self._chance = random.Random(seed)
        self._changed = threading.Condition()
        self._alive = count
        self._waiting: list[int] = []
        self._turn: int | None = None

    def wait(self, number: int) -> None:
        with self._changed:
            self._waiting.append(number)
            self._choose()
            self._changed.wait_for(lambda: self._turn == number)
            self._turn = None

    def leave(self) -> None:
        with self._changed:
            self._alive -= 1
            self._choose()

    def _choose(self) -> None:
        if self._waiting and len(self._waiting) == self._alive:
            self._turn = self._waiting.pop(self._chance.randrange(len(self._waiting)))
            self._changed.notify_all()


class InTurns:
    """MLflow's client, of which every call waits for its turn, before it and after it, and which may be killed at one.

    Args:
        client: The client.
        turns: The turns.
        number: Of the thread.
        calls: Calls until it is killed.
    """

    def __init__(self, client: MlflowClient, turns: Turns, number: int, calls: int) -> None:
        self._client, self._turns, self._number, self._calls = client, turns, number, calls

    def __getattr__(self, name: str) -> Any:
        called = getattr(self._client, name)

        def call(*arguments: Any, **options: Any) -> Any:
            self._turns.wait(self._number)
            self._calls -= 1
            if self._calls < 0:
                raise KilledError
            value = called(*arguments, **options)
            self._turns.wait(self._number)
            return value

        return call
