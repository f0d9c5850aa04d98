"""The one training loop: a spec in, a result out."""

from __future__ import annotations

import errno
import math
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch

from benchbench.devices import use
from benchbench.devices.kinds import kind_of
from benchbench.optim import state, stepping
from benchbench.optim.execution.buffers import load_state
from benchbench.optim.execution.ranks import RankEndedError
from benchbench.optim.execution.shared_state import shared_state_kept
from benchbench.plugins.factories import Factories
from benchbench.plugins.provenance import InstalledCode
from benchbench.processes import memory
from benchbench.runs.folder import RunFolder
from benchbench.runs.presence import present
from benchbench.training import backends, measurement, operations
from benchbench.training.attempt import Progress
from benchbench.training.checkpointer import Checkpointer, Stopped, never
from benchbench.training.environment import environment
from benchbench.training.rank_workers import rank_workers
from benchbench.training.shortage import shortage_in, shortage_of
from benchbench.values import EpochRecord, Memory, Metrics, Outcome, RunResult, RunSpec
from benchbench.workloads import DATA, Task

_TRACEBACK_LINES = 12

_FULL = (errno.ENOSPC, errno.EDQUOT)
"""Errors of a disk that takes no more."""

_LOG_LINES = 200


class _BrokenOffError(Exception):
    """A divergence that showed as an exception; its result is settled."""

    def __init__(self, result: RunResult) -> None:
        super().__init__(result.message)
        self.result = result


def run(
    spec: RunSpec,
    factories: Factories,
    device: torch.device,
    report: Callable[[EpochRecord], None],
    data: Path = DATA,
    checkpointer: Checkpointer | None = None,
    settle: Callable[[RunResult], RunResult] = lambda result: result,
) -> RunResult:
    """Train one run to the end of its budget or to its divergence.

    Time and cost cover the training loop alone: data loading and optimizer steps, without set-up, evaluation and
    bookkeeping; what first steps take beyond later ones is told apart as warm-up. Every number depends on the spec and
    the device only: the process's random state is put back.

    Args:
        spec: What to run.
        factories: Those of its workload and its optimizer.
        device: Where to run it.
        report: Called after every epoch.
        data: The folder in which data sets lie.
        checkpointer: Resumes what an earlier attempt has left, and keeps this one's progress; by default nothing is.
        settle: Completes the result and writes it down, before this process waits for other ranks for the last time.

    Returns:
        What `settle` has made of the result, with outcome `finished` or `diverged`.

    Raises:
        RuntimeError: The optimizer never evaluated the objective.
        Stopped: The checkpointer was asked to stop the run.
        RankEndedError: The process of another rank has ended.
    """
    try:
        return _run(spec, factories, device, report, data, checkpointer or Checkpointer(spec, device), settle)
    except _BrokenOffError as broken:
        return broken.result


def _run(
    spec: RunSpec,
    factories: Factories,
    device: torch.device,
    report: Callable[[EpochRecord], None],
    data: Path,
    checkpointer: Checkpointer,
    settle: Callable[[RunResult], RunResult],
) -> RunResult:
    with (
        use.forked_random_state(device),
        backends.configured(spec.execution, device),
        rank_workers(spec, device, data) as workers,
        ExitStack() as kept,
    ):
        progress = checkpointer.begin(lambda: Progress(spec, factories, device, data, workers.ranks, checkpointer.note))
        training, task = progress.training, progress.training.task
        kept.enter_context(shared_state_kept(training.optimizer))  # for the next run in this process
        outcome: Outcome = "finished"
        message = ""

        while progress.epoch <= spec.epochs:
            epoch = progress.epoch
            try:
                with workers.along(epoch, progress.batches, training):
                    batches = progress.remaining(task.batches(epoch))
                    with progress.usage.measured():
                        for batch in batches:
                            progress.step(batch)
                            checkpointer.after_step(progress)

                with stepping.evaluating(training.optimizer):
                    metrics = {
                        "train/loss": progress.loss_sum.item() / task.steps_per_epoch,
                        **training.evaluate(progress.eval_split),
                        **{f"schedule/{key}": value for key, value in training.schedules.values().items()},
                    }
                    record = EpochRecord(epoch=epoch, metrics=metrics, cost=progress.cost())
                    progress.complete(record)
            except Stopped:
                raise
            except (Exception, SystemExit) as error:
                if message := progress.diverged(error):
                    # As an exception, for the other ranks are wherever it has left them.
                    raise _BrokenOffError(settle(_broken_off(spec.key, progress, message, report))) from error
                raise
            report(record)
            if not all(math.isfinite(metrics[name]) for name in ("train/loss", f"{progress.eval_split}/loss")):
                outcome, message = "diverged", f"loss not finite in epoch {epoch}"
                break
            checkpointer.after_epoch(progress)
        final, at_best = _tested(progress, checkpointer)
        return settle(_result(spec.key, progress, outcome, message, final, at_best))


def _broken_off(key: str, progress: Progress, message: str, report: Callable[[EpochRecord], None]) -> RunResult:
    """Return the result of a run that ends with an exception after its numbers have ceased to be finite."""
    traceback.print_exc()
    record = progress.broken_off()
    progress.complete(record)
    report(record)
    return _result(key, progress, "diverged", message, record, progress.best.record or record)


def _result(
    key: str, progress: Progress, outcome: Outcome, message: str, final: EpochRecord, at_best: EpochRecord
) -> RunResult:
    training, task = progress.training, progress.training.task
    return RunResult(
        key=key,
        outcome=outcome,
        message=message,
        selection_metric=progress.best.metric,
        higher_is_better=task.higher_is_better,
        epochs=final.epoch,
        final=final.metrics,
        best=at_best.metrics,
        best_epoch=at_best.epoch,
        cost=final.cost,
        memory=Memory(
            parameters=state.parameter_bytes(training.optimizer),
            state=state.state_bytes(training.optimizer, task.model),
            device_peak=progress.usage.device_peak,
        ),
        environment={
            **getattr(task, "environment", {}),
            **_throughput(task, final.epoch, final.cost.steady_seconds),
            **training.account(),
        },
    )


def _tested(progress: Progress, checkpointer: Checkpointer) -> tuple[EpochRecord, EpochRecord]:
    """Return the last and the best epoch with the metrics of the test split, read now if at all.

    They are not read again where they chose the epoch, and never where the spec leaves them alone.

    The last epoch's weights are kept; the best epoch's are left in the model.
    """
    training, best, last = progress.training, progress.best, progress.records[-1]
    task, chosen = training.task, best.record or last
    with stepping.evaluating(training.optimizer):
        checkpointer.keep_weights(progress)
        if not best.weights:
            return last, chosen
        final = _with(last, training.evaluate("test"))
        if chosen.epoch == last.epoch:
            return final, final
        load_state(task.model, best.weights)
        return final, _with(chosen, training.evaluate("test"))


def _throughput(task: Task, epochs: int, seconds: float) -> dict[str, str]:
    """Return how many tokens were trained on per second, for a task that counts them."""
    tokens = getattr(task, "tokens_per_epoch", None)
    return {} if tokens is None else {"tokens_per_second": f"{tokens * epochs / seconds:.0f}"}


def _with(record: EpochRecord, metrics: Metrics) -> EpochRecord:
    return record.model_copy(update={"metrics": {**record.metrics, **metrics}})


def run_in_folder(
    spec: RunSpec,
    device: torch.device,
    folder: RunFolder,
    *,
    data: Path = DATA,
    concurrent_runs: Callable[[], int] = lambda: 1,
    own_process: bool = False,
    stop: Callable[[], bool] = never,
) -> RunResult:
    """Run a spec and leave its metrics and its result in its folder; an exception becomes the outcome `failed`.

    It goes on from the checkpoint that an earlier attempt has left in the folder. A run that has finished there, and of
    which only the sharpness is missing, is only measured.

    What the spec wants measured beside the training is measured after it, so that it can neither change nor cost
    the run anything.

    Args:
        spec: What to run.
        device: Where to run it.
        folder: The run's folder, prepared for it.
        data: The folder in which data sets lie.
        concurrent_runs: Asked at the end for the most runs that have been on the device at a time; recorded with times.
        own_process: Whether this process does nothing else, so that its memory is the run's.
        stop: Looked at after every step: whether the run shall leave a checkpoint and end as `interrupted`.
    """
    # A plugin may change the current folder.
    folder, data = replace(folder.as_claimed(), path=folder.path.absolute()), data.absolute()
    result = folder.measurable(spec)
    if result is None:
        with present(_place(device)) as at_work:
            result = _trained(spec, device, folder, data, concurrent_runs, at_work, own_process, stop)
    if spec.lacks_sharpness(result):
        result = measurement.with_sharpness(spec, result, device, folder, data, stop)
        folder.finish(result)
    return result


def _trained(
    spec: RunSpec,
    device: torch.device,
    folder: RunFolder,
    data: Path,
    concurrent_runs: Callable[[], int],
    at_work: Callable[[], int],
    own_process: bool,
    stop: Callable[[], bool],
) -> RunResult:
    checkpointer = Checkpointer(spec, device, folder, stop, concurrent_runs)

    def settle(result: RunResult) -> RunResult:
        # Read here already: what is measured later has a peak of its own.
        used = result.memory.model_copy(update={"host_peak": memory.process_peak() if own_process else None})
        code = InstalledCode().of_run(factories) if result.conclusive else None
        described = {
            **environment(device, checkpointer.concurrent_runs(), code or {}),
            **result.environment,
            **checkpointer.account(),
        }
        # Of the runs on the device, the engine knows its own.
        if (others := at_work() - concurrent_runs()) > 0:
            described["other_commands_runs"] = str(others)
        # Should the probe take the process along, this is what remains.
        unmetered = "the process died in the probe" if _is_probed(spec, result) else ""
        result = result.model_copy(
            update={"environment": described, "memory": used, "unmetered": unmetered, "code": code}
        )
        folder.finish(result)
        return result

    try:
        factories = Factories.of(spec)
        result = run(spec, factories, device, folder.append, data, checkpointer, settle)
    except Stopped as stopped:
        result = settle(RunResult(key=spec.key, outcome="interrupted", message=str(stopped)))
    except RankEndedError as error:
        traceback.print_exc()
        ran_out = shortage_in(folder.log_tail(_LOG_LINES))  # where the other rank has said why
        result = settle(RunResult(key=spec.key, outcome="crashed", message=str(error), out_of_memory=ran_out))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - one run's failure is a value, whatever its cause
        if isinstance(error, OSError) and error.errno in _FULL:  # no line of code is to blame
            lines = [f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)]
            print(lines[0], file=sys.stderr, flush=True)
        else:
            traceback.print_exc()
            lines = traceback.format_exc().strip().splitlines()[-_TRACEBACK_LINES:]
        ran_out = shortage_of(error)
        result = settle(RunResult(key=spec.key, outcome="failed", message="\n".join(lines), out_of_memory=ran_out))
    if _is_probed(spec, result):
        gc_measured, unmetered = operations.gradient_equivalents(
            spec, factories, device, data, hessian=result.cost.hvps > 0
        )
        result = result.model_copy(update={"gc_measured": gc_measured, "unmetered": unmetered})
        folder.finish(result)
    return result


def _place(device: torch.device) -> str:
    """Return what all runs of this machine call a device, as far as the process can tell."""
    if not use.is_accelerator(device):
        return device.type
    variable = kind_of(device.type).variable
    visible = os.environ.get(variable, "") if variable else ""
    return f"{device.type}-{visible}-{device.index or 0}"


def _is_probed(spec: RunSpec, result: RunResult) -> bool:
    return "flops" in spec.measure and result.conclusive
