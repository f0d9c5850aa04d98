"""The slurm engine: runs as jobs of a Slurm cluster, one job array for each amount of resources."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import JsonValue

from benchbench.distribution import installing
from benchbench.engines import EngineError, Job, slurm_queue
from benchbench.engines.slurm_job import NAME, new_submission, run_as_job
from benchbench.engines.slurm_options import gpus_of, partition_of, sbatch_options
from benchbench.engines.slurm_queue import ENDED, PATIENCE, SlurmError
from benchbench.problems import BadInputError, Problem
from benchbench.runs.folder import RunFolder
from benchbench.values import Outcome, RunResult

MOST_JOBS = 1000
"""Jobs at a time; also the largest array that Slurm takes unless it is configured otherwise."""

GRACE_SECONDS = 30.0
"""Seconds in which stopped jobs may leave a checkpoint."""

_SIGNAL_SECONDS = 90
"""Seconds before its time limit at which a job is told to leave a checkpoint and queue up again."""

_LOG_LINES = 8


class SlurmEngine:
    """Submits runs as job arrays and follows them by the files they write and by what Slurm says.

    The jobs outlive this process. A run that is in the queue already is taken up, not submitted again.

    Args:
        parallel: Jobs of an array that run at a time (default: as Slurm likes).
        options: Options of `sbatch` by name, without the dashes; `gpus` and `cpus_per_task` count for each rank.
        interval: Seconds between two questions to Slurm.
        patience: Seconds that the files of a job that has ended may take to become visible here, and that Slurm may
            take to queue it up again.
        on_cpu: Whether runs are meant for CPUs where the options say nothing of GPUs.
        ranks: The most that a run has.

    Raises:
        EngineError: submitit is not installed, this is no login node, or it is not clear what the runs are meant for.
        BadInputError: The options ask for fewer GPUs than there are ranks.
    """

    name = NAME

    def __init__(
        self,
        parallel: int | None = None,
        options: Mapping[str, JsonValue] | None = None,
        interval: float = 2.0,
        patience: float = PATIENCE,
        *,
        on_cpu: bool = False,
        ranks: int = 1,
    ) -> None:
        try:
            import submitit  # noqa: F401 - only whether it is there
        except ImportError:
            raise EngineError(f"--engine slurm needs submitit: {installing('slurm')}") from None
        if shutil.which("sbatch") is None or shutil.which("srun") is None:
            raise EngineError("--engine slurm needs the commands of Slurm: this machine is no login node")
        self._parallel = parallel or MOST_JOBS
        self._options = dict(options or {})
        self._cores_per_gpu = _cores_per_gpu(self._options, on_cpu=on_cpu)
        self._on_gpus = bool(gpus_of(self._options))
        _check_ranks(self._options, ranks)
        self._interval = interval
        self._patience = patience
        self._new: list[Job] = []
        self._jobs: dict[str, Job] = {}
        self._ended: dict[str, float] = {}
        self._asked = -float("inf")

    @property
    def capacity(self) -> int:
        """Number of jobs that may still be queued."""
        return MOST_JOBS - len(self._new) - len(self._jobs)

    def submit(self, job: Job) -> None:
        """Let a job be submitted with the next call of `poll`, along with the others of that time."""
        self._new.append(job)

    def poll(self, seconds: float) -> Sequence[RunResult]:
        """Submit what is new, and return the results of the jobs that Slurm has brought to an end.

        Raises:
            EngineError: Slurm refuses new jobs.
        """
        try:
            self._hand_over()
        except SlurmError as error:
            raise EngineError(str(error)) from None
        due = self._asked + self._interval - time.monotonic()
        time.sleep(max(0.0, min(seconds, due)))
        if due > seconds or not self._jobs:
            return []
        self._asked = time.monotonic()
        try:
            states = slurm_queue.states(list(self._jobs))
        except SlurmError:  # a controller that is being restarted, say: the jobs go on, and it is asked again
            return []
        self._ended = {name: since for name, since in self._ended.items() if states[name] in ENDED}
        results = (self._result(name, state) for name, state in states.items() if state in ENDED)
        return [result for result in results if result is not None]

    def stop(self, *, at_once: bool = False) -> None:
        """Take all jobs out of the queue; those that run get some time to leave a checkpoint."""
        self._new.clear()
        if not self._jobs:
            return
        slurm_queue.cancel(list(self._jobs), pending_only=True)
        slurm_queue.signal_steps(list(self._jobs), "TERM")
        deadline = time.monotonic() + (0.0 if at_once else GRACE_SECONDS)
        while (alive := self._alive()) and time.monotonic() < deadline:
            time.sleep(min(self._interval, 0.5))
        if alive:
            slurm_queue.cancel(alive)
        for job in self._jobs.values():
            job.folder.submission_file.unlink(missing_ok=True)
        self._jobs.clear()

    def _alive(self) -> list[str]:
        try:
            return [name for name, state in slurm_queue.states(list(self._jobs)).items() if state not in ENDED]
        except SlurmError:  # they may be: they are cancelled in the end
            return list(self._jobs)

    def _hand_over(self) -> None:
        new, self._new = self._new, []
        known = alive_submissions(job.folder for job in new)
        known |= _just_ended([job for job in new if job.folder not in known])
        self._jobs |= {known[job.folder]: job for job in new if job.folder in known}
        shapes: dict[tuple[int, int, bool], list[Job]] = {}
        for job in new:
            if job.folder not in known:
                shape = job.spec.execution.ranks, job.spec.memory_stated, bool(job.alone)
                shapes.setdefault(shape, []).append(job)
        for (ranks, memory, alone), jobs in shapes.items():
            options = {**self._options, "exclusive": True} if alone else self._options
            self._submit_array(sbatch_options(options, ranks, memory, self._cores_per_gpu), jobs)

    def _submit_array(self, options: dict[str, JsonValue], jobs: Sequence[Job]) -> None:
        import submitit

        logs = _logs(jobs[0].folder)
        logs.mkdir(mode=0o700, parents=True, exist_ok=True)  # what submitit pickles there is for no one else
        executor = submitit.SlurmExecutor(logs / "%j")
        executor.update_parameters(
            job_name="benchbench",
            time=None,  # or submitit would ask for five minutes
            array_parallelism=self._parallel,
            signal_delay_s=_SIGNAL_SECONDS,
            stderr_to_stdout=True,
            additional_parameters=options,
        )
        for job in jobs:
            job.folder.prepare(job.spec)
            # Of a job that has ended: this one would give way to it.
            job.folder.submission_file.unlink(missing_ok=True)
        try:
            with executor.batch():
                submitted = [
                    executor.submit(
                        run_as_job,
                        job.spec.model_dump_json(),
                        str(job.folder.path.resolve()),
                        str(job.data.resolve()),
                        job.spec.execution.ranks if self._on_gpus else 0,
                    )
                    for job in jobs
                ]
        except submitit.core.utils.FailedJobError as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise SlurmError(lines[-1] if lines else type(error).__name__) from None
        for job, made in zip(jobs, submitted, strict=True):
            job.folder.submit(new_submission(made.job_id))
            self._jobs[made.job_id] = job

    def _result(self, name: str, state: str) -> RunResult | None:
        """Return how a job that has ended went, or `None` while its files or Slurm may still say something else."""
        job = self._jobs[name]
        result = ended_result(job.spec.key, job.folder, name, state)
        now = time.monotonic()
        if not result.conclusive and now < self._ended.setdefault(name, now) + self._patience:
            return None
        del self._jobs[name]
        self._ended.pop(name, None)
        job.folder.finish(result)
        forget(job.folder)
        return result


def _cores_per_gpu(options: Mapping[str, JsonValue], *, on_cpu: bool) -> int:
    """Return the cores to ask for with each GPU: its share of a node's, for runs on GPUs need cores too.

    Raises:
        EngineError: The options do not say whether runs are meant for the cluster's GPUs, or not what the user says.
    """
    asked = gpus_of(options)
    try:
        cores = slurm_queue.cores_per_gpu(partition_of(options))
    except SlurmError:  # what is wrong, sbatch will say
        cores = None
    if on_cpu and asked:
        raise EngineError(f"--devices cpu, and `slurm` in the suite asks for GPUs: {asked}")
    if cores is not None and asked is None and not on_cpu:
        raise EngineError(
            "this cluster has GPUs, and the suite does not say whether its runs are meant for them; allowed: "
            "`slurm: {gpus: 1}` (for each rank), `slurm: {gpus: 0}` or --devices cpu"
        )
    return cores or 1


def _check_ranks(options: Mapping[str, JsonValue], ranks: int) -> None:
    """Raise if jobs with these options have GPUs, but not one for each rank.

    Raises:
        BadInputError: They have fewer.
    """
    asked = gpus_of(options)
    if asked and asked < ranks and "gpus" not in options:  # which counts for each rank
        message = f"each rank needs a GPU of its own, and `slurm` in the suite asks for {asked}; `gpus: 1` is for each"
        raise BadInputError([Problem(message, field="ranks", value=str(ranks))])


def alive_submissions(folders: Iterable[RunFolder]) -> dict[RunFolder, str]:
    """Return the Slurm jobs of runs that are in the queue or being run.

    Raises:
        SlurmError: Slurm does not answer.
    """
    jobs = _submissions(folders)
    states = slurm_queue.states(list(jobs.values())) if jobs else {}
    return {folder: job for folder, job in jobs.items() if states[job] not in ENDED}


def _just_ended(jobs: Sequence[Job]) -> dict[RunFolder, str]:
    """Return the Slurm jobs of runs that had not ended at the last look, and have now."""
    return _submissions(job.folder for job in jobs if job.folder.is_settled(job.spec))


def _submissions(folders: Iterable[RunFolder]) -> dict[RunFolder, str]:
    found = ((folder, folder.submission()) for folder in folders)
    return {folder: each.job for folder, each in found if each is not None and each.engine == SlurmEngine.name}


def ended_result(key: str, folder: RunFolder, job: str, state: str) -> RunResult:
    """Return how a run went whose job has ended.

    Args:
        key: The run's key.
        folder: Its folder.
        job: Its job.
        state: Slurm's word for how the job has ended.
    """
    result = folder.result()
    if state == "UNKNOWN" and result is None and not folder.log_file.exists():
        state = "CANCELLED"  # Slurm soon forgets jobs that are cancelled before they have begun
    if state == "CANCELLED" and (result is None or result.outcome == "interrupted"):
        so_far = f": {result.message}" if result is not None else ""
        return RunResult(key=key, outcome="interrupted", message=f"job {job} was cancelled in Slurm{so_far}")
    if result is not None:
        return result
    outcome: Outcome = "timeout" if state in ("TIMEOUT", "DEADLINE") else "crashed"
    lines = folder.log_tail(_LOG_LINES) or _job_log(folder, job)
    return RunResult(key=key, outcome=outcome, message=f"Slurm ended job {job} as {state}\n{lines}")


def forget(folder: RunFolder) -> None:
    """Remove what says that a run was submitted, and the files of its job unless the run broke."""
    submission, result = folder.submission(), folder.result()
    if submission is not None and result is not None and result.conclusive:
        shutil.rmtree(_logs(folder) / submission.job, ignore_errors=True)
    folder.submission_file.unlink(missing_ok=True)


def _logs(folder: RunFolder) -> Path:
    """Return the folder with what submitit and Slurm leave of jobs, next to the runs' folders."""
    return folder.path.resolve().parent / "slurm"


def _job_log(folder: RunFolder, job: str) -> str:
    """Return the end of what a job printed before the run had a log of its own."""
    from submitit.core.utils import JobPaths

    try:
        text = JobPaths(_logs(folder) / "%j", job).stdout.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-_LOG_LINES:])
