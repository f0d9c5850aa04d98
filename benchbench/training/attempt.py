"""An attempt at a run: how far it has come, and what it leaves on the disk so that the next one can go on."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import torch

from benchbench.cost import memory
from benchbench.execution.ranks import Ranks
from benchbench.plugins import describe_exception
from benchbench.runs.checkpoint import Checkpoints, UnusableCheckpointError, save_tensors
from benchbench.runs.folder import RunFolder
from benchbench.training.diagnostics import Recorder
from benchbench.training.selection import Best
from benchbench.training.steps import Training
from benchbench.values import DiagnosticRecord, EpochRecord, RunSpec

SHORTEST_SECONDS = 5.0
"""Seconds since the last checkpoint below which the end of an epoch goes without one: they are repeated soon enough."""

_FORMAT = 1
"""Number of the layout of checkpoints."""

_T = TypeVar("_T")


class Stopped(Exception):
    """The run was asked to stop, and has; the message says where."""


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

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Count what happens inside."""
        self._begin()
        yield
        self._end()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out what happens inside, within `measured`."""
        self._end()
        yield
        self._begin()

    def _begin(self) -> None:
        memory.reset_device_peak(self._device)
        self._since = self._now()

    def _end(self) -> None:
        self.seconds += self._now() - self._since
        self.device_peak = memory.device_peak(self._device, self.device_peak)

    def _now(self) -> float:
        """Return the time in seconds once the device has done all that it was asked to do."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


class Progress:
    """A run's parts, and how far it has come.

    Args:
        spec: What to run.
        device: Where to run it.
        data: The folder in which data sets lie.
        ranks: This process among those that share every batch; `None` if it is the only one.
        note: Called with every diagnostic record.

    Attributes:
        training: The run's task and optimizer.
        recorder: What records diagnostics beside its steps, if they are asked for.
        judged: The split that is evaluated after every epoch.
        best: The best epoch.
        usage: Time and memory.
        records: What each completed epoch has given.
        batches: Batches done in the epoch that is under way.
        loss_sum: Sum of their losses.
        resumed: How often the run was taken up from a checkpoint.
    """

    def __init__(
        self,
        spec: RunSpec,
        device: torch.device,
        data: Path,
        ranks: Ranks | None,
        note: Callable[[DiagnosticRecord], None],
    ) -> None:
        self.training = Training(spec, device, data, ranks)
        task = self.training.task
        self.judged = "validation" if spec.protocol == "holdout" else "test"
        self.best = Best(
            f"{self.judged}/{task.selection_metric}", task.higher_is_better, keep_weights=self.judged != "test"
        )
        self.usage = Usage(device)
        self.recorder = (
            None
            if spec.diagnostics is None
            else Recorder(spec.diagnostics, self.training, paused=self.usage.paused, note=note)
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
        loss = self.training.step(batch) if self.recorder is None else self.recorder.step(batch, self.epoch)
        self.loss_sum += loss
        self.batches += 1

    def complete(self, record: EpochRecord) -> None:
        """End the epoch that is under way."""
        self.best.consider(record, self.training.task.model)
        self.training.schedules.scores.append(record.metrics[self.best.metric])
        self.records.append(record)
        self.batches = 0
        self.loss_sum.zero_()

    def state_dict(self) -> dict[str, Any]:
        """Return all that another attempt needs to go on from here, as tensors and plain values."""
        return {
            "training": self.training.state_dict(),
            "best_epoch": self.best.record.epoch if self.best.record else 0,
            "best_weights": self.best.weights,
            "seconds": self.usage.seconds,
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
        self.batches = state["batches"]
        self.loss_sum.copy_(state["loss_sum"])
        self.resumed = state["resumed"] + 1
        if self.recorder is not None:
            self.recorder.load_state_dict(state["recorder"])


def never() -> bool:
    """Say that nobody asks for a stop."""
    return False


class Keeper:
    """Keeps an attempt's progress in the run's folder, and stops it there when it is asked to.

    Args:
        spec: The run.
        device: Where it trains.
        folder: The run's folder; without one nothing is kept.
        stop: Looked at after every step: whether the run shall stop.
    """

    def __init__(
        self, spec: RunSpec, device: torch.device, folder: RunFolder | None = None, stop: Callable[[], bool] = never
    ) -> None:
        self._folder = folder
        self._stop = stop
        self._interval = 60 * spec.checkpoint_minutes
        # What a checkpoint must agree in, or it would continue another run, or with another arithmetic.
        self._made_for = {
            "format": _FORMAT,
            "run": spec.key,
            "device": device.type,
            "torch": str(torch.__version__),  # a class of its own
            "benchbench": version("benchbench"),
        }
        self._saved_at = time.monotonic()
        self._tried = False
        self._refused = False
        self._resumed = 0
        self._remarks: list[str] = []

    def begin(self, fresh: Callable[[], Progress]) -> Progress:
        """Return the progress of the newest checkpoint that can be used, or else that of a run that begins.

        Args:
            fresh: Sets the run up.

        Raises:
            Stopped: A stop was asked for meanwhile.
        """
        progress = self._newest(fresh) or fresh()
        self._resumed = progress.resumed
        self._saved_at = time.monotonic()
        if self._stop():
            raise Stopped("stopped before its first step")
        return progress

    def _newest(self, fresh: Callable[[], Progress]) -> Progress | None:
        if self._folder is None:
            return None
        checkpoints = self._folder.checkpoints
        files = checkpoints.files()
        for path in files:
            try:
                content = self._load(checkpoints, path)
                progress = fresh()
                progress.load_state_dict(content["progress"])
            except Exception as error:  # noqa: BLE001 - whatever is in the file, and what foreign code makes of it
                self._remark(f"checkpoint {path.name} is not used: {_reason(error)}")
            else:
                self._folder.rewind(progress.records, progress.recorder.records if progress.recorder else ())
                return progress
        if files:
            self._remark("no checkpoint can be used: the run begins anew")
        return None

    def _load(self, checkpoints: Checkpoints, path: Path) -> dict[str, Any]:
        content = checkpoints.load(path)
        made_for = content["made_for"]
        different = [name for name in self._made_for if made_for.get(name) != self._made_for[name]]
        if different:
            listed = ", ".join(f"{name} {made_for.get(name)} instead of {self._made_for[name]}" for name in different)
            raise UnusableCheckpointError(f"made for {listed}")
        return content

    def note(self, record: DiagnosticRecord) -> None:
        """Keep a diagnostic record."""
        if self._folder is not None:
            self._folder.append_diagnostics(record)

    def after_step(self, progress: Progress) -> None:
        """Save a checkpoint if one is due, and stop if that is asked for.

        Raises:
            Stopped: A stop was asked for.
        """
        stop = self._stop()
        if stop or self._seconds_since_checkpoint() >= self._interval:
            with progress.usage.paused():
                self._save(progress)
        if stop:
            self._raise_stopped(progress)

    def after_epoch(self, progress: Progress) -> None:
        """Do the same at the end of an epoch, where a checkpoint is always due, unless the last one is very young.

        Raises:
            Stopped: A stop was asked for, or somebody else has taken the run over.
        """
        stop = self._stop() or (self._folder is not None and not self._folder.held)
        if stop or self._seconds_since_checkpoint() >= min(self._interval, SHORTEST_SECONDS):
            self._save(progress)
        if stop:
            self._raise_stopped(progress)

    def keep_weights(self, progress: Progress) -> None:
        """Write the model's state, as it is now, for whoever wants to measure something at the end of the run."""
        if self._folder is None or not self._folder.held:
            return
        try:
            save_tensors(self._folder.weights_file, progress.training.task.model.state_dict())
        except OSError as error:
            self._remark(f"the weights could not be kept: {error}")

    def account(self) -> dict[str, str]:
        """Say how often the run was taken up from a checkpoint, and what was wrong with checkpoints, if anything."""
        resumed = {"resumed": str(self._resumed)} if self._resumed else {}
        return resumed | ({"checkpoints": "; ".join(self._remarks)} if self._remarks else {})

    def _seconds_since_checkpoint(self) -> float:
        return time.monotonic() - self._saved_at

    def _save(self, progress: Progress) -> None:
        if self._folder is not None and not self._refused and self._folder.held:
            self._write(self._folder.checkpoints, progress)
        self._saved_at = time.monotonic()

    def _write(self, checkpoints: Checkpoints, progress: Progress) -> None:
        steps = progress.training.ledger.steps
        try:
            path = checkpoints.save(steps, {"made_for": self._made_for, "progress": progress.state_dict()})
            if not self._tried:
                checkpoints.load(path)
        except OSError as error:  # a full disk, say, which may have room the next time
            self._remark(f"no checkpoint after step {steps}: {error}")
        except Exception as error:  # noqa: BLE001 - the state of foreign optimizers can be anything
            self._refused = True
            self._remark(f"this run cannot be resumed, for its state cannot be saved: {_reason(error)}")
            checkpoints.clear()
        else:
            self._tried = True

    def _raise_stopped(self, progress: Progress) -> None:
        raise Stopped(f"stopped after {progress.training.ledger.steps} steps")

    def _remark(self, text: str) -> None:
        if text not in self._remarks:
            print(text, file=sys.stderr, flush=True)  # to the run's log
            self._remarks.append(text)


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, UnusableCheckpointError) else describe_exception(error)
