"""`benchbench new`: the skeleton works as it is, and nothing is ever overwritten."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchbench import api, scaffold
from benchbench.plugins.names import Kind
from benchbench.problems import BadInputError
from tests.conftest import REPOSITORY
from tests.helpers.command_line import call


def python(*arguments: str, cwd: Path, path: str = "") -> str:
    """Run Python with this repository's packages, and return what it prints."""
    found = os.pathsep.join(filter(None, [path, str(REPOSITORY)]))
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": found},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", ["optimizer", "workload"])
def test_the_skeleton_can_be_run_at_once(kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = call("new", kind, "brand-new", "--in", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert f"benchbench list {kind}s" in result.stdout
    folder = tmp_path / "brand-new"
    assert {"pyproject.toml", "README.md", "suite.yaml", "brand_new", "tests"} <= {p.name for p in folder.iterdir()}
    texts = [path.read_text() for path in folder.rglob("*") if path.is_file()]
    assert not [text for text in texts if "$" in text]
    monkeypatch.chdir(folder)
    api.check(api.load_suite("suite.yaml"))


@pytest.mark.parametrize("name", ["class", "Upper", "1st", "a b", "../up", "a--b", "", "torch", "sgd", "taken"])
def test_a_name_that_cannot_be_used_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    result = call("new", "optimizer", name, "--in", str(tmp_path))
    assert result.exit_code == 2
    assert result.stderr.startswith("error: name: ")
    assert [path.name for path in tmp_path.rglob("*")] == ["taken"]


def test_the_reasons_differ(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    for name, reason in {"taken": "nothing is overwritten", "torch": "installed", "sgd": "registered"}.items():
        with pytest.raises(BadInputError, match=reason):
            scaffold.write("optimizer", name, tmp_path)


@pytest.mark.parametrize("kind", ["optimizer", "workload"])
def test_the_code_is_as_clean_as_ours(kind: Kind, tmp_path: Path) -> None:
    pytest.importorskip("ruff")
    folder = scaffold.write(kind, "brand-new", tmp_path).folder
    ruff = python("-c", "from ruff.__main__ import find_ruff_bin; print(find_ruff_bin())", cwd=folder).strip()
    for options in (["check", "--select", "E,F,W,I,B,UP"], ["format", "--check"]):
        command = [ruff, *options, "--no-cache", "--line-length", "120", "."]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["optimizer", "workload"])
def test_the_tests_of_a_skeleton_pass(kind: Kind, tmp_path: Path) -> None:
    folder = scaffold.write(kind, "brand-new", tmp_path).folder
    assert " passed" in python("-m", "pytest", "-p", "no:cacheprovider", cwd=folder)


@pytest.mark.slow
def test_the_skeleton_of_an_optimizer_passes_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(scaffold.write("optimizer", "brand-new", tmp_path).folder)
    result = call("check", "brand_new/optimizer.py:BrandNew", "--set", "lr=0.05", "--json")
    assert result.exit_code == 0, result.output
    assert "FAIL" not in {each["grade"] for each in json.loads(result.stdout)}


@pytest.mark.slow
def test_the_example_is_built_installed_listed_and_run(workplace: Path) -> None:
    example = REPOSITORY / "examples" / "plugin"
    site = workplace / "site"
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target"]
    python(*install, str(site), str(example), cwd=workplace)
    assert not list(example.rglob("*.egg-info"))

    def benchbench(*arguments: str) -> str:
        return python("-c", "from benchbench.cli import main; main()", *arguments, cwd=workplace, path=str(site))

    optimizers = {row["name"]: row for row in json.loads(benchbench("list", "optimizers", "--json"))}
    assert optimizers["lion"] | {"target": ""} == {
        "name": "lion",
        "target": "",
        "distribution": "benchbench-lion 0.1.0",
        "status": "ok",
    }
    workloads = {row["name"]: row["status"] for row in json.loads(benchbench("list", "workloads", "--json"))}
    assert workloads["spirals"] == "ok"
    suite = str(example / "suite.yaml")
    shrink = ["--set", "workloads.spirals.epochs=3", "--set", "workloads.digits-mlp.epochs=1", "--only", "seed=0"]
    runs = json.loads(benchbench("run", suite, "--json", *shrink))["runs"]
    assert {run["result"]["outcome"] for run in runs} == {"finished"}
    assert len(runs) == 4
    assert "ok      is constructed and makes steps" in benchbench("check", "lion")
    python("-m", "pytest", "-p", "no:cacheprovider", str(example / "tests"), cwd=workplace, path=str(site))
