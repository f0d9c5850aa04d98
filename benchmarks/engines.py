"""What scheduling costs, each figure beside its target: `python benchmarks/engines.py [FIGURE...]` (default: all).

Runs of pretend devices train nothing: they write what a run writes and then sleep. Everything else is real: the
scheduler, claims, folders, and an MLflow store in a SQLite file.
"""

from __future__ import annotations

import hashlib
import heapq
import logging
import random
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from benchbench import engines
from benchbench.engines import Engine, Job
from benchbench.engines.local import LocalEngine
from benchbench.engines.slots import cpu_slots
from benchbench.reporting import tables
from benchbench.scheduling.plan import plan
from benchbench.scheduling.runner import Runner
from benchbench.tracking import Tracker
from benchbench.tracking.entities import TAG
from benchbench.values import Component, Cost, EpochRecord, Method, Row, RunResult, RunSpec, Suite

SLEEPER = Path(__file__).parent.parent / "tests" / "stubs.py"
"""Has workloads that only sleep."""


@dataclass
class PretendDevices:
    """An engine whose runs take a given time on devices that do nothing.

    Attributes:
        count: Number of devices.
        seconds: How long a run takes, by its seed.
        busy: Seconds that runs have taken, in all.
        waited: Seconds for which devices had nothing to do before a run of theirs, in all.
    """

    count: int
    seconds: Callable[[int], float]
    busy: float = 0.0
    waited: float = 0.0
    name: str = "pretend"
    _running: list[tuple[float, str]] = field(default_factory=list)
    _jobs: dict[str, Job] = field(default_factory=dict)
    _idle_since: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._idle_since = [time.monotonic()] * self.count

    @property
    def capacity(self) -> int:
        """Number of idle devices."""
        return self.count - len(self._running)

    def submit(self, job: Job) -> None:
        """Start a run."""
        job.folder.prepare(job.spec)
        seconds = self.seconds(job.spec.seed)
        self.busy += seconds
        self.waited += time.monotonic() - self._idle_since.pop()
        heapq.heappush(self._running, (time.monotonic() + seconds, job.spec.key))
        self._jobs[job.spec.key] = job

    def poll(self, seconds: float) -> Sequence[RunResult]:
        """Return the results of the runs that have ended, waiting for the next one."""
        if self._running:
            time.sleep(min(seconds, max(0.0, self._running[0][0] - time.monotonic())))
        ended = []
        while self._running and self._running[0][0] <= time.monotonic():
            end, key = heapq.heappop(self._running)
            self._idle_since.append(end)
            ended.append(finish(self._jobs.pop(key)))
        return ended

    def stop(self) -> None:
        """Do nothing: no process runs."""


def finish(job: Job) -> RunResult:
    """Leave in a folder what a run of one epoch leaves."""
    cost = Cost(steps=10, forwards=10, gradients=10, train_seconds=1.0)
    metrics = {"validation/accuracy": 0.5, "train/loss": 1.0}
    job.folder.append(EpochRecord(epoch=1, metrics=metrics, cost=cost))
    job.folder.log_file.write_text("a line\n" * 20, encoding="utf-8")
    result = RunResult(
        key=job.spec.key, outcome="finished", epochs=1, final=metrics, best=metrics, best_epoch=1, cost=cost
    )
    job.folder.finish(result)
    return result


def suite_of(count: int, methods: int = 1, workloads: int = 1, target: str = "w", **parameters: float) -> Suite:
    """Return a suite of `count` runs that takes no part in any check."""
    seeds = count // (methods * workloads)
    specs = [
        RunSpec(
            suite="made-up",
            method=f"method {m}",
            workload_label=f"workload {w}",
            workload=Component(target=target, parameters={"number": w, **parameters}),
            optimizer=Component(target="o", parameters={"number": m}),
            epochs=1,
            batch_size=8,
            seed=seed,
        )
        for w in range(workloads)
        for m in range(methods)
        for seed in range(seeds)
    ]
    return Suite(
        name="made-up",
        title="Made up",
        seeds=tuple(range(seeds)),
        methods=tuple(Method(label=f"method {m}", category="one") for m in range(methods)),
        workloads=tuple(f"workload {w}" for w in range(workloads)),
        tables=("accuracy", "cost"),
        specs=tuple(specs),
    )


def work_off(suite: Suite, engine: Engine, folder: Path) -> float:
    """Run a suite and return the seconds that it took."""
    tracker = Tracker(f"sqlite:///{folder / 'mlflow.db'}")
    tracker.begin_invocation(suite, engine.name)  # MLflow sets its database up with the first call
    runner = Runner(suite, engine, tracker, folder / "runs", folder / "data", lambda event: None)
    begin = time.perf_counter()
    runner.run()
    return time.perf_counter() - begin


def sleepers(count: int) -> Suite:
    """Return a suite of runs that sleep, on average for a second: most of them shorter, some of them up to four."""
    draw = random.Random(0)
    suite = suite_of(count)
    specs = []
    for spec in suite.specs:
        seconds = min(4.0, 0.25 + draw.expovariate(1 / 0.75))
        sleeping = Component(target=f"{SLEEPER}:line", parameters={"steps": 10, "pause": seconds / 10}, digest="0")
        optimizer = Component(target="sgd", parameters={"lr": 0.1})
        specs.append(spec.model_copy(update={"workload": sleeping, "optimizer": optimizer}))
    return suite.model_copy(update={"specs": tuple(specs)})


def makespan(engine: str, target: float, count: int = 200, slots: int = 2) -> None:
    """Compare the time of a suite with what its runs alone take, shared out over the slots."""
    suite = sleepers(count)
    with tempfile.TemporaryDirectory() as folder:
        used = engines.create(engine, cpu_slots(slots, cores=slots))
        try:
            taken = work_off(suite, used, Path(folder))
        finally:
            used.stop()
        results = Tracker(f"sqlite:///{folder}/mlflow.db").results([spec.key for spec in suite.specs])
    seconds = [result.cost.train_seconds for result in results.values()]
    bound = max(sum(seconds) / slots, *seconds)
    show(f"{engine}: makespan of {len(seconds)} runs on {slots} slots / lower bound", taken / bound, target, "")


def overhead(few: int = 200, many: int = 2000) -> None:
    """Print what a run costs the scheduler, and how that and its memory grow with the number of runs."""
    per_run, memory = {}, {}
    for count in (few, many):
        with tempfile.TemporaryDirectory() as folder:
            begin = resident()
            seconds = work_off(suite_of(count), PretendDevices(2, lambda seed: 0.0), Path(folder))
            per_run[count], memory[count] = 1000 * seconds / count, resident() - begin
    show(f"overhead per run at {many} runs", per_run[many], 30, " ms")
    show(f"overhead per run, {many} runs / {few} runs", per_run[many] / per_run[few], 1.2, "")
    show(f"memory gained over {many} runs", memory[many] / 2**20, 50, " MiB")


def pool(devices: int = 1000, seconds: float = 120.0) -> None:
    """Print how long devices wait for the scheduler, of the time that they are there for."""
    suite = suite_of(2 * devices)
    draw = random.Random(0)
    lengths = [draw.uniform(0.5, 1.5) * seconds for _ in suite.specs]
    engine = PretendDevices(devices, lambda seed: lengths[seed])
    with tempfile.TemporaryDirectory() as folder:
        work_off(suite, engine, Path(folder))
    waited = engine.waited / (engine.waited + engine.busy)
    show(f"{devices} devices, runs of {seconds:g} s: share of time they wait for the scheduler", 100 * waited, 5, " %")


def reading(methods: int = 10, workloads: int = 100, seeds: int = 10) -> None:
    """Print how long it takes to plan and to report many runs that are in the store."""
    suite = suite_of(methods * workloads * seeds, methods, workloads)
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder, "mlflow.db")
        work_off(suite.model_copy(update={"specs": suite.specs[:1]}), PretendDevices(1, lambda seed: 0.0), Path(folder))
        fill(store, suite)
        for what in ("plan", "report"):
            begin, processor = time.perf_counter(), time.process_time()
            tracker = Tracker(f"sqlite:///{store}")
            if what == "plan":
                assert all(item.settled for item in plan(suite.specs, tracker, Path(folder, "runs")))
            else:
                found = tracker.results([spec.key for spec in suite.specs])
                tables(suite, [Row(spec=spec, result=found.get(spec.key)) for spec in suite.specs])
            show(f"{what} of {len(suite.specs)} runs", time.perf_counter() - begin, 5, " s")
            print(f"    of it on the processor: {time.process_time() - processor:.2f} s", flush=True)


def fill(store: Path, suite: Suite) -> None:
    """Copy the only run in a store for every other run of a suite, in the database itself, which takes seconds."""
    key = f"{TAG}key"
    with sqlite3.connect(store) as database:
        [(source,)] = database.execute("SELECT run_uuid FROM tags WHERE key = ?", (key,)).fetchall()
        for table in ("runs", "tags", "params", "metrics", "latest_metrics"):
            columns = [column for _, column, *_ in database.execute(f"PRAGMA table_info({table})")]
            rows = database.execute(f"SELECT * FROM {table} WHERE run_uuid = ?", (source,)).fetchall()
            where, named = columns.index("run_uuid"), {spec.key for spec in suite.specs[1:]}
            copies = [
                tuple(copied(value, spec_key, key in row, column, where) for column, value in enumerate(row))
                for spec_key in named
                for row in rows
            ]
            database.executemany(f"INSERT INTO {table} VALUES ({','.join('?' * len(columns))})", copies)


def copied(value: object, key: str, names_key: bool, column: int, where: int) -> object:
    """Return a value of a copied row: its run's identifier and key are its own."""
    if column == where:
        return hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()
    return key if names_key and value != f"{TAG}key" else value


def packing(epochs: int = 40) -> None:
    """Compare two MLP runs on a core each with the same two, one after the other."""
    taken = {}
    for slots in (1, 2):
        suite = mlps(epochs)
        with tempfile.TemporaryDirectory() as folder:
            engine = LocalEngine([replace(slot, threads=1) for slot in cpu_slots(slots, cores=2)])
            try:
                taken[slots] = work_off(suite, engine, Path(folder))
            finally:
                engine.stop()
    show("two MLP runs, sequential / packed on 2 cores", taken[1] / taken[2], 1.6, "", at_least=True)


def mlps(epochs: int) -> Suite:
    """Return a suite of two runs of an MLP."""
    suite = suite_of(2)
    change = {
        "workload": Component(target="digits-mlp"),
        "optimizer": Component(target="sgd", parameters={"lr": 0.1}),
        "epochs": epochs,
        "batch_size": 32,
    }
    return suite.model_copy(update={"specs": tuple(spec.model_copy(update=change) for spec in suite.specs)})


def resident() -> int:
    """Return the bytes of memory that this process takes up now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def show(what: str, value: float, target: float, unit: str, *, at_least: bool = False) -> None:
    """Print a figure beside its target."""
    met = value >= target if at_least else value <= target
    sign = ">=" if at_least else "<="
    print(f"{what}: {value:.2f}{unit} (target {sign} {target:g}{unit}: {'met' if met else 'MISSED'})", flush=True)


FIGURES: dict[str, Callable[[], None]] = {
    "local": partial(makespan, "local", 1.10),
    "ray": partial(makespan, "ray", 1.25),
    "overhead": overhead,
    "pool": pool,
    "reading": reading,
    "packing": packing,
}


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    for name in sys.argv[1:] or FIGURES:
        FIGURES[name]()
