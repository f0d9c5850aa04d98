"""Make seeded faults, and compare every result with an undisturbed one: `python -m benchmarks.faults 200 --seed 0`.

Each fault happens in a folder of its own: a command is started, something happens to it, to its processes or to what it
has left, and the same command is given again. Then every result must be that of an undisturbed command, bit for bit, or
its loss must have been named, in which case what the message says is done (what it names is removed) and the same
command must make up for it.

Commands are forked from this process, which has loaded the libraries: a fault takes seconds.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchbench.values import Metrics
from benchbench.workloads import Setup, Workload

SUITE = """
name: faults
seeds: [0, 1]
checkpoint_minutes: 1.0e-6
workloads:
  line: {{workload: "{file}:line", epochs: 3, batch_size: 8{ranks}}}
methods:
  SGD: {{optimizer: sgd, lr: 0.1}}
tables: [accuracy]
"""

PATIENCE = 120.0
"""Seconds after which a command counts as hanging."""


class Line:
    """Fits a line in steps of some milliseconds."""

    selection_metric = "accuracy"
    higher_is_better = True
    steps_per_epoch = 6

    def __init__(self, setup: Setup) -> None:
        self.model: nn.Module = nn.Linear(1, 1).to(setup.device)
        self._setup = setup

    def batches(self, epoch: int) -> Iterator[Tensor]:
        """Yield random points."""
        generator = self._setup.streams.generator("order", epoch)
        for _ in range(self.steps_per_epoch):
            time.sleep(0.02)
            yield torch.rand(8, 1, generator=generator)

    def loss(self, batch: Tensor) -> Tensor:
        """Return the mean squared distance from the line of slope two."""
        return (self.model(batch) - 2 * batch).square().mean()

    def evaluate(self, split: str) -> Metrics:
        """Return the loss on a grid, and what falls with it."""
        points = torch.linspace(0, 1, 5)[:, None]
        with torch.no_grad():
            loss = self.loss(points).item()
        return {"loss": loss, "accuracy": 1 / (1 + loss)}


def build_line(setup: Setup) -> Line:
    """Fit a line."""
    return Line(setup)


line = Workload(build_line, trial=False)


@dataclass
class Bench:
    """A folder in which commands are given.

    Attributes:
        folder: The folder.
        chance: What decides when and where something happens.
        engine: Engine of the commands.
        runs: Folder of the runs' folders.
        store: File of the tracking store.
        said: What the commands have printed.
    """

    folder: Path
    chance: random.Random
    engine: str = "inline"
    ranks: int = 1
    runs: Path = field(init=False)
    store: Path = field(init=False)
    said: str = ""

    def __post_init__(self) -> None:
        self.runs, self.store = self.folder / ".benchbench/runs", self.folder / "mlflow.db"

    def write_suite(self) -> None:
        """Write the suite."""
        ranks = f", ranks: {self.ranks}" if self.ranks > 1 else ""
        (self.folder / "suite.yaml").write_text(SUITE.format(file=Path(__file__).resolve(), ranks=ranks))

    def start(self, number: int = 0) -> int:
        """Start the command, and return its process."""
        slots = "2" if self.engine == "local" else "1"
        arguments = ["run", "suite.yaml", "--engine", self.engine, "--slots", slots, "--devices", "cpu"]
        where = ["--tracking-uri", f"sqlite:///{self.store}", "--runs-dir", str(self.runs)]
        return forked(lambda: command([*arguments, *where]), self.folder, self.folder / f"said-{number}.txt")

    def wait(self, process: int, number: int = 0) -> int | None:
        """Wait for a command, keep what it said, and return its exit code: `None` where it hangs."""
        code = ended(process)
        with suppress(OSError):
            self.said += (self.folder / f"said-{number}.txt").read_text(errors="replace")
        return code

    def run(self) -> int | None:
        """Run the command to its end."""
        return self.wait(self.start())

    def processes(self) -> list[int]:
        """Return the processes of the running command, itself left out."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if (entry / "cwd").resolve() == self.folder and int(entry.name) != os.getpid():
                    found.append(int(entry.name))
        return found

    def files(self) -> list[Path]:
        """Return what commands have left of runs, and the files that the store keeps, in a fixed order."""
        left = [*self.runs.glob("[0-9a-f]*/*"), *self.runs.glob("*/claims/*"), *self.folder.glob("mlruns/**/*.json*")]
        return sorted(path for path in left if path.is_file())


def command(arguments: list[str]) -> int:
    """Give a command, in this process."""
    from benchbench import cli

    sys.argv = ["benchbench", *arguments]
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def forked(action: Callable[[], int], folder: Path, said: Path) -> int:
    """Do something in a process that is forked from this one, in its own session; return the process."""
    sys.stdout.flush()
    process = os.fork()
    if process:
        return process
    code = 70
    try:
        os.setsid()
        os.chdir(folder)
        output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        code = action()
    except KeyboardInterrupt:
        code = 130
    except BaseException:  # noqa: BLE001 - whatever it is, it belongs into the report
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        stop_server()
        os._exit(code)
    return 0


def stop_server() -> None:
    """End what multiprocessing has started, as the end of an interpreter does."""
    from multiprocessing import util

    with suppress(BaseException):
        util._exit_function()  # type: ignore[attr-defined]


def ended(process: int) -> int | None:
    """Return the exit code of a process, or `None` if it had to be killed for it hung."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    with suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return None


def found_in(bench: Bench) -> dict[str, Any]:
    """Return what a reader of the results sees: by key the numbers, the history, and how many runs the store has."""
    answer = bench.folder / "found.json"
    answer.unlink(missing_ok=True)

    def look() -> int:
        from mlflow import MlflowClient

        from benchbench import api
        from benchbench.tracking import Tracker
        from benchbench.tracking.histories import read_histories

        uri = f"sqlite:///{bench.store}"
        suite = api.load_suite("suite.yaml")
        rows = api.rows(suite, workspace=api.Workspace(uri, bench.runs))
        results = {row.spec.key: row.result for row in rows if row.result is not None and row.result.conclusive}
        histories = read_histories(results, bench.runs, Tracker(uri))
        client = MlflowClient(uri)
        runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
        keys = Counter(run.data.tags.get("benchbench.key") for run in runs)
        content = {
            key: {
                "numbers": [
                    result.final,
                    result.best,
                    result.cost.model_dump(include={"steps", "forwards", "gradients", "hvps"}),
                ],
                "history": [record.metrics for record in histories[key].epochs] if key in histories else None,
                "runs": keys[key],
            }
            for key, result in results.items()
        }
        answer.write_text(json.dumps(content))
        (bench.folder / "modules.txt").write_text("\n".join(sys.modules))
        return 0

    if ended(forked(look, bench.folder, bench.folder / "look.txt")) != 0:
        return {"error": (bench.folder / "look.txt").read_text(errors="replace")}
    return dict(json.loads(answer.read_text()))


Fault = Callable[[Bench], None]


def after(bench: Bench, process: int, action: Callable[[], object], most: float = 1.2) -> None:
    """Do something at a random moment of a command's work, and wait for its end."""
    deadline = time.monotonic() + PATIENCE
    while not list(bench.runs.glob("*/spec.json")) and time.monotonic() < deadline:
        if os.waitpid(process, os.WNOHANG)[0]:
            raise RuntimeError("the command has ended before its first run")
        time.sleep(0.01)
    time.sleep(bench.chance.uniform(0, most))
    action()
    bench.wait(process)
    settle(bench)


def settle(bench: Bench) -> None:
    """Wait until no process of a command is left."""
    deadline = time.monotonic() + PATIENCE
    while bench.processes() and time.monotonic() < deadline:
        time.sleep(0.02)


def signalled(number: signal.Signals, engine: str) -> Fault:
    """Send a signal to the command."""

    def fault(bench: Bench) -> None:
        bench.engine = engine
        process = bench.start()
        after(bench, process, lambda: os.kill(process, number))

    return fault


def stopped(engine: str) -> Fault:
    """Stop the command and all that it has started for a while."""

    def fault(bench: Bench) -> None:
        bench.engine = engine
        process = bench.start()

        def pause() -> None:
            for number in (signal.SIGSTOP, signal.SIGCONT):
                for each in bench.processes():
                    with suppress(ProcessLookupError):
                        os.kill(each, number)
                time.sleep(0.3)

        after(bench, process, pause)

    return fault


def killed(which: str, ranks: int = 1) -> Fault:
    """Kill a process that the local engine has started: the server, the process of a run, or that of a rank."""

    def fault(bench: Bench) -> None:
        bench.engine, bench.ranks = "local", ranks
        bench.write_suite()
        process = bench.start()

        def kill() -> None:
            deadline = time.monotonic() + 5
            while time.monotonic() < deadline:
                found = [each for each in bench.processes() if each != process and kind_of(each, bench) == which]
                if found:
                    with suppress(ProcessLookupError):
                        os.kill(bench.chance.choice(sorted(found)), signal.SIGKILL)
                    return
                time.sleep(0.02)

        after(bench, process, kill, most=0.6)

    return fault


def kind_of(process: int, bench: Bench) -> str:
    """Return what a process of the local engine is."""
    with suppress(OSError):
        text = Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace")
        prints_to_a_log = (Path(f"/proc/{process}/fd/1")).readlink().is_relative_to(bench.runs)
        parent = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        above = Path(f"/proc/{parent}/cmdline").read_bytes().decode(errors="replace")
        if "forkserver" in text:
            if "forkserver" not in above:
                return "server"
            grand = int(Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[1])
            is_rank = "forkserver" in Path(f"/proc/{grand}/cmdline").read_bytes().decode(errors="replace")
            return "rank" if is_rank else "worker" if prints_to_a_log else ""
    return ""


def damaged(how: Callable[[Bench, Path], None], *, without_store: bool, also_unended: bool = False) -> Fault:
    """Damage one of the files that a whole command, or one that was killed, has left; with the store, or without it."""

    def fault(bench: Bench) -> None:
        if also_unended and bench.chance.random() < 0.5:
            process = bench.start()
            after(bench, process, lambda: os.kill(process, signal.SIGKILL))
        else:
            bench.run()
        if without_store:
            shutil.copy(TEMPLATE, bench.store)
        if files := bench.files():
            how(bench, bench.chance.choice(files))

    return fault


def flip(bench: Bench, path: Path) -> None:
    """Flip a bit."""
    content = bytearray(path.read_bytes())
    if content:
        content[bench.chance.randrange(len(content))] ^= 1 << bench.chance.randrange(8)
        path.write_bytes(content)


def truncate(bench: Bench, path: Path) -> None:
    """Cut a file short."""
    os.truncate(path, bench.chance.randrange(path.stat().st_size + 1))


def delete(bench: Bench, path: Path) -> None:
    """Delete a file."""
    path.unlink()


def replace(bench: Bench, path: Path) -> None:
    """Put a folder into a file's place."""
    path.unlink()
    path.mkdir()


def swap(bench: Bench, path: Path) -> None:
    """Put a file of another run into a file's place."""
    others = [each for each in bench.files() if each.name == path.name and each != path]
    if others:
        shutil.copy(bench.chance.choice(others), path)


def double(bench: Bench, path: Path) -> None:
    """Write the last line twice."""
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines, *lines[-1:]]))


def hurt_store(how: Callable[[Bench, Path], None]) -> Fault:
    """Damage the store after a whole command."""

    def fault(bench: Bench) -> None:
        bench.run()
        for extra in bench.folder.glob("mlflow.db-*"):
            extra.unlink()
        how(bench, bench.store)

    return fault


def folder_vanishes(bench: Bench) -> None:
    """Remove the folder of a run while the command is at work."""
    process = bench.start()

    def remove() -> None:
        folders = sorted(bench.runs.glob("[0-9a-f]*"))
        shutil.rmtree(bench.chance.choice(folders), ignore_errors=True)

    after(bench, process, remove)


def two_folders(bench: Bench) -> None:
    """Give the command in two folders at once, with one store; one of the two may be killed."""
    other = Bench(bench.folder / "other", bench.chance)
    other.folder.mkdir()
    other.write_suite()
    other.store = bench.store
    first, second = bench.start(1), other.start(1)
    if bench.chance.random() < 0.5:
        time.sleep(bench.chance.uniform(0.5, 3))
        with suppress(ProcessLookupError):
            os.kill(bench.chance.choice([first, second]), signal.SIGKILL)
    bench.wait(first, 1)
    other.wait(second, 1)
    settle(bench)
    settle(other)


def two_commands(bench: Bench) -> None:
    """Give the command twice at once in one folder; one of the two may be killed."""
    first, second = bench.start(1), bench.start(2)
    if bench.chance.random() < 0.5:
        time.sleep(bench.chance.uniform(0.5, 3))
        os.kill(bench.chance.choice([first, second]), signal.SIGKILL)
    bench.wait(first, 1)
    bench.wait(second, 2)
    settle(bench)


def full_disk(store_too: bool) -> Fault:
    """Let the disk of the runs, or that of the store as well, fill up at a random moment, and make room afterwards."""

    def fault(bench: Bench) -> None:
        disk = bench.folder / "disk"
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], check=True)
        bench.runs = disk / "runs"
        if store_too:
            bench.store = disk / "mlflow.db"
            shutil.copy(TEMPLATE, bench.store)
        process = bench.start()

        def fill() -> None:
            with (disk / "ballast").open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(bytes(4096))

        after(bench, process, fill)
        (disk / "ballast").unlink()

    return fault


TEMPLATE = Path()
"""An empty store, which takes seconds to make."""

FAULTS: dict[str, Fault] = {
    "command killed (inline)": signalled(signal.SIGKILL, "inline"),
    "command killed (local)": signalled(signal.SIGKILL, "local"),
    "SIGTERM (inline)": signalled(signal.SIGTERM, "inline"),
    "SIGTERM (local)": signalled(signal.SIGTERM, "local"),
    "SIGINT (inline)": signalled(signal.SIGINT, "inline"),
    "SIGINT (local)": signalled(signal.SIGINT, "local"),
    "stopped for a while (inline)": stopped("inline"),
    "stopped for a while (local)": stopped("local"),
    "fork server killed": killed("server"),
    "run's process killed": killed("worker"),
    "rank killed": killed("rank", ranks=2),
    "bit of a file flipped": damaged(flip, without_store=False, also_unended=True),
    "bit of a file flipped, store gone": damaged(flip, without_store=True),
    "file cut short": damaged(truncate, without_store=False, also_unended=True),
    "file cut short, store gone": damaged(truncate, without_store=True),
    "file deleted": damaged(delete, without_store=False, also_unended=True),
    "file deleted, store gone": damaged(delete, without_store=True),
    "folder in place of a file": damaged(replace, without_store=False, also_unended=True),
    "folder in place of a file, store gone": damaged(replace, without_store=True),
    "file of another run, store gone": damaged(swap, without_store=True),
    "last line twice, store gone": damaged(double, without_store=True),
    "bit of the store flipped": hurt_store(flip),
    "store cut short": hurt_store(truncate),
    "store deleted": hurt_store(delete),
    "folder in place of the store": hurt_store(replace),
    "run's folder removed": folder_vanishes,
    "two folders, one store": two_folders,
    "two commands at once": two_commands,
    "runs' disk full": full_disk(store_too=False),
    "runs' and store's disk full": full_disk(store_too=True),
}


def again(bench: Bench, calm: dict[str, Any]) -> tuple[str, str]:
    """Give the same command again, and judge: `equal`, `named`, or what is wrong, with the details."""
    bench.said = ""
    code = bench.run()
    found = found_in(bench)
    if code == 0 and found == calm:
        return "equal", ""
    if code is None:
        return "hangs", bench.said
    if code != 0:
        if not re.search(r"(?m)^error: ", bench.said):
            return f"exit code {code} without a reason", bench.said
        mend(bench)
        code = bench.run()
        if code != 0:
            return f"exit code {code} after the remedy", bench.said
        found = found_in(bench)
    return judged(found, calm, bench), f"{bench.said}\n{found}\ninstead of\n{calm}"


def judged(found: dict[str, Any], calm: dict[str, Any], bench: Bench) -> str:
    """Return `named` if every difference from the undisturbed results was, else what is wrong."""
    said = "".join(bench.said.split())
    for key, expected in calm.items():
        have = found.get(key, {"numbers": None})
        wrong = {
            "unreadable": "error" in found,
            "result lost": have["numbers"] is None,
            "WRONG NUMBERS": have["numbers"] != expected["numbers"],
            "several runs of a key in the store": have.get("runs") != 1,
            "WRONG HISTORY": have.get("history") not in (None, expected["history"]),
            "history lost": have.get("history") is None and key not in said,
        }
        if any(wrong.values()):
            return next(name for name, is_so in wrong.items() if is_so)
    return "named"


def mend(bench: Bench) -> None:
    """Do what an error asks for: remove what it names."""
    shown = "".join(bench.said.split())
    for path in (bench.store, *sorted(bench.folder.rglob("*"), key=lambda each: -len(str(each)))):
        name = str(path) if str(path) in shown else str(path.relative_to(bench.folder))
        if name in shown and (path == bench.store or path.is_relative_to(bench.runs)):
            shutil.rmtree(path, ignore_errors=True)
            path.unlink(missing_ok=True)
            if path == bench.store:
                for extra in path.parent.glob("mlflow.db-*"):
                    extra.unlink()
                shutil.copy(TEMPLATE, path)
            return


def one(kind: str, number: int, seed: int, root: Path, calm: dict[int, dict[str, Any]]) -> tuple[str, str]:
    """Make one fault in a folder of its own, and return what became of it."""
    bench = Bench(root / f"{number:03}", random.Random(f"{seed} {number} {kind}"))
    bench.folder.mkdir()
    bench.write_suite()
    shutil.copy(TEMPLATE, bench.store)
    try:
        FAULTS[kind](bench)
        return again(bench, calm[bench.ranks])
    except Exception:  # noqa: BLE001 - of the driver itself: it is told, and the others go on
        return "driver", traceback.format_exc()
    finally:
        for process in bench.processes():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        if (bench.folder / "disk").is_mount():
            subprocess.run(["umount", "--lazy", str(bench.folder / "disk")], check=False)


def undisturbed(root: Path, ranks: int) -> dict[str, Any]:
    """Return what the suite gives when nothing happens."""
    bench = Bench(root / f"calm-{ranks}", random.Random(0), "local" if ranks > 1 else "inline", ranks)
    bench.folder.mkdir()
    bench.write_suite()
    shutil.copy(TEMPLATE, bench.store)
    if bench.run() != 0:
        raise SystemExit(bench.said)
    return found_in(bench)


def kinds(count: int, seed: int) -> list[str]:
    """Return so many kinds of faults, each of them about as often as any other."""
    names = [name for name in FAULTS if os.geteuid() == 0 or "disk" not in name]
    chance = random.Random(seed)
    every = [*names] * (count // len(names)) + chance.sample(names, count % len(names))
    chance.shuffle(every)
    return every


def main(arguments: list[str] | None = None) -> int:
    """Make the faults; return 1 if a result is neither equal to the undisturbed one nor named as lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("count", type=int, nargs="?", default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", help="only kinds whose names contain this")
    asked = parser.parse_args(arguments)
    os.environ["BENCHBENCH_PRESENCE_DIR"] = tempfile.mkdtemp(prefix="presence-")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    global TEMPLATE  # noqa: PLW0603 - the one thing that all faults share
    chosen = kinds(asked.count, asked.seed)
    if asked.kind:
        chosen = [name for name in FAULTS if asked.kind in name] * asked.count
    outcomes: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory(prefix="faults-") as place:
        root = Path(place)
        TEMPLATE = root / "empty.db"
        forked_store(root)
        undisturbed(root, 1)
        load_the_same(root / "calm-1/modules.txt")
        shutil.rmtree(root / "calm-1")
        calm = {ranks: undisturbed(root, ranks) for ranks in (1, 2)}
        for number, kind in enumerate(chosen):
            began = time.monotonic()
            outcome, details = one(kind, number, asked.seed, root, calm)
            outcomes.setdefault(kind, Counter())[outcome] += 1
            print(f"{number + 1:3}/{len(chosen)} {kind}: {outcome} ({time.monotonic() - began:.1f} s)", flush=True)
            if outcome not in ("equal", "named"):
                print("    " + "\n    ".join(details.strip().splitlines()[-25:]), flush=True)
            shutil.rmtree(root / f"{number:03}", ignore_errors=True)
    shutil.rmtree(os.environ["BENCHBENCH_PRESENCE_DIR"], ignore_errors=True)
    wrong = 0
    print(f"\n{'fault':40} {'equal':>6} {'named':>6}  else")
    for kind in FAULTS:
        count = outcomes.get(kind, Counter())
        other = {name: times for name, times in count.items() if name not in ("equal", "named")}
        wrong += sum(other.values())
        if count:
            print(f"{kind:40} {count['equal']:6} {count['named']:6}  {other or ''}")
    print(f"{len(chosen)} faults, {wrong} of them with a result that is neither equal nor named as lost")
    return int(wrong > 0)


def load_the_same(names: Path) -> None:
    """Import what a command has imported, once for all that are forked."""
    training = (
        "benchbench.checks",
        "benchbench.training.trainer",
        "benchbench.engines.local",
        "benchbench.engines.inline",
    )
    for name in (*names.read_text().splitlines(), *training):
        with suppress(Exception):
            importlib.import_module(name)
    gc.freeze()


def forked_store(root: Path) -> None:
    """Make an empty store, in another process: connections of this one would be shared with those that are forked."""

    def make() -> int:
        from mlflow import MlflowClient

        MlflowClient(f"sqlite:///{TEMPLATE}").search_experiments()
        return 0

    if ended(forked(make, root, root / "store.txt")) != 0:
        raise SystemExit((root / "store.txt").read_text())


if __name__ == "__main__":
    sys.exit(main())
