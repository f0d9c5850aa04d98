"""State of a run: the content of a checkpoint."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchbench.devices import use
from benchbench.optim.execution.buffers import state_of
from benchbench.optim.execution.ranks import Ranks
from benchbench.plugins.factories import Factories
from benchbench.plugins.names import describe_exception
from benchbench.training.clock import Clock
from benchbench.training.diagnostics import DiagnosticsRecorder
from benchbench.training.steps import Training
from benchbench.values import DiagnosticRecord, EpochRecord, Metrics, RunSpec


class RunState:
    """A run's training, the epochs that it has completed, and the best of them.

    Args:
        spec: What to run.
        factories: Those of its workload and its optimizer.
        device: Where to run it.
        data: The folder in which data sets lie.
        ranks: This process among those that share every batch; `None` if it is the only one.
        note: Called with every diagnostic record.

    Attributes:
        training: The run's task and optimizer.
        recorder: What records diagnostics of its steps, if they are asked for.
        clock: Its time and memory.
        eval_split: The split that is evaluated after every epoch.
        selection_metric: The metric that chooses the best epoch, such as `validation/accuracy`.
        best: The best epoch so far, in which NaN is the worst value; `None` before the first.
        best_weights: The model's state after it (`state_of`); empty unless the test split is still to be read with it.
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
        self.eval_split = "validation" if spec.protocol == "holdout" else "test"
        self.selection_metric = f"{self.eval_split}/{self.training.task.selection_metric}"
        self.best: EpochRecord | None = None
        self.best_weights: dict[str, Any] = {}
        self._keeps_best = self.eval_split != "test" and spec.reads_test
        self._tries_algorithms = spec.execution.cudnn_benchmark and use.is_accelerator(device)
        self.clock = Clock(device, self.training.ledger, self._prepares_by_shape)
        self.recorder = (
            None
            if spec.diagnostics is None
            else DiagnosticsRecorder(spec.diagnostics, self.training, self.clock, note=note)
        )
        self.records: list[EpochRecord] = []
        self.batches = 0
        self.loss_sum = torch.zeros((), device=device)
        self.resumed = 0

    @property
    def epoch(self) -> int:
        """The epoch that is under way, from 1."""
        return len(self.records) + 1

    def step(self, batch: Any) -> None:
        """Make one step on the next batch of the epoch."""
        with self.clock.step(batch):
            loss = self.training.step(batch) if self.recorder is None else self.recorder.step(batch, self.epoch)
        self.loss_sum += loss
        self.batches += 1

    def complete(self) -> EpochRecord:
        """End the epoch that is under way, once all its batches are done, and return what it has given."""
        return self._end(
            {
                "train/loss": self.loss_sum.item() / self.training.task.steps_per_epoch,
                **self.training.evaluate(self.eval_split),
                **{f"schedule/{key}": value for key, value in self.training.schedules.values().items()},
            }
        )

    def break_off(self) -> EpochRecord:
        """End the epoch that is under way after a divergence: its losses and its score are NaN."""
        unknown = {"train/loss", f"{self.eval_split}/loss", self.selection_metric}
        return self._end(dict.fromkeys(sorted(unknown), math.nan))

    def _end(self, metrics: Metrics) -> EpochRecord:
        record = EpochRecord(epoch=self.epoch, metrics=metrics, cost=self.clock.cost())
        if self.best is None or self._rank(record) > self._rank(self.best):
            self.best = record
            if self._keeps_best:
                state = state_of(self.training.task.model)
                self.best_weights = {name: copy.deepcopy(value) for name, value in state.items()}
        self.training.schedules.scores.append(metrics[self.selection_metric])
        self.records.append(record)
        self.batches = 0
        self.loss_sum.zero_()
        return record

    def divergence(self, error: BaseException) -> str:
        """Return why an exception from a step or an evaluation is a divergence, in one line; empty if it is none.

        Any exception is one once the loss, a weight or the gradient is not finite, for most code cannot go on with NaN.
        What the machine lacks (memory, files) is none, whatever the numbers are.
        """
        if isinstance(error, MemoryError | OSError | torch.OutOfMemoryError):
            return ""
        try:
            what = self.training.not_finite()
            self.clock.stop()
        except Exception:  # noqa: BLE001 - a device that has failed can say nothing any more
            return ""
        return f"{what} not finite in epoch {self.epoch}: {describe_exception(error)}" if what else ""

    def state_dict(self) -> dict[str, Any]:
        """Return all that another attempt needs to go on from here, as tensors and plain values."""
        clock = self.clock
        return {
            "training": self.training.state_dict(),
            "best_epoch": self.best.epoch if self.best else 0,
            "best_weights": self.best_weights,
            "seconds": clock.seconds,
            "warm_up": {"seconds": clock.warm_up_seconds, "steps": clock.warm_up_steps},
            "device_peak": clock.device_peak,
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
        self.training.schedules.scores = [record.metrics[self.selection_metric] for record in self.records]
        self.best = self.records[state["best_epoch"] - 1] if state["best_epoch"] else None
        self.best_weights = state["best_weights"]
        self.clock.seconds, self.clock.device_peak = state["seconds"], state["device_peak"]
        self.clock.warm_up_seconds, self.clock.warm_up_steps = state["warm_up"]["seconds"], state["warm_up"]["steps"]
        self.batches = state["batches"]
        self.loss_sum.copy_(state["loss_sum"])
        self.resumed = state["resumed"] + 1
        if self.recorder is not None:
            self.recorder.load_state_dict(state["recorder"])

    def _rank(self, record: EpochRecord) -> float:
        value = record.metrics[self.selection_metric]
        if math.isnan(value):
            return -math.inf
        return value if self.training.task.higher_is_better else -value

    def _prepares_by_shape(self) -> bool:
        compiles = self.training.compiled is not None and not self.training.compiled.failure
        return compiles or self._tries_algorithms
