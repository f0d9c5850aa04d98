"""The sharpness of a finished run, measured from the weights in its folder."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree

from benchbench.curvature import LossSurface, measure
from benchbench.devices import use
from benchbench.optim.execution import parts
from benchbench.optim.execution.buffers import ModelBuffers, normalizers_of
from benchbench.plugins.factories import Factory
from benchbench.plugins.names import describe_exception
from benchbench.runs.folder import RunFolder
from benchbench.training import backends
from benchbench.training.checkpointer import Stopped, never
from benchbench.values import Execution, RunSpec
from benchbench.values.sharpness import RunSharpness, SharpnessSettings, SharpnessSummary
from benchbench.workloads import DATA, Setup, Task, set_training_mode
from benchbench.workloads.streams import Streams

FIXED = "training examples, not augmented, in the same order for every run"
EPOCH_1 = "examples in the batches of epoch 1, as they were trained on: the workload offers no others"


def measure_in_folder(
    spec: RunSpec, device: torch.device, folder: RunFolder, data: Path = DATA, stop: Callable[[], bool] = never
) -> None:
    """Measure the sharpness of a run that has finished, and leave it in the run's folder, or why it is missing.

    Args:
        spec: The run, with what is to be measured.
        device: Where to measure.
        folder: The run's folder, with its final weights.
        data: The folder in which data sets lie.
        stop: Looked at after every batch: whether to give up.
    """

    def note(reason: str) -> None:
        folder.keep_sharpness(SharpnessSummary(settings=spec.sharpness.digest, missing=reason))

    note("the process died while it was measured")  # should the measurement take it along
    try:
        folder.keep_sharpness(measure_run(spec, device, folder, data, stop))
    except Stopped:
        note("stopped while it was measured")
    except Exception as error:  # noqa: BLE001 - foreign code, and the run itself has long succeeded
        traceback.print_exc()
        note(describe_exception(error))


def measure_run(
    spec: RunSpec, device: torch.device, folder: RunFolder, data: Path = DATA, stop: Callable[[], bool] = never
) -> RunSharpness:
    """Measure the sharpness of the solution in a run's folder, in this process alone.

    Gradients and products are computed plainly, in the type that the settings say, however the run computed its own:
    neither autocast nor compilation, channels-last, TF32 or several ranks.

    Args:
        spec: The run, with what is to be measured.
        device: Where to measure.
        folder: The run's folder, with its final weights.
        data: The folder in which data sets lie.
        stop: Looked at after every batch: whether to give up.

    Raises:
        FileNotFoundError: The folder has no weights.
        Stopped: A stop was asked for.
    """
    settings = spec.sharpness
    with use.forked_random_state(device), backends.configured(Execution(), device):
        task = _solution(spec, device, folder, data)
        surface = _surface(task, settings, stop)
        started = time.perf_counter()
        found = measure(surface, settings)
    return RunSharpness(
        **{**dict(found), "settings": settings},
        key=spec.key,
        data=FIXED if hasattr(task, "fixed_batches") else EPOCH_1,
        seconds=time.perf_counter() - started,
        epochs=found.cost.gradient_cost.amount / task.steps_per_epoch,
    )


def _solution(spec: RunSpec, device: torch.device, folder: RunFolder, data: Path) -> Task:
    """Return the run's task with its final weights, in the type and the mode that are to be measured.

    Raises:
        FileNotFoundError: There are no weights.
        UnusableCheckpointError: They are damaged.
    """
    weights = folder.weights()
    settings, streams = spec.sharpness, Streams(spec.seed)
    streams.reseed_global("init", 0, device)
    setup = Setup(device, settings.batch_size or spec.batch_size, streams, spec.protocol, data, spec.synthetic)
    task = Factory("workload", spec.workload).build_task(setup)
    task.model.load_state_dict(weights)
    task.model.to(getattr(torch, settings.dtype))
    set_mode(task.model, settings)
    return task


def set_mode(model: nn.Module, settings: SharpnessSettings) -> None:
    """Switch dropout off, and batch norm into the mode that is to be measured, unless its author has frozen it."""
    set_training_mode(model)
    trained = [module for module in normalizers_of(model) if module.training]
    model.eval()
    for module in trained:
        module.train(settings.batch_norm == "train")


def _surface(task: Task, settings: SharpnessSettings, stop: Callable[[], bool]) -> LossSurface:
    def convert(leaf: Any) -> Any:
        floating = isinstance(leaf, Tensor) and leaf.is_floating_point()
        return leaf.to(getattr(torch, settings.dtype)) if floating else leaf

    def batches() -> Iterator[Any]:
        for batch in _batches(task, settings.examples):
            if stop():
                raise Stopped("stopped while it was measured")
            yield _pytree.tree_map(convert, batch)

    size = getattr(task, "size", parts.size)
    return LossSurface(task.model.parameters(), batches, task.loss, size, buffers=ModelBuffers(task.model.modules()))


def _batches(task: Task, examples: int | None) -> Iterator[Any]:
    fixed = getattr(task, "fixed_batches", None)
    if fixed is not None:
        yield from fixed(examples)
        return
    seen, size = 0, getattr(task, "size", parts.size)
    for batch in task.batches(1):
        yield batch
        seen += size(batch)
        if examples is not None and seen >= examples:
            return
