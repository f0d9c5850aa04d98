"""Runs without training, for measuring what the scheduler itself costs: workers that wait and write their result."""

from __future__ import annotations

import heapq
import time
from collections.abc import Sequence

from benchbench.engines import Job
from benchbench.values import Component, Cost, EpochRecord, Method, RunResult, RunSpec, Suite

METHODS, SEEDS = 10, 100


class PretendEngine:
    """Devices on which every run takes as many seconds as its spec says, and no processor time.

    Args:
        devices: Runs at a time.
    """

    name = "pretend"

    def __init__(self, devices: int) -> None:
        self._free_since = [time.monotonic()] * devices
        self._running: list[tuple[float, int, Job]] = []
        self._count = 0
        self.lengths: list[float] = []
        """Seconds of the runs, in the order in which they were submitted."""
        self.waited = 0.0
        """Seconds that devices stood idle before a run was submitted to them."""

    @property
    def capacity(self) -> int:
        """Number of free devices."""
        return len(self._free_since)

    def submit(self, job: Job) -> None:
        """Let a run begin to wait."""
        job.folder.prepare(job.spec)
        seconds = float(str(job.spec.workload.parameters["seconds"]))
        self.lengths.append(seconds)
        self._count += 1
        now = time.monotonic()
        self.waited += now - heapq.heappop(self._free_since)
        heapq.heappush(self._running, (now + seconds, self._count, job))

    def poll(self, seconds: float) -> Sequence[RunResult]:
        """Return the results of the runs whose time is over, waiting for the first one."""
        if self._running:
            time.sleep(min(seconds, max(0.0, self._running[0][0] - time.monotonic())))
        ended = []
        while self._running and self._running[0][0] <= time.monotonic():
            end, _, job = heapq.heappop(self._running)
            heapq.heappush(self._free_since, end)
            ended.append(_finished(job))
        return ended

    def stop(self, *, at_once: bool = False) -> None:
        """Let no run go on."""
        self._running.clear()


def makespan_without_scheduler(lengths: Sequence[float], devices: int) -> float:
    """Return the seconds that runs take in this order if a device gets its next run in no time."""
    ends = [0.0] * devices
    for seconds in lengths:
        heapq.heapreplace(ends, ends[0] + seconds)
    return max(ends)


def _finished(job: Job) -> RunResult:
    record = epoch_record(job.spec)
    job.folder.append(record)
    result = result_of(job.spec, record)
    job.folder.finish(result)
    return result


def epoch_record(spec: RunSpec) -> EpochRecord:
    """Return what the only epoch of a run gave: numbers that depend on its seed."""
    metrics = {"train/loss": 1 / (1 + spec.seed), "validation/accuracy": 0.9 + spec.seed * 1e-4, "lr": 0.1}
    return EpochRecord(epoch=1, metrics=metrics, cost=Cost(steps=10, forwards=10, gradients=10, train_seconds=1.0))


def result_of(spec: RunSpec, record: EpochRecord) -> RunResult:
    """Return the result of a run that has finished."""
    final = {**record.metrics, "test/accuracy": record.metrics["validation/accuracy"]}
    return RunResult(
        key=spec.key,
        outcome="finished",
        selection_metric="validation/accuracy",
        epochs=1,
        final=final,
        best=final,
        best_epoch=1,
        cost=record.cost,
        environment={"device": "pretend", "torch": "none"},
    )


def suite_of(lengths: Sequence[float]) -> Suite:
    """Return a suite with a run of each length in seconds, ten methods on as many workloads as that takes."""
    methods = tuple(Method(label=f"method {index}") for index in range(METHODS))
    specs = tuple(
        RunSpec(
            suite="pretend",
            method=methods[index % METHODS].label,
            workload_label=f"workload {index // (METHODS * SEEDS)}",
            workload=Component(target="pretend", parameters={"seconds": seconds}),
            optimizer=Component(target="pretend", parameters={"number": index % METHODS}),
            epochs=1,
            batch_size=1,
            seed=index // METHODS,
        )
        for index, seconds in enumerate(lengths)
    )
    return Suite(
        name="pretend",
        title="Pretend",
        seeds=tuple(dict.fromkeys(spec.seed for spec in specs)),
        methods=methods,
        workloads=tuple(dict.fromkeys(spec.workload_label for spec in specs)),
        tables=("accuracy", "cost"),
        specs=specs,
    )
