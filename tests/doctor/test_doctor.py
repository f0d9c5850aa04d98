"""What `benchbench doctor` finds, through the command line, on machines in several states."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import benchbench, pretend_gpus


def findings(workplace: Path, *arguments: str, **environment: str) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the findings by name."""
    done = benchbench("doctor", "--json", *arguments, cwd=workplace, **environment)
    assert "Traceback" not in done.stderr
    return done.returncode, {finding["name"]: finding for finding in json.loads(done.stdout)}


def install(site: Path, name: str, *optimizers: str, code: str = "") -> None:
    """Install a distribution with optimizers, and a module of the same name, in a folder of packages."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join(["[benchbench.optimizers]", *optimizers]))
    (site / f"{name}.py").write_text(code)


def migrated_to(version: str, store: Path, copy: Path) -> Path:
    """Copy a store, with other tables as far as its own note of their version says."""
    shutil.copy(store, copy)
    with sqlite3.connect(copy) as database:
        database.execute("UPDATE alembic_version SET version_num = ?", [version])
    return copy


@pytest.mark.slow
def test_a_machine_in_order_is_described_and_left_alone(tmp_path: Path) -> None:
    # Without what else is installed on this machine, such as a Slurm that does not run.
    done = benchbench("doctor", cwd=tmp_path, PATH=str(Path(sys.executable).parent))
    assert done.returncode == 0, done.stderr
    for part in ("software", "devices", "plugins", "engines", "folders", "tracking", "data"):
        assert part in done.stdout.splitlines()
    assert "-> `benchbench prepare cifar` downloads it" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_is_broken_is_named_with_its_remedy(tmp_path: Path) -> None:
    site = tmp_path / "site"
    install(site, "broken", "broken_optimizer = nowhere:Thing")
    install(site, "rival", "sassha = torch.optim:SGD")
    (tmp_path / "mlflow.db").write_text("this is no database, " * 100)
    code, found = findings(tmp_path, PYTHONPATH=str(site))
    assert code == 1
    assert found["broken_optimizer"]["state"] == "broken"
    assert "nowhere" in found["broken_optimizer"]["found"]
    assert found["sassha"]["state"] == "broken"
    assert "rival" in found["sassha"]["remedy"]
    assert found["store"]["state"] == "broken"
    assert found["slots"]["state"] == "ok"


@pytest.mark.slow
def test_a_server_that_is_not_there_is_said_without_its_password(tmp_path: Path) -> None:
    code, found = findings(tmp_path, "--tracking-uri", "http://me:hunter2@127.0.0.1:9")
    assert code == 1
    assert found["store"]["state"] == "broken"
    assert "hunter2" not in json.dumps(found)


@pytest.mark.slow
def test_a_cluster_that_does_not_answer_breaks_nothing(tmp_path: Path) -> None:
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, line in (("sbatch", "exit 0"), ("sinfo", "echo 'no controller' >&2; exit 1")):
        (commands / name).write_text(f"#!/bin/sh\n{line}\n")
        (commands / name).chmod(0o755)
    code, found = findings(tmp_path, PATH=f"{commands}{os.pathsep}{os.environ['PATH']}")
    assert code == 0
    assert found["slurm"]["state"] == "missing"
    assert "no controller" in found["slurm"]["found"] or found["slurm"]["found"] == "not installed"


@pytest.mark.slow
def test_runs_cannot_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, found = findings(tmp_path, "--runs-dir", "file/below")
    assert code == 1
    assert found["runs"]["state"] == "broken"


@pytest.mark.slow
def test_plugins_that_hang_or_end_python_do_so_elsewhere(tmp_path: Path) -> None:
    site = tmp_path / "site"
    install(site, "sleeper", "dozing = sleeper:A", "napping = sleeper:B", code="import time\ntime.sleep(3600)")
    install(site, "crasher", "crashing = crasher:A", code="import ctypes\nctypes.string_at(0)")
    install(site, "leaver", "leaving = leaver:A", code="import os\nos._exit(3)")
    install(site, "talker", "talking = talker:A", code="print('hello')\nfrom torch.optim import SGD as A")
    code, found = findings(tmp_path, "--timeout", "10", PYTHONPATH=str(site))
    assert code == 1
    for name in ("dozing", "napping"):
        assert found[name]["state"] == "broken"
        assert found[name]["found"] == "the import of sleeper has not ended after 10 s"
        assert "remove sleeper" in found[name]["remedy"]
    assert found["crashing"]["found"] == "the import of crasher ends Python itself: killed by SIGSEGV"
    assert found["leaving"]["found"] == "the import of leaver ends Python itself: exit code 3"
    assert "remove leaver" in found["leaving"]["remedy"]
    assert "talking" not in found
    assert "sassha" not in found


@pytest.mark.slow
def test_what_a_dead_machine_and_an_old_mlflow_left(tmp_path: Path, migrated_store: Path) -> None:
    runs = tmp_path / "runs"
    for key, holder in (("0" * 16, "dead"), ("1" * 16, "alive")):
        (runs / key / "claims").mkdir(parents=True)
        (runs / key / "claims" / "1").write_text(holder)
    (runs / ".holders").mkdir()
    (runs / "notes.txt").touch()
    for holder, silent in (("dead", 7200), ("alive", 10)):
        (runs / ".holders" / holder).write_text("another machine\n3")
        os.utime(runs / ".holders" / holder, (time.time() - silent,) * 2)
    batches = tmp_path / "data" / "cifar-10-batches-py"
    batches.mkdir(parents=True)
    (batches / "data_batch_1").touch()
    store = migrated_to("acf3f17fdcc7", migrated_store, tmp_path / "mlflow.db")
    before = store.read_bytes()
    code, found = findings(tmp_path, "--runs-dir", "runs", RAY_ADDRESS="127.0.0.1:9")
    assert code == 1
    assert found["runs"]["found"].endswith("runs: 2")
    assert found["unfinished runs"]["found"].startswith("1 left by commands that have died")
    assert "benchbench run" in found["unfinished runs"]["remedy"]
    assert "an older version than MLflow" in found["store"]["found"]
    assert f"mlflow db upgrade sqlite:///{store}" in found["store"]["remedy"]
    assert store.read_bytes() == before
    assert found["ray"]["state"] == "missing"
    assert "no Ray cluster at 127.0.0.1:9" in found["ray"]["found"]
    assert "--address" in found["ray"]["remedy"]
    assert "CIFAR-10 is incomplete: no data/cifar-10-batches-py/data_batch_2" in found["cifar"]["found"]
    assert "benchbench prepare cifar" in found["cifar"]["remedy"]


@pytest.mark.slow
def test_a_newer_store_and_a_cluster_that_accepts_and_is_silent(tmp_path: Path, migrated_store: Path) -> None:
    migrated_to("ffffffffffff", migrated_store, tmp_path / "mlflow.db")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        _, found = findings(tmp_path, "--address", address, "--timeout", "10")
    assert "a newer version than MLflow" in found["store"]["found"]
    assert found["store"]["remedy"] == "pip install --upgrade mlflow"
    assert found["ray"]["state"] == "missing"
    assert address in found["ray"]["found"]


@pytest.mark.slow
def test_a_torch_and_a_database_driver_that_cannot_be_imported(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so.13: cannot open shared object file')")
    missing = "raise ModuleNotFoundError(\"No module named 'psycopg2'\", name='psycopg2')"
    (tmp_path / "psycopg2.py").write_text(missing)  # as if it were not installed
    uri = "postgresql+psycopg2://me:hunter2@127.0.0.1:9/mlflow"
    code, found = findings(tmp_path, "--tracking-uri", uri, PYTHONPATH=str(tmp_path))
    assert code == 1
    assert found["torch"]["state"] == "broken"
    assert "import torch" in found["torch"]["remedy"]
    assert found["store"]["remedy"] == "pip install 'psycopg2-binary'"
    assert "hunter2" not in json.dumps(found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "instances", "driver", "found"),
    [
        (8, 0, "535.104.05", "the driver (535.104.05) lists 8; "),
        (1, 2, "580.65.06", "the driver (580.65.06) lists 1; "),
        (0, 0, "580.65.06", ""),
    ],
)
def test_what_the_driver_lists_is_held_against_what_torch_starts(
    tmp_path: Path, nvml_folder: Path, count: int, instances: int, driver: str, found: str
) -> None:
    if torch.cuda.is_available():
        pytest.skip("CUDA starts here")
    code, by_name = findings(tmp_path, **pretend_gpus(nvml_folder, count, instances=instances, driver=driver))
    assert by_name["optimizers"]["state"] == "ok"
    if count == 0:
        assert (by_name["gpu"]["state"], by_name["slots"]["state"]) == ("missing", "ok")
        return
    assert code == 1
    assert by_name["gpu"]["state"] == "broken"
    assert found in by_name["gpu"]["found"]
    assert "580 or newer" in by_name["gpu"]["found"]
    assert "gpu:" not in by_name["slots"]["found"]
    assert "cpu:0" in by_name["slots"]["found"]
