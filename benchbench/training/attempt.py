"""An attempt at a run: its parts, how far it has come, and the time and memory it has used."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import torch

from benchbench.devices import use
from benchbench.optim.execution.ranks import Ranks
from benchbench.plugins.factories import Factories
from benchbench.plugins.names import describe_exception
from benchbench.training.diagnostics import DiagnosticsRecorder
from benchbench.training.selection import Best
from benchbench.training.steps import Training
from benchbench.training.warm_up import WarmUp
from benchbench.values import Cost, DiagnosticRecord, EpochRecord, RunSpec

_T = TypeVar("_T")


class Usage:
    """Time and device memory of the training loop, without evaluation and bookkeeping.

    Args:
        device: Where the run trains.

    Attributes:
        seconds: Time so far, that of earlier attempts included.
        device_peak: Most memory so far, or `None` where it is not known.
    """

    def __init__(self, device: torch.device) -> None:
        self.seconds = 0.0
        self.device_peak: int | None = None
        self._device = device
        self._since = 0.0
        self._running = False
        self._left_out: list[tuple[Any, Any]] = []
        self._behind = 0.0

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Count what happens inside."""
        self._begin()
        yield
        self._end()

    def stop(self) -> None:
        """Count no further, if anything is counted: after an exception inside `measured`."""
        if self._running:
            self._end()

    def elapsed(self) -> float:
        """Return the time so far, within `measured`, once the device has done all that it was asked to do."""
        return self.seconds + self._now() - self._since

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out what happens inside, within `measured`."""
        self._end()
        yield
        self._begin()

    @contextmanager
    def left_out(self) -> Iterator[None]:
        """Leave out what happens inside, like `paused`, but without waiting for the device.

        How long the device was busy with it, or idle because of it, is told by its own clock, which is read when it is
        waited for next.
        """
        self._keep_peak()
        begin = use.moment(self._device)
        yield
        self._left_out.append((begin, use.moment(self._device)))
        use.reset_peak(self._device)

    def _begin(self) -> None:
        use.reset_peak(self._device)
        self._running = True
        self._since = self._now()

    def _end(self) -> None:
        self._running = False
        self.seconds += self._now() - self._since
        self._keep_peak()

    def _keep_peak(self) -> None:
        peak = use.peak(self._device)
        if peak is not None:
            self.device_peak = max(peak, self.device_peak or 0)

    def _now(self) -> float:
        """Return the time in seconds, without what was left out, once the device has done all it was asked to do."""
        use.synchronise(self._device)
        self._behind += sum(use.seconds_between(*each) for each in self._left_out)
        self._left_out.clear()
        return time.perf_counter() - self._behind


class Progress:
    """A run's parts, and how far it has come.

    Args:
        spec: What to run.
        factories: Those of its workload and its optimizer.
        device: Where to run it.
        data: The folder in which data sets lie.
        ranks: This process among those that share every batch; `None` if it is the only one.
        note: Called with every diagnostic record.

    Attributes:
        training: The run's task and optimizer.
        recorder: What records diagnostics beside its steps, if they are asked for.
        eval_split: The split that is evaluated after every epoch.
        best: The best epoch.
        usage: Time and memory.
        warm_up: Which part of the time is warm-up.
        records: What each completed epoch has given.
        batches: Batches done in the epoch that is under way.
        loss_sum: Sum of their losses.
        resumed: How often the run was taken up from a checkpoint.
    """

    def __init__(
        self,
        spec: RunSpec,
        factories: Factories,
        device: torch.device,
        data: Path,
        ranks: Ranks | None,
        note: Callable[[DiagnosticRecord], None],
    ) -> None:
        self.training = Training(spec, factories, device, data, ranks)
        task = self.training.task
        self.eval_split = "validation" if spec.protocol == "holdout" else "test"
        self.best = Best(
            f"{self.eval_split}/{task.selection_metric}",
            task.higher_is_better,
            keep_weights=self.eval_split != "test" and spec.reads_test,
        )
        self.usage = Usage(device)
        self._tries_algorithms = spec.execution.cudnn_benchmark and use.is_accelerator(device)
        self.warm_up = WarmUp(self.usage.elapsed, self.training.ledger, self._prepares_by_shape)
        self.recorder = (
            None
            if spec.diagnostics is None
            else DiagnosticsRecorder(spec.diagnostics, self.training, self.usage, note=note)
        )
        self.records: list[EpochRecord] = []
        self.batches = 0
        self.loss_sum = torch.zeros((), device=device)
        self.resumed = 0

    @property
    def epoch(self) -> int:
        """The epoch that is under way, from 1."""
        return len(self.records) + 1

    def remaining(self, batches: Iterator[_T]) -> Iterator[_T]:
        """Return the batches of the epoch that are still to be done."""
        deque(islice(batches, self.batches), maxlen=0)
        return batches

    def step(self, batch: Any) -> None:
        """Make one step on the next batch of the epoch."""
        with self.warm_up.step(batch):
            loss = self.training.step(batch) if self.recorder is None else self.recorder.step(batch, self.epoch)
        self.loss_sum += loss
        self.batches += 1

    def cost(self) -> Cost:
        """Return what the training has used so far."""
        warm_up = self.warm_up
        train_seconds = max(0.0, self.usage.seconds - warm_up.seconds)
        return Cost(
            **self.training.ledger.counts,
            train_seconds=train_seconds,
            warm_up_seconds=warm_up.seconds,
            warm_up_steps=warm_up.steps,
        )

    def complete(self, record: EpochRecord) -> None:
        """End the epoch that is under way."""
        self.best.consider(record, self.training.task.model)
        self.training.schedules.scores.append(record.metrics[self.best.metric])
        self.records.append(record)
        self.batches = 0
        self.loss_sum.zero_()

    def diverged(self, error: BaseException) -> str:
        """Return why an exception from a step or an evaluation is a divergence, in one line; empty if it is none.

        Any exception is one once the loss, a weight or the gradient is not finite, for most code cannot go on with NaN.
        What the machine lacks (memory, files) is none, whatever the numbers are.
        """
        if isinstance(error, MemoryError | OSError | torch.OutOfMemoryError):
            return ""
        try:
            what = self.training.not_finite()
            self.usage.stop()
        except Exception:  # noqa: BLE001 - a device that has failed can say nothing any more
            return ""
        return f"{what} not finite in epoch {self.epoch}: {describe_exception(error)}" if what else ""

    def broken_off(self) -> EpochRecord:
        """Return the record of an epoch that a divergence has broken off: its losses and its score are NaN."""
        unknown = {"train/loss", f"{self.eval_split}/loss", self.best.metric}
        return EpochRecord(epoch=self.epoch, metrics=dict.fromkeys(sorted(unknown), math.nan), cost=self.cost())

    def state_dict(self) -> dict[str, Any]:
        """Return all that another attempt needs to go on from here, as tensors and plain values."""
        return {
            "training": self.training.state_dict(),
            "best_epoch": self.best.record.epoch if self.best.record else 0,
            "best_weights": self.best.weights,
            "seconds": self.usage.seconds,
            "warm_up": {"seconds": self.warm_up.seconds, "steps": self.warm_up.steps},
            "device_peak": self.usage.device_peak,
            "records": [record.model_dump_json() for record in self.records],
            "batches": self.batches,
            "loss_sum": self.loss_sum,
            "resumed": self.resumed,
            **({} if self.recorder is None else {"recorder": self.recorder.state_dict()}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned.

        Raises:
            ValueError: The optimizer does not take its state back as it was.
        """
        self.training.load_state_dict(state["training"])
        self.records = [EpochRecord.model_validate_json(line) for line in state["records"]]
        self.training.schedules.scores = [record.metrics[self.best.metric] for record in self.records]
        self.best.record = self.records[state["best_epoch"] - 1] if state["best_epoch"] else None
        self.best.weights = state["best_weights"]
        self.usage.seconds, self.usage.device_peak = state["seconds"], state["device_peak"]
        self.warm_up.seconds, self.warm_up.steps = state["warm_up"]["seconds"], state["warm_up"]["steps"]
        self.batches = state["batches"]
        self.loss_sum.copy_(state["loss_sum"])
        self.resumed = state["resumed"] + 1
        if self.recorder is not None:
            self.recorder.load_state_dict(state["recorder"])

    def _prepares_by_shape(self) -> bool:
        compiles = self.training.compiled is not None and not self.training.compiled.failure
        return compiles or self._tries_algorithms
