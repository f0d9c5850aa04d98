"""What many tests need: suites from strings, a tracking store that is migrated already, the command line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings

from benchbench import plugin_files
from benchbench.runs.presence import PRESENCE_DIR
from tests import accelerator as on

# How fast a machine is decides no test, and the device is the same for all examples of one.
settings.register_profile(
    "any machine",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("any machine")

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("OMP_NUM_THREADS", "1")

REPOSITORY = Path(__file__).parent.parent
# The runs of other tests, or of other people, do not count as concurrent with those of this process.
os.environ[PRESENCE_DIR] = tempfile.mkdtemp(prefix="presence-")

STUBS = Path(__file__).parent / "helpers/stub_plugins.py"
BROKEN_OPTIMIZERS = STUBS.with_name("broken_optimizers.py")
STUBS_DIGEST = plugin_files.digest(f"{STUBS}:line", {})


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the accelerator be chosen on which tests of arithmetic run too."""
    parser.addoption(
        "--accelerator",
        choices=("pretend", "none"),
        help="test on a pretend accelerator, which needs a C++ compiler, or on none, instead of on this machine's own",
    )


def pytest_report_header(config: pytest.Config) -> str:
    """Say on which devices tests of arithmetic run."""
    found = on.accelerator(config.getoption("accelerator"))
    return f"arithmetic on: cpu, {found}" if found else "arithmetic on: cpu (no accelerator)"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what asks for a device on each of them."""
    if "device" in metafunc.fixturenames:
        found = on.accelerator(metafunc.config.getoption("accelerator"))
        metafunc.parametrize("device", [on.CPU, *([found] if found else [])], ids=lambda d: d.type, indirect=True)


@pytest.fixture
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """The CPU, then the accelerator if there is one."""
    with on.running_on(request.param):
        yield request.param


@pytest.fixture(autouse=True)
def same_random_numbers() -> None:
    """Random numbers that do not depend on the tests that ran before in this process."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def migrated_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite store with all migrations done, which takes seconds, to be copied."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def workplace(tmp_path: Path, migrated_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder with a fresh tracking store."""
    shutil.copy(migrated_store, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.fixture
def write_suite(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a suite file and returns its path."""

    def write(text: str, name: str = "suite.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text.replace("STUBS", str(STUBS)), encoding="utf-8")
        return path

    return write


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two mebibytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a file system in memory")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="session")
def nvml_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a pretend library in the place of NVIDIA's NVML, see `pretend_gpus`."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("nvml")
    source = Path(__file__).parent / "devices" / "pretend_nvml.c"
    library = "libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", f"-Wl,-soname,{library}", "-o", folder / library, source], check=True)
    return folder


def pretend_gpus(
    nvml_folder: Path, count: int, *, instances: int = 0, driver: str = "580.65.06", fault: int = 0
) -> dict[str, str]:
    """Return an environment in which NVML lists GPUs, while CUDA cannot start.

    Args:
        nvml_folder: The fixture.
        count: Number of GPUs.
        instances: Of MIG, that each is divided into.
        driver: Its version.
        fault: NVML's number of the error with which it does not start; 0: it does.
    """
    pretended = {
        "LD_LIBRARY_PATH": str(nvml_folder),
        "PRETEND_GPUS": str(count),
        "PRETEND_INSTANCES": str(instances),
        "PRETEND_DRIVER": driver,
        "PRETEND_FAULT": str(fault),
    }
    return {**{name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}, **pretended}


def benchbench(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command in a process of its own."""
    command = [str(Path(sys.executable).with_name("benchbench")), *arguments]
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def processes_where(condition: Callable[[Path], bool]) -> list[int]:
    """Return the processes of whose folder below /proc a condition is true."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is not ours
            if condition(entry):
                found.append(int(entry.name))
    return found


def wait_for(condition: Callable[[], Any], seconds: float = 300) -> Any:
    """Return what a condition gives as soon as it is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")
