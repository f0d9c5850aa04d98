"""What engines and the scheduler cost: `python benchmarks/engines.py [makespan|packing|overhead|pool|reading|ray]`.

Without arguments, everything but `ray`. Every figure is a ratio or a time measured in this run, beside its target.
"""

from __future__ import annotations

import contextlib
import random
import resource
import shutil
import sqlite3
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import sleepers
from figures import show
from pretend import PretendEngine, makespan_without_scheduler, suite_of

from benchbench import api
from benchbench.reporting import tables, to_markdown
from benchbench.scheduling.plan import plan
from benchbench.scheduling.runner import Runner
from benchbench.values import RunSpec

RUNS, SLOTS = 200, 2
DEVICES = 1000
SLEEPERS = Path(sleepers.__file__).resolve()


def sleeping_suite(folder: Path) -> tuple[Path, float]:
    """Write a suite of short runs of uneven lengths; return it, and the shortest time that two slots need for it."""
    draw = random.Random(0)
    epochs = [draw.randint(4, 60) for _ in range(RUNS // 10)]  # 0.2 to 3 seconds
    lines = ["name: sleepers", f"seeds: [{', '.join(map(str, range(10)))}]", "workloads:"]
    lines += [
        f'  w{index}: {{workload: "{SLEEPERS}:sleeper", epochs: {count}, batch_size: 1}}'
        for index, count in enumerate(epochs)
    ]
    lines += ["methods: {SGD: {optimizer: sgd, lr: 0.1}}"]
    path = folder / "sleepers.yaml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path, 10 * sum(epochs) * sleepers.PAUSE / SLOTS


def makespan(engine: str = "local", target: float = 1.10) -> None:
    """Run short runs of uneven lengths and compare with the time in which nobody waits."""
    with tempfile.TemporaryDirectory() as name:
        path, bound = sleeping_suite(Path(name))
        suite = api.load_suite(path)
        api.rows(suite, workspace=workspace(name))  # the store's first migration takes seconds, once
        started = time.perf_counter()
        rows = api.run(suite, engine=engine, slots=SLOTS, workspace=workspace(name))
        seconds = time.perf_counter() - started
        assert all(row.complete for row in rows)
    what = f"makespan of {RUNS} runs of 0.2 to 3 s on {SLOTS} slots / the lower bound, {engine}"
    show(what, seconds / bound, at_most=target)


def packing() -> None:
    """Train two perceptrons one after the other with all cores, and side by side with a core each."""
    overrides = ["seeds=[0,1]", "workloads.digits-mlp={epochs: 40, batch_size: 64}"]
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for slots in (1, 1, 2, 2, 1):
        with tempfile.TemporaryDirectory() as name:
            path = Path(name, "mlp.yaml")
            path.write_text(
                "name: mlp\nseeds: [0]\nworkloads: {digits-mlp: {epochs: 1, batch_size: 64}}\n"
                "methods: {SGD: {optimizer: sgd, lr: 0.1, momentum: 0.9}}\n",
                encoding="utf-8",
            )
            suite = api.load_suite(path, overrides=overrides)
            shutil.copy(migrated_store(), Path(name, "mlflow.db"))
            started = time.perf_counter()
            api.run(suite, slots=slots, workspace=workspace(name))
            seconds[slots].append(time.perf_counter() - started)
    del seconds[1][0]  # in which the fork server has begun to load torch
    gain = sum(seconds[1]) / sum(seconds[2])
    show("two perceptrons one after the other / side by side", gain, at_least=1.6)


def overhead() -> None:
    """Let runs that take no time go through the scheduler and the store."""
    per_run, memory = {}, {}
    for count in (200, 500, 2000):
        with tempfile.TemporaryDirectory() as name:
            runner = pretend_runner([0.0] * count, PretendEngine(SLOTS), Path(name))
            started = time.perf_counter()
            runner.run()
            per_run[count] = (time.perf_counter() - started) / count
        memory[count] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    show("parent's time per run at 2,000 runs, SQLite", 1000 * per_run[2000], " ms", at_most=30)
    show("parent's time per run, 2,000 runs / 500 runs", per_run[2000] / per_run[500], at_most=1.15)
    show("parent's peak memory, 2,000 runs / 500 runs", memory[2000] / memory[500], at_most=1.10)


def pool() -> None:
    """Keep a thousand devices busy with runs that only wait."""
    draw = random.Random(0)
    lengths = [draw.uniform(60, 180) for _ in range(3 * DEVICES)]
    with tempfile.TemporaryDirectory() as name:
        engine = PretendEngine(DEVICES)
        runner = pretend_runner(lengths, engine, Path(name))
        started = time.perf_counter()
        runner.run()
        seconds = time.perf_counter() - started
    busy = sum(lengths)
    what = f"{len(lengths):,} runs of 1 to 3 minutes on {DEVICES:,} pretend devices"
    show(
        f"share of the devices' time that waits for the scheduler, {what}",
        engine.waited / (engine.waited + busy),
        at_most=0.05,
    )
    alone = makespan_without_scheduler(engine.lengths, DEVICES)
    show("makespan of the same / in the same order without a scheduler", seconds / alone, at_most=1.05)


def reading() -> None:
    """Plan and report a store of 10,000 runs."""
    suite = suite_of([0.0] * 10_000)
    with tempfile.TemporaryDirectory() as name:
        fill(Path(name), suite.specs)
        started = time.perf_counter()
        planned = plan(suite.specs, workspace(name).tracker(), Path(name, "runs"))
        show("plan of 10,000 runs", time.perf_counter() - started, " s", at_most=5)
        assert all(item.settled for item in planned)
        started = time.perf_counter()
        text = "\n".join(map(to_markdown, tables(suite, api.rows(suite, workspace=workspace(name)))))
        show("report of 10,000 runs", time.perf_counter() - started, " s", at_most=5)
        assert "n = 100" in text


def pretend_runner(lengths: list[float], engine: PretendEngine, folder: Path) -> Runner:
    """Return a runner of runs that only wait."""
    shutil.copy(migrated_store(), folder / "mlflow.db")
    place = workspace(str(folder))
    return Runner(suite_of(lengths), engine, place.tracker(), place.runs_dir, folder, lambda event: None)


def workspace(folder: str) -> api.Workspace:
    """Return a workspace in a folder of its own."""
    return api.Workspace(f"sqlite:///{folder}/mlflow.db", Path(folder, "runs"))


_MIGRATED: list[Path] = []


def migrated_store() -> Path:
    """Return an empty store; its migrations take seconds."""
    if not _MIGRATED:
        folder = tempfile.mkdtemp()
        workspace(folder).tracker().begin_invocation(suite_of([0.0]), "none", "")
        _MIGRATED.append(Path(folder, "mlflow.db"))
    return _MIGRATED[0]


def fill(folder: Path, specs: tuple[RunSpec, ...]) -> None:
    """Write one run through the tracker, and copies of its rows for all others."""
    pretend_runner([0.0], PretendEngine(1), folder).run()
    with sqlite3.connect(folder / "mlflow.db") as database:
        source = database.execute("SELECT run_uuid FROM tags WHERE key = 'benchbench.key'").fetchone()[0]
        for table in ("runs", "tags", "params", "metrics", "latest_metrics"):
            cursor = database.execute(f"SELECT * FROM {table} WHERE run_uuid = ?", (source,))
            names = [column[0] for column in cursor.description]
            rows = [dict(zip(names, row, strict=True)) for row in cursor]
            places = ", ".join(f":{name}" for name in names)
            for spec in specs[1:]:
                labels = {"benchbench.key": spec.key, "benchbench.method": spec.method}
                own = {"run_uuid": uuid.uuid5(uuid.NAMESPACE_OID, spec.key).hex}
                copies = [
                    {
                        **row,
                        **own,
                        **({"value": labels[row["key"]]} if table == "tags" and row["key"] in labels else {}),
                    }
                    for row in rows
                ]
                database.executemany(f"INSERT INTO {table} VALUES ({places})", copies)
    database.close()


PARTS: dict[str, Callable[[], None]] = {
    "makespan": makespan,
    "packing": packing,
    "overhead": overhead,
    "reading": reading,
    "pool": pool,
    "ray": lambda: makespan("ray", 1.25),
}


def main(names: list[str]) -> None:
    """Measure what was asked for."""
    for name in names or [name for name in PARTS if name != "ray"]:
        # MLflow keeps the files of runs in the folder that a command is called in.
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            PARTS[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
