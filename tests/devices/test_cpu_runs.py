"""CPU runs never touch CUDA: the real commands, in processes in which every question about it is noted."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.conftest import REPOSITORY, benchbench
from tests.helpers.suites import SGD, suite

WATCHED = Path(__file__).parent / "watched"

SUITE = suite(
    name="quiet",
    diagnostics={"every": 2, "record": ["update_norm", "curvature_change"]},
    measure=["flops", "sharpness"],
    workloads={"digits": {"workload": "digits-mlp", "epochs": 1, "batch_size": 512}},
    methods={
        "SGD": {**SGD, "momentum": 0.9},
        "SASSHA": {"optimizer": "sassha", "lr": 0.1, "deterministic": True, "accumulate": 2},
    },
    tables=["accuracy"],
)


@pytest.fixture
def watched(workplace: Path) -> Callable[..., str]:
    """Runs a command, and returns who has asked for CUDA."""
    noted = workplace / "noted"

    def run(*arguments: str) -> str:
        path = os.pathsep.join([str(WATCHED), str(REPOSITORY)])
        done = benchbench(*arguments, cwd=workplace, NOTED=str(noted), PYTHONPATH=path)
        assert done.returncode == 0, done.stdout + done.stderr
        return noted.read_text() if noted.exists() else ""

    return run


def test_a_question_is_noted(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(WATCHED), "NOTED": str(tmp_path / "noted")}
    code = "import torch; torch.cuda.is_available(); torch.random.fork_rng().__enter__()"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    noted = [line.split()[0] for line in (tmp_path / "noted").read_text().splitlines()]
    assert {"is_available", "_cuda_getDeviceCount", "device_count"} <= set(noted)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "inline"])
def test_no_command_touches_cuda_for_a_cpu_run(
    write_suite: Callable[..., Path], watched: Callable[..., str], engine: str
) -> None:
    path = str(write_suite(SUITE))
    assert watched("check", "sassha") == ""
    assert watched("plan", path, "--devices", "cpu") == ""
    assert watched("run", path, "--devices", "cpu", "--engine", engine) == ""
    sharper = ("sharpness", path, "--examples", "64", "--dtype", "float64")
    assert watched(*sharper, "--devices", "cpu", "--engine", engine) == ""


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.device_count() > 0, reason="there are GPUs")
def test_a_machine_without_gpus_is_told_without_cuda(
    write_suite: Callable[..., Path], watched: Callable[..., str]
) -> None:
    assert watched("run", str(write_suite(SUITE)), "--only", "method=SGD") == ""


@pytest.mark.slow
def test_ranks_on_cpus_do_not_touch_it_either(write_suite: Callable[..., Path], watched: Callable[..., str]) -> None:
    path = write_suite(SUITE.replace(", curvature_change", "").replace("measure: [flops, sharpness]\n", ""))
    ranks = ("--only", "method=SGD", "--set", "methods.SGD.ranks=2")
    assert watched("run", str(path), "--devices", "cpu", *ranks) == ""
