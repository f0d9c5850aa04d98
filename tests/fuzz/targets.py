"""Everything that reads files, as functions of their bytes: each ends in a value, or in the error that it documents."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchbench import suite as suites
from benchbench.leaderboard import bundle
from benchbench.problems import BadInputError
from benchbench.reporting import exchange, importers, published
from benchbench.runs.checkpoint import UnusableCheckpointError, load_tensors
from benchbench.runs.checksums import DamagedError
from benchbench.runs.folder import RunFolder

LARGEST = 1 << 16

FOLDER = Path(tempfile.mkdtemp(prefix="benchbench-fuzz-"))


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Yield an empty folder, the same one each time."""
    here = FOLDER / "input"
    shutil.rmtree(here, ignore_errors=True)
    here.mkdir()
    yield here


def suite(content: bytes) -> None:
    """Read a suite file."""
    with folder() as here:
        (here / "suite.yaml").write_bytes(content)
        _, problems = suites.read(here / "suite.yaml")
        for problem in problems:
            str(problem)


def changes(content: bytes) -> None:
    """Change and select parts of a small suite as the command line does."""
    texts = content.decode("utf-8", "surrogateescape").split("\n")
    with folder() as here:
        (here / "suite.yaml").write_text(
            "name: a\nseeds: [0]\nworkloads: {w: {workload: digits-mlp, epochs: 1, batch_size: 8}}\n"
            "methods: {m: {optimizer: sgd, lr: 0.1}}\n"
        )
        loaded, problems = suites.read(here / "suite.yaml", overrides=texts[::2])
        if loaded is not None and not problems:
            with contextlib.suppress(BadInputError):
                suites.select(loaded, texts[1::2])


def records(content: bytes) -> None:
    """Read exported results, as CSV and as JSON."""
    with folder() as here:
        for name in ("results.csv", "results.json"):
            (here / name).write_bytes(content)
            with contextlib.suppress(BadInputError):
                exchange.read(here / name)


def algoperf(content: bytes) -> None:
    """Read the log of a trial of AlgoPerf."""
    with folder() as here:
        trial = here / "submission/study_0/mnist_pytorch/trial_1"
        trial.mkdir(parents=True)
        (trial / "eval_measurements.csv").write_bytes(content)
        (trial / "meta_data_0.json").write_bytes(content)
        with contextlib.suppress(BadInputError):
            importers.read_algoperf(here)


def fob(content: bytes) -> None:
    """Read the output of FOB: scores, and the configuration, parted by a zero byte."""
    scores, _, configuration = content.partition(b"\0")
    with folder() as here:
        run = here / "mnist/adamw/engine.seed=1"
        run.mkdir(parents=True)
        (run / "results_final_model.json").write_bytes(scores)
        (run / "results_best_model.json").write_bytes(scores)
        (run / "config.yaml").write_bytes(configuration)
        with contextlib.suppress(BadInputError):
            importers.read_fob(here)


def zipped(content: bytes) -> None:
    """Read bytes as a bundle."""
    with folder() as here:
        (here / "bundle.zip").write_bytes(content)
        with contextlib.suppress(BadInputError):
            bundle.read(here / "bundle.zip")


def bundled(content: bytes) -> None:
    """Read a bundle whose sums are right and whose files, parted by zero bytes, are anything."""
    import hashlib

    parts = content.split(b"\0")
    key = "0123456789abcdef"
    names = ["suite.json", f"runs/{key}/result.json", f"runs/{key}/metrics.jsonl", f"runs/{key}/log.txt"]
    files = dict(zip(names, parts, strict=False))
    manifest = {
        "format": 1,
        "date": "2026-01-01",
        "files": {name: hashlib.sha256(text).hexdigest() for name, text in files.items()},
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in {**files, "manifest.json": json.dumps(manifest).encode()}.items():
            archive.writestr(name, text)
    zipped(packed.getvalue())


def run_files(content: bytes) -> None:
    """Read every file of a run's folder."""
    with folder() as here:
        files = RunFolder(here)
        for file in (
            files.metrics_file,
            files.result_file,
            files.submission_file,
            files.path / "sharpness.json",
            files.log_file,
        ):
            file.write_bytes(content)
        files.result()
        with contextlib.suppress(DamagedError):
            files.submission()
        files.sharpness()
        files.log_tail(3)
        files.records()


def diagnostics(content: bytes) -> None:
    """Read the diagnostics of a run."""
    with folder() as here:
        files = RunFolder(here)
        files.diagnostics_file.write_bytes(content)
        files.diagnostics()


def checkpoint(content: bytes) -> None:
    """Read a checkpoint, whatever its name says."""
    with contextlib.suppress(UnusableCheckpointError):
        load_tensors(io.BytesIO(content))


def publication(content: bytes) -> None:
    """Read published tables."""
    with folder() as here:
        (here / "tables.yaml").write_bytes(content)
        with contextlib.suppress(BadInputError):
            published.tables(published.load(str(here / "tables.yaml")))


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    each.__name__: each
    for each in (
        suite,
        changes,
        records,
        algoperf,
        fob,
        zipped,
        bundled,
        run_files,
        diagnostics,
        checkpoint,
        publication,
    )
}
