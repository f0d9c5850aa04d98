"""The one training loop: a spec in, a result out."""

from __future__ import annotations

import math
import platform
import time
import traceback
from collections.abc import Callable
from functools import partial
from importlib.metadata import version

import torch

from benchbench import registry, stepping
from benchbench.compilation import CompiledLoss
from benchbench.ledger import Ledger
from benchbench.objective import Objective
from benchbench.run_folder import RunFolder
from benchbench.schedules import Schedules
from benchbench.streams import Streams
from benchbench.values import EpochRecord, Metrics, Outcome, RunResult, RunSpec
from benchbench.workloads import Setup, Task

_TRACEBACK_LINES = 12


def run(spec: RunSpec, device: torch.device, report: Callable[[EpochRecord], None]) -> RunResult:
    """Train one run to the end of its budget or to its divergence.

    Time and cost cover the training loop alone: data loading and optimizer steps, without set-up, evaluation and
    bookkeeping. Every number depends on the spec and the device only: the process's random state is put back.

    Args:
        spec: What to run.
        device: Where to run it.
        report: Called after every epoch.

    Returns:
        The result, with outcome `finished` or `diverged`.

    Raises:
        RuntimeError: The optimizer never evaluated the objective.
    """
    streams = Streams(spec.seed)
    with torch.random.fork_rng():
        torch.manual_seed(streams.seed("init"))
        task = registry.build_workload(spec.workload, Setup(device, spec.batch_size, streams))
        model = task.model
        optimizer = registry.build_optimizer(
            spec.optimizer, model.parameters(), seed=streams.seed("probes"), model=model
        )
        stepping.training(optimizer)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        schedules = Schedules(optimizer, spec.schedule, task.steps_per_epoch, spec.epochs)
        create_graph = registry.needs_create_graph(spec.optimizer, spec.create_graph)
        compiled = CompiledLoss(task.loss) if spec.compile else None
        ledger = Ledger()
        seconds = 0.0
        records: list[EpochRecord] = []
        outcome: Outcome = "finished"
        message = ""

        for epoch in range(1, spec.epochs + 1):
            started = _now(device)
            loss_sum = torch.zeros((), device=device)
            for batch in task.batches(epoch):
                schedules.apply(ledger.steps)
                # Dropout masks depend on the step alone, whatever numbers the optimizer draws.
                torch.manual_seed(streams.seed("dropout", ledger.steps))
                objective = Objective(
                    partial(task.loss, batch),
                    parameters,
                    ledger=ledger,
                    model=model,
                    create_graph=create_graph,
                    first_order_loss=None if compiled is None else partial(compiled, batch),
                )
                with ledger.metered():
                    loss_sum += stepping.step(optimizer, objective)
                ledger.steps += 1
            seconds += _now(device) - started

            metrics = {
                "train/loss": loss_sum.item() / task.steps_per_epoch,
                **_evaluate(task, optimizer),
                **{f"schedule/{key}": value for key, value in schedules.values().items()},
            }
            records.append(EpochRecord(epoch=epoch, metrics=metrics, cost=ledger.cost(seconds)))
            report(records[-1])
            if not all(math.isfinite(metrics[name]) for name in ("train/loss", "validation/loss")):
                outcome, message = "diverged", f"loss not finite in epoch {epoch}"
                break
    result = _result(spec, outcome, task, records, message)
    if compiled is None:
        return result
    return result.model_copy(update={"environment": {"compile": compiled.account(ledger.hvps)}})


def run_in_folder(spec: RunSpec, device: torch.device, folder: RunFolder, *, sharing: int = 1) -> RunResult:
    """Run a spec and leave its metrics and its result in its folder; an exception becomes the outcome `failed`.

    Args:
        spec: What to run.
        device: Where to run it.
        folder: The run's folder, prepared for it.
        sharing: Number of runs that share the device, which is recorded beside the times.
    """
    try:
        result = run(spec, device, folder.append)
    except (Exception, SystemExit):  # noqa: BLE001 - one run's failure is a value, whatever its cause
        traceback.print_exc()
        lines = traceback.format_exc().strip().splitlines()[-_TRACEBACK_LINES:]
        result = RunResult(key=spec.key, outcome="failed", message="\n".join(lines))
    result = result.model_copy(update={"environment": {**environment(device, sharing), **result.environment}})
    folder.finish(result)
    return result


def _evaluate(task: Task, optimizer: torch.optim.Optimizer) -> Metrics:
    with stepping.evaluating(optimizer):
        return {
            f"{split}/{name}": value for split in ("validation", "test") for name, value in task.evaluate(split).items()
        }


def _result(
    spec: RunSpec,
    outcome: Outcome,
    task: Task,
    records: list[EpochRecord],
    message: str,
) -> RunResult:
    selection = f"validation/{task.selection_metric}"
    best = max(records, key=lambda record: _rank(record.metrics[selection], task.higher_is_better))
    return RunResult(
        key=spec.key,
        outcome=outcome,
        message=message,
        selection_metric=selection,
        epochs=len(records),
        final=records[-1].metrics,
        best=best.metrics,
        best_epoch=best.epoch,
        cost=records[-1].cost,
    )


def _rank(value: float, higher_is_better: bool) -> float:
    """Order metric values so that the best is the greatest and NaN the least."""
    if math.isnan(value):
        return -math.inf
    return value if higher_is_better else -value


def _now(device: torch.device) -> float:
    """Return the time in seconds once the device has done all that it was asked to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def environment(device: torch.device, sharing: int) -> dict[str, str]:
    """Describe what a run's numbers and times depend on besides its spec, as plain text."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    return {
        "device": f"{device.type} ({name or platform.machine()})",
        "threads": str(torch.get_num_threads()),
        "concurrent_runs": str(sharing),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": platform.node(),
        "torch": torch.__version__,
        "benchbench": version("benchbench"),
    }
