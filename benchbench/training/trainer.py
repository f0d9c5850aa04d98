"""The one training loop: a spec in, a result out."""

from __future__ import annotations

import errno
import math
import os
import sys
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch

from benchbench.devices import use
from benchbench.devices.kinds import kind_of
from benchbench.optim import stepping
from benchbench.optim.execution.buffers import load_state
from benchbench.optim.execution.ranks import RankEndedError
from benchbench.optim.execution.shared_state import shared_state_kept
from benchbench.optim.state import parameter_bytes, state_bytes
from benchbench.plugins.factories import Factories
from benchbench.plugins.provenance import InstalledCode
from benchbench.processes import memory
from benchbench.runs.folder import RunFolder
from benchbench.runs.presence import present
from benchbench.training import backends, measurement, operations
from benchbench.training.checkpointer import Checkpointer, Stopped, never
from benchbench.training.environment import environment
from benchbench.training.rank_workers import RankWorkers, rank_workers
from benchbench.training.shortage import shortage_in, shortage_of
from benchbench.training.state import RunState
from benchbench.values import EpochRecord, Memory, Metrics, RunResult, RunSpec
from benchbench.workloads import DATA

_TRACEBACK_LINES = 12

_FULL = (errno.ENOSPC, errno.EDQUOT)
"""Errors of a disk that takes no more."""

_LOG_LINES = 200


def train(spec: RunSpec, state: RunState, checkpointer: Checkpointer, workers: RankWorkers) -> RunResult:
    """Train one run to the end of its budget or to its divergence.

    Time and cost cover the training loop alone: data loading and optimizer steps, without set-up, evaluation and
    bookkeeping; what first steps take beyond later ones is told apart as warm-up.

    Args:
        spec: What to run.
        state: How far it has come.
        checkpointer: Keeps its progress.
        workers: The other ranks of the run.

    Returns:
        The result, with outcome `finished` or `diverged`.

    Raises:
        Exception: Whatever foreign code raises while all numbers are finite.
        SystemExit: The same.
        Stopped: The checkpointer was asked to stop the run.
        RankEndedError: The process of another rank has ended.
    """
    training, task = state.training, state.training.task
    while state.epoch <= spec.epochs:
        try:
            with workers.along(state.epoch, state.batches, training):
                batches = task.batches(state.epoch)
                deque(islice(batches, state.batches), maxlen=0)  # done before the checkpoint
                with state.clock.measured():
                    for batch in batches:
                        state.step(batch)
                        checkpointer.after_step(state)

            with stepping.evaluating(training.optimizer):
                record = state.complete()
        except Stopped:
            raise
        except (Exception, SystemExit) as error:
            if not (message := state.divergence(error)):
                raise
            traceback.print_exc()
            workers.abandon(error)
            record = state.break_off()
            checkpointer.folder.append(record)
            return _result(spec.key, state, message, record, state.best or record)
        checkpointer.folder.append(record)
        if not all(math.isfinite(record.metrics[name]) for name in ("train/loss", f"{state.eval_split}/loss")):
            message = f"loss not finite in epoch {record.epoch}"
            return _result(spec.key, state, message, *_tested(state, checkpointer))
        checkpointer.after_epoch(state)
    return _result(spec.key, state, "", *_tested(state, checkpointer))


def _result(key: str, state: RunState, divergence: str, final: EpochRecord, at_best: EpochRecord) -> RunResult:
    training, task = state.training, state.training.task
    tokens = getattr(task, "tokens_per_epoch", None)
    throughput = None if tokens is None else f"{tokens * final.epoch / final.cost.steady_seconds:.0f}"
    return RunResult(
        key=key,
        outcome="diverged" if divergence else "finished",
        message=divergence,
        selection_metric=state.selection_metric,
        higher_is_better=task.higher_is_better,
        epochs=final.epoch,
        final=final.metrics,
        best=at_best.metrics,
        best_epoch=at_best.epoch,
        cost=final.cost,
        memory=Memory(
            parameters=parameter_bytes(training.optimizer),
            state=state_bytes(training.optimizer, task.model),
            device_peak=state.clock.device_peak,
        ),
        environment={
            **getattr(task, "environment", {}),
            **({} if throughput is None else {"tokens_per_second": throughput}),
            **training.account(),
        },
    )


def _tested(state: RunState, checkpointer: Checkpointer) -> tuple[EpochRecord, EpochRecord]:
    """Return the last and the best epoch with the metrics of the test split, read now if at all.

    They are not read again where they chose the epoch, and never where the spec leaves them alone.

    The last epoch's weights are kept; the best epoch's are left in the model.
    """
    training, last, chosen = state.training, state.records[-1], state.best or state.records[-1]
    with stepping.evaluating(training.optimizer):
        checkpointer.keep_weights(training.task.model)
        if not state.best_weights:
            return last, chosen
        final = _with(last, training.evaluate("test"))
        if chosen.epoch == last.epoch:
            return final, final
        load_state(training.task.model, state.best_weights)
        return final, _with(chosen, training.evaluate("test"))


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

    What the spec wants measured in addition is measured after the training, so that it can neither change nor cost
    the run anything.

    Args:
        spec: What to run.
        device: Where to run it.
        folder: The run's folder, prepared for it.
        data: The folder in which data sets lie.
        concurrent_runs: Asked at the end for the most runs that have been on the device at a time; recorded with times.
        own_process: Whether this process does nothing else, so that its memory is the run's.
        stop: Looked at after every step: whether the run must leave a checkpoint and end as `interrupted`.
    """
    # A plugin may change the current folder.
    folder, data = replace(folder.as_claimed(), path=folder.path.absolute()), data.absolute()
    result = folder.result() if folder.is_measurable(spec) else None
    if result is None:
        checkpointer = Checkpointer(spec, device, folder, stop, concurrent_runs)
        with present(_place(device)) as at_work:
            # Of the runs on the device, the engine knows its own.
            result = _attempted(
                spec, device, data, checkpointer, lambda: at_work() - concurrent_runs(), own_process=own_process
            )
    if spec.lacks_sharpness(folder.with_sharpness(result, spec)):
        measurement.measure_in_folder(spec, device, folder, data, stop)
    return result


def _attempted(
    spec: RunSpec,
    device: torch.device,
    data: Path,
    checkpointer: Checkpointer,
    others: Callable[[], int],
    *,
    own_process: bool,
) -> RunResult:
    """Train a run, and leave its result in its folder, whatever it raises."""
    folder = checkpointer.folder
    probed = "flops" in spec.measure

    def finish(result: RunResult, factories: Factories | None = None) -> RunResult:
        code = InstalledCode().of_run(factories) if factories else None
        described = {
            **environment(device, checkpointer.concurrent_runs(), code or {}),
            **result.environment,
            **checkpointer.account(),
        }
        if (count := others()) > 0:
            described["other_commands_runs"] = str(count)
        update = {
            "environment": described,
            "code": code,
            # Read here already: what is measured later has a peak of its own.
            "memory": result.memory.model_copy(update={"host_peak": memory.process_peak() if own_process else None}),
            # Should the probe take the process along, this is what remains.
            "unmetered": "the process died in the probe" if probed and result.conclusive else "",
        }
        result = result.model_copy(update=update)
        folder.finish(result)
        return result

    try:
        factories = Factories.of(spec)
        # Every number depends on the spec and the device only: the process's random state is put back.
        with (
            use.forked_random_state(device),
            backends.configured(spec.execution, device),
            rank_workers(spec, device, data) as workers,
        ):
            state = checkpointer.begin(
                lambda: RunState(spec, factories, device, data, workers.ranks, folder.append_diagnostics)
            )
            with shared_state_kept(state.training.optimizer):  # for the next run in this process
                result = finish(train(spec, state, checkpointer, workers), factories)
    except Stopped as stopped:
        return finish(RunResult(key=spec.key, outcome="interrupted", message=str(stopped)))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - one run's failure is a value, whatever its cause
        return finish(_failed(spec.key, folder, error))
    if probed:
        del state  # whose memory the probe may need
        gc_measured, unmetered = operations.gradient_equivalents(
            spec, factories, device, data, hessian=result.cost.hvps > 0
        )
        result = result.model_copy(update={"gc_measured": gc_measured, "unmetered": unmetered})
        folder.finish(result)
    return result


def _failed(key: str, folder: RunFolder, error: BaseException) -> RunResult:
    """Return what an exception that is no divergence makes of a run."""
    if isinstance(error, OSError) and error.errno in _FULL:  # no line of code is to blame
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
        print(message, file=sys.stderr, flush=True)
        return RunResult(key=key, outcome="failed", message=message, out_of_memory=shortage_of(error))
    traceback.print_exc()
    if isinstance(error, RankEndedError):
        ran_out = shortage_in(folder.log_tail(_LOG_LINES))  # where the other rank has said why
        return RunResult(key=key, outcome="crashed", message=str(error), out_of_memory=ran_out)
    message = "\n".join(traceback.format_exc().strip().splitlines()[-_TRACEBACK_LINES:])
    return RunResult(key=key, outcome="failed", message=message, out_of_memory=shortage_of(error))


def _place(device: torch.device) -> str:
    """Return what all runs of this machine call a device, as far as the process can tell."""
    if not use.is_accelerator(device):
        return device.type
    variable = kind_of(device.type).variable
    visible = os.environ.get(variable, "") if variable else ""
    return f"{device.type}-{visible}-{device.index or 0}"
