"""GPUs that do not start are one line; a plugin that looks for GPUs at its import breaks nothing."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.conftest import STUBS, benchbench, pretend_gpus
from tests.helpers.suites import line, suite

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(torch.cuda.device_count() > 0, reason="CUDA starts here"),
]

SUITE = suite(workloads={"line": line(epochs=1)})


@pytest.mark.parametrize(
    ("command", "count", "instances"),
    [
        (["run"], 8, 0),
        (["run", "--devices", "2,3"], 8, 0),
        (["run", "--engine", "inline"], 1, 0),
        (["run"], 1, 2),
        (["plan"], 1, 0),
    ],
)
def test_gpus_that_do_not_start_are_one_line(
    write_suite: Callable[..., Path], workplace: Path, nvml_folder: Path, command: list[str], count: int, instances: int
) -> None:
    environment = pretend_gpus(nvml_folder, count, instances=instances, driver="535.104.05")
    done = benchbench(command[0], str(write_suite(SUITE)), *command[1:], cwd=workplace, **environment)
    assert done.returncode == 2, done.stdout + done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith("error: devices: cuda does not start: ")
    assert f"the driver (535.104.05) lists {count}; " in line
    assert "a driver 580 or newer is needed; `--devices cpu` does without GPUs" in line
    assert not list((workplace / ".benchbench").rglob("spec.json"))


def test_the_cpu_is_left_undisturbed_by_them(
    write_suite: Callable[..., Path], workplace: Path, nvml_folder: Path
) -> None:
    environment = pretend_gpus(nvml_folder, 8)
    done = benchbench("run", str(write_suite(SUITE)), "--devices", "cpu", "--json", cwd=workplace, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    [run] = json.loads(done.stdout)["runs"]
    assert run["result"]["environment"]["device"].startswith("cpu (")


CURIOUS = """
import torch
from torch import nn

try:
    FOUND = QUESTION
except (AssertionError, RuntimeError):
    FOUND = None

class Curious(torch.optim.SGD):
    def __init__(self, *args, **kwargs):
        if torch.cuda._is_in_bad_fork():
            raise RuntimeError("Cannot re-initialize CUDA in forked subprocess")
        super().__init__(*args, **kwargs)
"""

PROGRAM = """
import sys
from pathlib import Path

from benchbench.engines.local import LocalEngine
from benchbench.engines.slots import Slot
from benchbench.engines.starting import ready
from benchbench.values import Component
from tests.engines.conftest import execute, make_job

# The slot has a GPU as far as placement goes, and runs compute on the CPU.
slots = [Slot("gpu:0", "cpu", 1, devices=("0",))]
preload = ready(slots, ["curious"])
curious = Component(target="curious:Curious", parameters={"lr": 0.1})
[result] = execute(LocalEngine(slots, preload), [make_job(Path("runs"), "line", optimizer=curious)]).values()
print(preload, result.outcome, result.message)
"""


@pytest.mark.parametrize(
    ("question", "kept"),
    [
        ("None", True),
        ("torch.version.cuda", True),
        ("torch.cuda.is_available()", False),
        ("torch.cuda.device_count()", False),
        ("torch.zeros(1, device='cuda')", False),
        ("torch.accelerator.is_available()", False),
    ],
)
def test_a_plugin_that_looks_for_gpus_at_its_import_is_imported_by_the_runs(
    tmp_path: Path, nvml_folder: Path, question: str, kept: bool
) -> None:
    (tmp_path / "curious.py").write_text(CURIOUS.replace("QUESTION", question))
    environment = pretend_gpus(nvml_folder, 1)
    environment["PYTHONPATH"] = f"{tmp_path}:{STUBS.parent.parent}"
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == f"{['curious'] if kept else []} finished", done.stdout + done.stderr
