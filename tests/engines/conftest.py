"""Engines to test, all with two places for runs, and the clusters behind them."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from benchbench.engines import Engine, Job
from benchbench.engines.slots import cpu_slots
from benchbench.runs.folder import RunFolder
from benchbench.values import Component, Execution, RunResult
from tests.conftest import REPOSITORY, STUBS, STUBS_DIGEST
from tests.helpers.specs import run_spec

SERVICE = Path(os.environ.get("BENCHBENCH_SLURM_SERVICE", REPOSITORY.parent / "shared/services/slurm"))
"""A script that starts a Slurm of one node (`up`), prints its `SLURM_CONF=...` and ends it (`down`)."""

PREEMPTION = """
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=low Nodes=ALL PriorityTier=1
PartitionName=high Nodes=ALL PriorityTier=10
"""
"""Jobs of the second partition take the place of jobs of the first."""

ENGINES = [
    "inline",
    "local",
    pytest.param("ray", marks=pytest.mark.slow),
    pytest.param("slurm", marks=pytest.mark.slow),
]


_ON_CLUSTERS = {"test_conformance.py", "test_ray.py", "test_slurm.py", "test_tuning.py"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts a Slurm or a Ray."""
    for item in items:
        here = item.path.parent == Path(__file__).parent and item.path.name in _ON_CLUSTERS
        if here and item.get_closest_marker("slow"):
            item.add_marker("cluster")
            item.add_marker(pytest.mark.xdist_group("clusters"))


def make_job(runs: Path, workload: str, ranks: int = 1, **changes: Any) -> Job:
    """Return a job of two epochs with a workload of the stubs or a registered one; `parameters` are the workload's."""
    parameters = changes.pop("parameters", {})
    stub = not workload.startswith("digits")
    target = f"{STUBS}:{workload}" if stub else workload
    component = Component(target=target, parameters=parameters, digest=STUBS_DIGEST if stub else None)
    fields = {"workload_label": workload, "workload": component, "execution": Execution(ranks=ranks), "epochs": 2}
    spec = run_spec(**{**fields, **changes})
    return Job(spec, RunFolder(runs / spec.key), runs.parent / "data")


def execute(engine: Engine, jobs: Sequence[Job], seconds: float = 180) -> dict[str, RunResult]:
    """Return the results of jobs by key."""
    waiting, results, deadline = list(jobs), dict[str, RunResult](), time.monotonic() + seconds
    while len(results) < len(jobs) and time.monotonic() < deadline:
        while waiting and engine.capacity:
            engine.submit(waiting.pop(0))
        results |= {result.key: result for result in engine.poll(0.2)}
    return results


def assert_as_undisturbed(job: Job) -> None:
    """Compare what a run of the line has left with what it gives when nothing happens, apart from times."""
    from benchbench.engines.inline import InlineEngine

    calm = make_job(job.folder.path.parent.parent / "calm/runs", "line", epochs=job.spec.epochs)
    [expected] = execute(InlineEngine(cpu_slots(1, cores=1)[0]), [calm]).values()
    result = job.folder.result()
    assert result is not None
    assert (result.outcome, result.final, result.best) == ("finished", expected.final, expected.best)
    clocks = {"train_seconds", "warm_up_seconds", "warm_up_steps"}
    assert result.cost.model_dump(exclude=clocks) == expected.cost.model_dump(exclude=clocks)
    records = zip(job.folder.records(), calm.folder.records(), strict=True)
    assert all(found.metrics == wanted.metrics for found, wanted in records)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[Any]:
    """A Ray cluster of two nodes with two CPUs each; the first one has no room for runs."""
    pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # listen on the loopback interface alone
    from ray.cluster_utils import Cluster

    limits = {"object_store_memory": 80 * 2**20}
    health = {"health_check_initial_delay_ms": 500, "health_check_period_ms": 500, "health_check_failure_threshold": 3}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": health, **limits})
    for _ in range(2):
        cluster.add_node(num_cpus=2, num_gpus=1, **limits)
    cluster.wait_for_nodes()
    yield cluster
    import ray

    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A real Slurm of one node with two pretend GPUs, on the loopback interface."""
    pytest.importorskip("submitit")
    if not SERVICE.exists() or os.geteuid() != 0:
        pytest.skip(f"needs root, and a script that starts Slurm at {SERVICE} (or BENCHBENCH_SLURM_SERVICE)")
    home = tmp_path_factory.mktemp("slurm")
    environment = {**os.environ, "SLURM_TEST_HOME": str(home), "SLURM_TEST_GPUS": "2"}
    environment.pop("OMP_NUM_THREADS", None)  # by which `nproc` would count cores
    log = home / "up.log"
    with log.open("w") as file, suppress(subprocess.TimeoutExpired):  # no pipe, which Slurm's daemons would keep open
        subprocess.run([str(SERVICE), "up"], env=environment, stdout=file, stderr=file, check=False, timeout=400)
    if shutil.which("slurmctld") is None:
        pytest.skip(f"Slurm cannot be installed here: {log.read_text().splitlines()[-1:]}")
    assert "SLURM_CONF=" in log.read_text(), log.read_text()
    [setting] = [line for line in log.read_text().splitlines() if line.startswith("SLURM_CONF=")]
    os.environ["SLURM_CONF"] = setting.partition("=")[2]
    configuration = Path(os.environ["SLURM_CONF"])
    # Slurm's own default: two seconds for a checkpoint are too few on a busy machine.
    configuration.write_text(configuration.read_text().replace("KillWait=2\n", "KillWait=30\n") + PREEMPTION)
    subprocess.run(["scontrol", "reconfigure"], check=True, timeout=60)
    yield
    subprocess.run([str(SERVICE), "down"], env=environment, check=False, timeout=60)
    del os.environ["SLURM_CONF"]


@pytest.fixture(scope="session")
def new_engine(request: pytest.FixtureRequest) -> Callable[..., Engine]:
    """A function that makes an engine by its name."""

    def make(name: str, **options: Any) -> Engine:
        if name == "ray":
            from benchbench.engines.ray import RayEngine

            cluster = request.getfixturevalue("ray_cluster")
            return RayEngine([], address=cluster.address, **{"options": {"num_gpus": 0}, **options})
        if name == "slurm":
            from benchbench.engines.slurm import SlurmEngine

            request.getfixturevalue("slurm")
            return SlurmEngine(**{"interval": 0.5, "patience": 1.0, "on_cpu": "options" not in options, **options})
        if name == "local":
            from benchbench.engines.local import LocalEngine

            return LocalEngine(cpu_slots(2, cores=2), **options)
        from benchbench.engines.inline import InlineEngine

        return InlineEngine(cpu_slots(1, cores=1)[0])

    return make
