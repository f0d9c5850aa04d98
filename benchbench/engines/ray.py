"""The ray engine: runs as tasks of a Ray cluster, an existing one or one that is started on this machine."""

from __future__ import annotations

import math
import os
import secrets
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from benchbench.devices.kinds import kind_of
from benchbench.distribution import installing
from benchbench.engines import EngineError, Job
from benchbench.engines.slots import Slot
from benchbench.files import write_whole
from benchbench.runs.folder import RunFolder
from benchbench.values import RunResult, RunSpec

MOST_TASKS = 1000
"""Runs at a time, waiting ones included, unless the user says otherwise."""

GRACE_SECONDS = 15.0
"""Seconds in which stopped runs may leave a checkpoint; then they are killed."""

LARGEST_WEIGHTS = 2**30
"""Bytes up to which the weights of a run travel from a node that does not see the run's folder."""

_MOST_BYTES = 128 * 2**20
"""Room for what travels on a cluster that is started here: next to nothing."""


class RayEngine:
    """Submits every run as a task that gets a fresh worker process; Ray knows where there is room.

    Nothing is retried by Ray itself: a worker or a node that dies gives the outcome `crashed`, and the caller who has
    submitted the run decides.

    Args:
        slots: What a cluster that is started here consists of.
        limit: Runs at a time (default: as many as the cluster has room for).
        address: An existing cluster; without it, one is started here and ends with this process or with `stop`.
        options: What a rank of a run asks for: `num_cpus`, `num_gpus`, `memory` (bytes).
        share: Part of a GPU that a rank asks for otherwise, on a cluster that has any.

    Raises:
        EngineError: Ray is not installed, there is no cluster at the address, or a rank asks for more GPUs than there
            are here.
    """

    name = "ray"

    def __init__(
        self,
        slots: Sequence[Slot],
        limit: int | None = None,
        address: str | None = None,
        options: Mapping[str, JsonValue] | None = None,
        share: float = 1.0,
    ) -> None:
        # Usage statistics are the user's choice, so they are off unless the user has said something about them.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        self._slots = [] if address else list(slots)
        gpus = list(dict.fromkeys(gpu for slot in self._slots for gpu in slot.devices))
        self._total: dict[str, float] = {
            "num_cpus": sum(slot.threads for slot in self._slots),
            "num_gpus": len(gpus),
        }
        environment: dict[str, str] = {}  # by which Ray hands out these GPUs of this machine, and not the first ones
        if gpus:
            environment |= self._slots[0].environment
            if variable := kind_of(self._slots[0].device).variable:
                environment[variable] = ",".join(gpus)
        self._own = _connect(self._total, address, environment)
        if self._own:
            import ray

            self._total["memory"] = float(ray.cluster_resources().get("memory", math.inf))
        self._per_rank = _per_rank(self._slots, options or {}, share)
        if self._slots and self._per_rank["num_gpus"] > len(gpus):
            asked = f"{self._per_rank['num_gpus']:g}"
            raise EngineError(f"ray: num_gpus: {asked} for a rank, and there are {len(gpus)} to be used here")
        self._limit = limit or MOST_TASKS
        self._running: dict[Any, Job] = {}
        self._tokens: dict[Path, Path] = {}

    @property
    def capacity(self) -> int:
        """Number of jobs that may still be queued."""
        return self._limit - len(self._running)

    def submit(self, job: Job) -> None:
        """Queue a job with Ray."""
        import ray

        job.folder.prepare(job.spec)
        ranks = job.spec.execution.ranks
        asked = {name: amount * ranks for name, amount in self._per_rank.items()}
        share = self._per_rank["num_gpus"]
        if ranks > 1 or job.alone:  # of two halves Ray would make one GPU, and each rank needs one of its own
            asked["num_gpus"] = ranks * math.ceil(share)
        if job.spec.memory_stated:
            asked.setdefault("memory", job.spec.memory_stated)
        if self._slots:  # on this machine alone, what it has not would never come
            asked = {name: min(amount, self._total.get(name, amount)) for name, amount in asked.items()}
        # Ray keeps a worker without GPUs for other tasks of this command, and with it the server that forks runs.
        task = ray.remote(max_retries=0)(run_as_task)
        folder = job.folder.path.resolve()
        reference = task.options(name=f"benchbench {job.spec.key}", **asked).remote(
            job.spec.model_dump_json(),
            str(folder),
            str(job.data.resolve()),
            str(self._token(folder.parent)),
            max(1, int(asked["num_cpus"])),
            ranks if asked["num_gpus"] > 0 else 0,
            int(1 / asked["num_gpus"]) if 0 < asked["num_gpus"] < 1 else 1,
        )
        self._running[reference] = job

    def poll(self, seconds: float) -> Sequence[RunResult]:
        """Return the results of the tasks that have ended."""
        import ray

        if not self._running:
            return []
        ray.wait(list(self._running), timeout=seconds)
        ended, _ = ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
        return [self._result(reference) for reference in ended]

    def stop(self, *, at_once: bool = False) -> None:
        """Ask all runs to leave a checkpoint and end, kill those that take longer, and end a cluster of one's own."""
        import ray

        if self._running:
            for reference in self._running:
                ray.cancel(reference)
            grace = 0.0 if at_once else GRACE_SECONDS
            _, late = ray.wait(list(self._running), num_returns=len(self._running), timeout=grace)
            for reference in late:
                ray.cancel(reference, force=True)
            for reference in list(self._running):
                if reference not in late:
                    self._result(reference)
        self._running.clear()
        for token in self._tokens.values():
            token.unlink(missing_ok=True)
        self._tokens.clear()
        if self._own:
            ray.shutdown()

    def _token(self, runs: Path) -> Path:
        """Return a file next to the runs' folders by which a node can tell whether it sees these folders."""
        if runs not in self._tokens:
            self._tokens[runs] = runs / f".seen-{secrets.token_hex(8)}"
            self._tokens[runs].touch()
        return self._tokens[runs]

    def _result(self, reference: Any) -> RunResult:
        """Bring home what a task has left, and return how it went."""
        import ray

        job = self._running.pop(reference)
        try:
            files = ray.get(reference)
        except ray.exceptions.RayError as error:
            # A worker can die after its run has ended; what is on the disk then is all there is to know.
            return job.folder.result() or _broken(job, error)
        for name, content in files.items() if job.folder.held else ():
            write_whole(job.folder.path / name, content)
        return job.folder.result() or _broken(job, None)


def run_as_task(
    spec: str, folder: str, data: str, token: str, threads: int, gpus: int, sharing: int
) -> dict[str, bytes]:
    """Execute a run inside a task of Ray.

    Args:
        spec: The run's spec as JSON.
        folder: Path of the run's folder, where it can be seen from here.
        data: Path of the folder in which data sets lie.
        token: A file that can be seen here if the run's folder can.
        threads: CPU threads of the run.
        gpus: GPUs that the run is meant for, of those that Ray has given this process; 0 for the CPU.
        sharing: Runs that Ray can put on the same GPU.

    Returns:
        What the run has left, by name, if it can't have been left in its folder.
    """
    import ray

    from benchbench.engines.node import Wanted, execute
    from benchbench.processes.signals import stopping_on
    from benchbench.processes.temporary import temporary_folder

    run = RunSpec.model_validate_json(spec)
    given = ray.get_runtime_context().get_accelerator_ids().get("GPU", [])
    wanted = Wanted(threads, gpus, tuple(given), sharing)
    with stopping_on(signal.SIGINT) as stop:  # by which Ray cancels tasks
        if Path(token).exists():
            execute(Job(run, RunFolder(Path(folder)), Path(data)), wanted, stop)
            return {}
        with temporary_folder("benchbench-run-") as here:
            files = RunFolder(here / run.key)  # the key is part of what is written
            execute(Job(run, files, Path(data)), wanted, stop)
            left = [*files.tracked_files, files.weights_file]
            return {
                file.name: file.read_bytes()
                for file in left
                if file.exists() and file.stat().st_size <= LARGEST_WEIGHTS
            }


@contextmanager
def _with_environment(added: Mapping[str, str]) -> Iterator[None]:
    """Set variables that processes started inside inherit."""
    before = {name: os.environ.get(name) for name in added}
    os.environ.update(added)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _connect(resources: Mapping[str, float], address: str | None, environment: Mapping[str, str] | None = None) -> bool:
    """Connect to a cluster, started here unless there is an address; return whether it was started.

    Args:
        resources: What a cluster has that is started here.
        address: An existing one.
        environment: Variables that the processes of a cluster inherit that is started here.

    Raises:
        EngineError: Ray is not installed, does not start, or has no cluster at the address.
    """
    if address is None:
        # Ray's servers would be open to the network otherwise. It looks at this once, when it is imported.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    try:
        import ray
    except ImportError:
        raise EngineError(f"--engine ray needs Ray: {installing('ray')}") from None
    if ray.is_initialized():
        return False
    if address is not None:
        _reach(address)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "include_dashboard": None}
    try:
        if address is not None:
            ray.init(address=address, **quiet)
            return False
        with _with_environment(environment or {}):
            ray.init(
                address="local",
                **resources,
                object_store_memory=_MOST_BYTES,
                **{**quiet, "include_dashboard": False},
            )
    except Exception as error:  # noqa: BLE001 - a cluster that starts too slowly gives a plain one
        where = f"no Ray cluster at {address}" if address else "Ray does not start"
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise EngineError(f"{where}: {reason}") from None
    return True


def resources(address: str) -> dict[str, float]:
    """Return what a cluster has: its nodes, CPU cores and GPUs.

    Args:
        address: The cluster.

    Raises:
        EngineError: Ray is not installed, or there is no cluster at the address.
    """
    _connect({}, address)
    import ray

    there = ray.cluster_resources()
    nodes = sum(node["Alive"] for node in ray.nodes())
    ray.shutdown()
    return {"nodes": nodes, "cores": there.get("CPU", 0), "GPUs": there.get("GPU", 0)}


def _reach(address: str) -> None:
    """Find out at once whether anything listens at an address of the form `host:port`; Ray would try for minutes.

    Raises:
        EngineError: Nothing does.
    """
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "://" not in host:
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except (OSError, OverflowError) as error:
            raise EngineError(f"no Ray cluster at {address}: {error}") from None


def _per_rank(slots: Sequence[Slot], options: Mapping[str, JsonValue], share: float) -> dict[str, float]:
    """Return what a rank asks for: by the suite, else a slot's share, else a core, or a GPU with its share of cores."""
    given = {name: float(str(value)) for name, value in options.items()}
    if slots:
        return {"num_cpus": float(slots[0].threads), "num_gpus": _rounded(share), **given}
    cores = _cores_per_gpu()
    gpus = given.get("num_gpus", _rounded(share) if cores else 0.0)
    return {"num_cpus": float(max(1, int((cores or 1.0) * gpus))), "num_gpus": gpus, **given}


def _rounded(share: float) -> float:
    """Return a share of a GPU of which Ray, which counts ten-thousandths, finds as many in one as there should be."""
    return math.floor(share * 10_000) / 10_000


def _cores_per_gpu() -> float | None:
    """Return the cores that there are for each GPU, on the node of the cluster with the fewest; `None` without GPUs.

    A run on a GPU needs cores as well: what it does not take of them would feed no other GPU.
    """
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return min((node.get("CPU", 0) / node["GPU"] for node in nodes if node.get("GPU", 0) > 0), default=None)


def _broken(job: Job, error: Exception | None) -> RunResult:
    """Return the result of a run whose task did not end as it should: by an exception, or by a death."""
    import ray

    if isinstance(error, ray.exceptions.RayTaskError):
        result = RunResult(key=job.spec.key, outcome="failed", message=f"on its node: {error}".strip())
    elif isinstance(error, ray.exceptions.TaskCancelledError):
        result = RunResult(key=job.spec.key, outcome="interrupted", message="the task was cancelled")
    else:
        reason = " ".join(str(error).split()) if error else "it left no result"
        result = RunResult(
            key=job.spec.key, outcome="crashed", message=f"lost by Ray: {reason}\n{job.folder.log_tail(8)}"
        )
    job.folder.finish(result)
    return result
