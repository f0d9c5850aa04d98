"""What `benchbench doctor` finds, through the command line, on machines in several states."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import benchbench


def findings(workplace: Path, *arguments: str, **environment: str) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the findings by name."""
    done = benchbench("doctor", "--json", *arguments, cwd=workplace, **environment)
    assert "Traceback" not in done.stderr
    return done.returncode, {finding["name"]: finding for finding in json.loads(done.stdout)}


@pytest.mark.slow
def test_a_machine_in_order_is_described_and_left_alone(tmp_path: Path) -> None:
    # Without what else is installed on this machine, such as a Slurm that does not run.
    done = benchbench("doctor", cwd=tmp_path, PATH=str(Path(sys.executable).parent))
    assert done.returncode == 0, done.stderr
    for part in ("software", "devices", "plugins", "engines", "folders", "tracking", "data"):
        assert part in done.stdout.splitlines()
    assert "-> benchbench prepare cifar" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_is_broken_is_named_with_its_remedy(tmp_path: Path) -> None:
    site = tmp_path / "site"
    for name, target in (("broken", "nowhere:Thing"), ("rival", "torch.optim:SGD")):
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        entry = "sassha" if name == "rival" else "broken_optimizer"
        (info / "entry_points.txt").write_text(f"[benchbench.optimizers]\n{entry} = {target}\n")
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
@pytest.mark.parametrize("where", ["file", "file/below"])
def test_runs_cannot_lie_in_a_file(where: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, found = findings(tmp_path, "--runs-dir", where)
    assert code == 1
    assert found["runs"]["state"] == "broken"
