"""Which GPUs runs on Slurm ask for and take, as far as no Slurm is needed to see it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchbench.devices import nvml, visible
from benchbench.devices.kinds import NVIDIA
from benchbench.devices.nvml import Gpu, Machine
from benchbench.engines import EngineError, slurm_job, slurm_queue
from benchbench.engines.slurm import SlurmEngine
from benchbench.engines.slurm_job import run_as_job
from benchbench.engines.slurm_options import gpus_of, sbatch_options
from benchbench.problems import BadInputError
from tests.engines.conftest import make_job


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({}, None),
        ({"gres": "shard:2,license/gpuless:1"}, None),
        ({"gpus": 0}, 0),
        ({"gpus": 2}, 2),
        ({"gpus": "a100:2"}, 2),
        ({"gpus": "a100"}, 1),
        ({"gpus_per_task": "1"}, 1),
        ({"gres": "gpu"}, 1),
        ({"gres": "shard:4,gpu:a100:2"}, 2),
        ({"gres": "gpu:2,gpu:1g.10gb:3(S:0)"}, 5),
        ({"gres": "gpu:1,gpu:v100:2"}, 3),
        ({"tres_per_task": "cpu:4,gres/gpu:2"}, 2),
    ],
)
def test_it_is_known_how_many_gpus_options_ask_for(options: dict[str, Any], asked: int | None) -> None:
    assert gpus_of(options) == asked


@pytest.mark.parametrize(
    ("options", "ranks", "expected"),
    [
        ({"gpus": 1}, 1, {"gpus": 1, "cpus-per-task": 8}),
        ({"gpus": 1}, 2, {"gpus": 2, "cpus-per-task": 16}),
        ({"gpus": "a100:1"}, 2, {"gpus": "a100:2", "cpus-per-task": 16}),
        ({"gpus": 2, "cpus_per_task": 3}, 1, {"gpus": 2, "cpus-per-task": 3}),
        ({"gpus": 0}, 2, {"cpus-per-task": 2}),
        ({"gres": "gpu:2"}, 1, {"gres": "gpu:2", "cpus-per-task": 16}),
    ],
)
def test_a_gpu_is_asked_for_with_its_share_of_the_cores(
    options: dict[str, Any], ranks: int, expected: dict[str, Any]
) -> None:
    assert sbatch_options(options, ranks, cores_per_gpu=8) == {"requeue": True, **expected}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """A function that puts a Slurm there whose `sinfo` says something."""

    def make(said: str) -> None:
        programs = {"sbatch": "exit 1", "srun": "exit 1", "squeue": "exit 1", "sinfo": f"echo '{said}'"}
        for name, program in programs.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{program}\n")
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    return make


@pytest.mark.parametrize(
    ("said", "cores"),
    [
        ("64|(null)", None),
        ("64|gpu:a100:4(S:0-1)", 16),
        ("8|gpu:8", 1),
        ("64+|gpu:a100:4,shard:16\n32|gpu:v100:1,gpu:t4:3\n8|(null)", 8),
        ("4|gpu:8", 1),
    ],
)
def test_a_gpu_has_its_share_of_the_cores_of_its_node(
    cluster: Callable[[str], None], said: str, cores: int | None
) -> None:
    cluster(said)
    assert slurm_queue.cores_per_gpu(None) == cores


@pytest.mark.parametrize(
    ("said", "options", "on_cpu", "message"),
    [
        ("8|gpu:2", {}, False, "does not say whether its runs are meant for them"),
        ("8|gpu:2", {"gpus": 1}, True, "--devices cpu, and `slurm` in the suite asks for GPUs: 1"),
        ("8|gpu:2", {}, True, None),
        ("8|gpu:2", {"gpus": 0}, False, None),
        ("8|(null)", {}, False, None),
    ],
)
def test_what_runs_are_meant_for_is_said(
    cluster: Callable[[str], None], said: str, options: dict[str, Any], on_cpu: bool, message: str | None
) -> None:
    cluster(said)
    if message is None:
        SlurmEngine(options=options, on_cpu=on_cpu)
        return
    with pytest.raises(EngineError, match=message):
        SlurmEngine(options=options, on_cpu=on_cpu)


def test_too_few_gpus_for_the_ranks_are_one_line(cluster: Callable[[str], None]) -> None:
    cluster("8|gpu:2")
    SlurmEngine(options={"gpus": 1}, ranks=2)
    with pytest.raises(BadInputError, match=r"ranks: each rank needs a GPU .* asks for 1"):
        SlurmEngine(options={"gres": "gpu:1"}, ranks=2)


@pytest.mark.parametrize(
    ("environment", "outcome"),
    [
        ({}, "Slurm does not say which of the 2 GPUs of node7 are this job's: CUDA_VISIBLE_DEVICES is not set"),
        ({"SLURM_GPUS_ON_NODE": "1"}, "Slurm does not say which of the 2 GPUs of node7"),
        ({"SLURM_GPUS_ON_NODE": "2"}, "meant for gpu:0"),  # a cluster that hides the others
        ({"CUDA_VISIBLE_DEVICES": "1"}, "meant for gpu:1"),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, "meant for 1 GPU, and"),
        ({"CUDA_VISIBLE_DEVICES": "7"}, "CUDA_VISIBLE_DEVICES: no such GPU"),
    ],
)
def test_a_job_takes_the_gpu_that_slurm_has_given_it_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], outcome: str
) -> None:
    for name in ("SLURM_ARRAY_JOB_ID", "SLURM_GPUS_ON_NODE", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"SLURM_JOB_ID": "7", "SLURMD_NODENAME": "node7", **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(nvml, "machine", lambda: Machine((Gpu("GPU-1a"), Gpu("GPU-2b"))))
    for module in (visible, slurm_job):
        monkeypatch.setattr(module, "built_for", lambda: NVIDIA)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR2)}
    job = make_job(tmp_path / "runs", "line")
    job.folder.prepare(job.spec)
    try:
        run_as_job(job.spec.model_dump_json(), str(job.folder.path), str(tmp_path), 1)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    result = job.folder.result()
    assert result is not None
    assert (result.outcome, outcome in result.message) == ("failed", True), result.message
