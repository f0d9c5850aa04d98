"""Reading results runs nobody's code, and nothing leaves the folders and hosts that it belongs to."""

from __future__ import annotations

import ast
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from benchbench.tracking import without_passwords
from tests.conftest import REPOSITORY, benchbench
from tests.faults.conftest import MISBEHAVING
from tests.helpers.suites import line, suite

EVIL = """
from pathlib import Path

Path(__file__).with_name("imported").touch()

import torch


class Evil(torch.optim.SGD):
    pass
"""

SECRET = "hunter2"


@pytest.fixture
def ran(workplace: Path, write_suite: Callable[..., Path]) -> Path:
    """The folder of a suite that has been run, and that names code; whether it was imported since is in `imported`."""
    (workplace / "evil.py").write_text(EVIL)
    path = write_suite(
        suite(
            workloads={"../../outlaw": line()},
            methods={"../<script>outlaw": {"optimizer": "evil.py:Evil", "lr": 0.1}},
            tables=["accuracy"],
        )
    )
    made = benchbench("run", str(path), "--engine", "inline", cwd=workplace, MLFLOW_TRACKING_PASSWORD=SECRET)
    assert made.returncode == 0, made.stderr
    (workplace / "imported").unlink()
    return workplace


@pytest.mark.slow
def test_reading_results_imports_nothing_that_they_name(ran: Path) -> None:
    for command in (
        ["report", "suite.yaml"],
        ["status", "suite.yaml"],
        ["collect", "suite.yaml"],
        ["compare", "suite.yaml", "--with", "sassha-paper"],
        ["export", "suite.yaml"],
        ["plot", "suite.yaml", "--out", "figures", "--kind", "curves"],
        [
            "export",
            "suite.yaml",
            "--bundle",
            "bundle.zip",
            "--tuning",
            "none",
            "--by",
            "x",
            "--contact",
            "x",
            "--licence",
            "x",
        ],
        ["leaderboard", "build", "bundle.zip", "--out", "site"],
        ["leaderboard", "add", "bundle.zip", "--to", "board"],
    ):
        done = benchbench(*command, cwd=ran)
        assert done.returncode == 0, (command, done.stderr)
        assert not (ran / "imported").exists(), command
    # Nor does a name lead out of a folder.
    outside = {entry.name for entry in ran.parent.iterdir()} | {entry.name for entry in ran.parent.parent.iterdir()}
    assert not {name for name in outside if "outlaw" in name}
    assert [file for file in ran.rglob("*") if "<" in file.name] == []


@pytest.mark.slow
def test_what_a_run_leaves_is_private_and_has_no_password(ran: Path) -> None:
    [folder] = [path for path in (ran / ".benchbench/runs").iterdir() if not path.name.startswith(".")]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [file for file in folder.rglob("*") if file.is_file() and SECRET.encode() in file.read_bytes()] == []
    assert SECRET.encode() not in (ran / "mlflow.db").read_bytes()


@pytest.mark.usefixtures("workplace")
def test_runs_know_nothing_that_opens_the_store(workplace: Path, write_suite: Callable[..., Path]) -> None:
    curious = {"workload": "STUBS:environment", "variable": "MLFLOW_TRACKING_PASSWORD", "folder": str(workplace)}
    path = write_suite(suite(workloads={"line": line(**curious)}))
    assert benchbench("run", str(path), cwd=workplace, MLFLOW_TRACKING_PASSWORD=SECRET).returncode == 0
    assert (workplace / "0.txt").read_text().startswith("None ")


@pytest.mark.parametrize(
    "text", ["db://x?sslpassword=hunter2&a=1", "db://x;api_key=hunter2", "http://me:hunter2@host", "it said hunter2"]
)
def test_secrets_are_masked_wherever_they_stand(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", SECRET)
    assert SECRET not in without_passwords(text)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/net/tcp").exists(), reason="needs Linux to tell who listens where")
def test_ranks_listen_on_the_loopback_interface_alone(workplace: Path, write_suite: Callable[..., Path]) -> None:
    listening = line(workload=f"{MISBEHAVING}:listening", ranks=2, folder=str(workplace))
    path = write_suite(suite(workloads={"line": listening}))
    assert benchbench("run", str(path), cwd=workplace).returncode == 0
    addresses = [address for file in workplace.glob("*.addresses") for address in file.read_text().split()]
    assert addresses
    assert set(addresses) <= {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}


def calls(name: str) -> list[tuple[Path, ast.Call]]:
    """Return the calls of a function such as `torch.load` in the three packages."""
    module, function = name.split(".")
    return [
        (path, node)
        for package in ("benchbench", "sassha", "baselines")
        for path in (REPOSITORY / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == function
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == module
    ]


def test_tensors_are_loaded_as_tensors_only() -> None:
    loads = calls("torch.load")
    assert loads
    for path, call in loads:
        keywords = {keyword.arg: keyword.value for keyword in call.keywords}
        only = keywords.get("weights_only")
        assert isinstance(only, ast.Constant) and only.value is True, path


@pytest.mark.parametrize("name", ["pickle.load", "pickle.loads", "yaml.load", "yaml.unsafe_load", "joblib.load"])
def test_nothing_is_unpickled(name: str) -> None:
    assert calls(name) == []
