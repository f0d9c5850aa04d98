"""Keeping a run's state on the disk, so that the next attempt at it can go on."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchbench.devices import use
from benchbench.distribution import own_version
from benchbench.plugins.names import describe_exception
from benchbench.runs.checkpoint import Checkpoints, UnusableCheckpointError, save_tensors
from benchbench.runs.folder import RunFolder
from benchbench.training import resumption
from benchbench.training.state import RunState
from benchbench.values import RunSpec

SHORTEST_SECONDS = 5.0
"""Seconds since the last checkpoint below which the end of an epoch goes without one: they are repeated soon enough."""

_FORMAT = 3
"""Number of the layout of checkpoints."""


class Stopped(Exception):
    """The run was asked to stop, and has; the message says where."""


def never() -> bool:
    """Return that no stop is asked for."""
    return False


class Checkpointer:
    """Keeps an attempt's state in the run's folder, and stops it there when it is asked to.

    Args:
        spec: The run.
        device: Where it trains.
        folder: The run's folder.
        stop: Looked at after every step: whether the run must stop.
        concurrent_runs: Asked how many runs have been on the device at a time in this attempt.

    Attributes:
        folder: The run's folder.
    """

    def __init__(
        self,
        spec: RunSpec,
        device: torch.device,
        folder: RunFolder,
        stop: Callable[[], bool] = never,
        concurrent_runs: Callable[[], int] = lambda: 1,
    ) -> None:
        self.folder = folder
        self._device = device
        self._key = spec.key
        self._stop = stop
        self._interval = 60 * spec.checkpoint_minutes
        self._concurrent_runs = concurrent_runs
        self._earlier_concurrent_runs = 1
        self._saved_at = time.monotonic()
        self._tried = False
        self._refused = False
        self._resumed = 0
        self._remarks: list[str] = []

    @functools.cached_property
    def _made_for(self) -> dict[str, Any]:
        """Properties in which a checkpoint must agree with the run that resumes from it.

        Seconds on two models of a GPU have no meaning as a sum.
        """
        return {
            "format": _FORMAT,
            "run": self._key,
            "device": use.description(self._device),
            "torch": str(torch.__version__),  # a class of its own
            "benchbench": own_version(),
        }

    def concurrent_runs(self) -> int:
        """Return the most runs that there have been on the device at a time, in earlier attempts too."""
        return max(self._concurrent_runs(), self._earlier_concurrent_runs)

    def begin(self, fresh: Callable[[], RunState]) -> RunState:
        """Return the state of the newest checkpoint that can be used, or else that of a run that begins.

        Args:
            fresh: Sets the run up.

        Raises:
            Stopped: A stop was asked for meanwhile.
        """
        state = self._newest(fresh) or fresh()
        self._resumed = state.resumed
        self._saved_at = time.monotonic()
        if self._stop():
            raise Stopped("stopped before its first step")
        return state

    def _newest(self, fresh: Callable[[], RunState]) -> RunState | None:
        checkpoints = self.folder.checkpoints
        files = checkpoints.files()
        for path in files:
            try:
                content = self._load(checkpoints, path)
                state = fresh()
                state.load_state_dict(content["progress"])
            except Exception as error:  # noqa: BLE001 - whatever is in the file, and what foreign code makes of it
                self._remark(f"checkpoint {path.name} is not used: {_reason(error)}")
            else:
                self._earlier_concurrent_runs = content["concurrent_runs"]
                self.folder.rewind(state.records, state.recorder.records if state.recorder else ())
                return state
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

    def after_step(self, state: RunState) -> None:
        """Save a checkpoint if one is due, and stop if that is asked for.

        Raises:
            Stopped: A stop was asked for.
        """
        stop = self._stop()
        if stop or self._seconds_since_checkpoint() >= self._interval:
            with state.clock.paused():
                self._save(state)
        if stop:
            raise Stopped(f"stopped after {state.training.ledger.steps} steps")

    def after_epoch(self, state: RunState) -> None:
        """Do the same at the end of an epoch, where a checkpoint is always due, unless the last one is very young.

        Raises:
            Stopped: A stop was asked for, or another command has taken the run over.
        """
        stop = self._stop() or not self.folder.held
        if stop or self._seconds_since_checkpoint() >= min(self._interval, SHORTEST_SECONDS):
            self._save(state)
        if stop:
            raise Stopped(f"stopped after {state.training.ledger.steps} steps")

    def keep_weights(self, model: nn.Module) -> None:
        """Write the model's state, as it is now, for measurements at the end of the run."""
        if not self.folder.held:
            return
        try:
            save_tensors(self.folder.weights_file, model.state_dict())
        except OSError as error:
            self._remark(f"the weights could not be kept: {error}")

    def account(self) -> dict[str, str]:
        """Say how often the run was taken up from a checkpoint, and what was wrong with checkpoints, if anything."""
        resumed = {"resumed": str(self._resumed)} if self._resumed else {}
        return resumed | ({"checkpoints": "; ".join(self._remarks)} if self._remarks else {})

    def _seconds_since_checkpoint(self) -> float:
        return time.monotonic() - self._saved_at

    def _save(self, state: RunState) -> None:
        if not self._refused and self.folder.held:
            self._write(self.folder.checkpoints, state)
        self._saved_at = time.monotonic()

    def _write(self, checkpoints: Checkpoints, state: RunState) -> None:
        steps = state.training.ledger.steps
        try:
            content = {
                "made_for": self._made_for,
                "concurrent_runs": self.concurrent_runs(),
                "progress": state.state_dict(),
            }
            path = checkpoints.save(steps, content)
            if not self._tried:
                resumption.check(state.training, checkpoints.load(path)["progress"]["training"])
        except resumption.NotTriedError as error:
            text = "whether this run can be resumed could not be tried, so it begins anew when it is interrupted"
            self._refuse(checkpoints, f"{text}: {error}")
        except resumption.OtherStepsError as error:
            self._refuse(checkpoints, f"this run cannot be resumed, and begins anew when it is interrupted: {error}")
        except OSError as error:  # a full disk, say, which may have room the next time
            self._remark(f"no checkpoint after step {steps}: {error}")
        except Exception as error:  # noqa: BLE001 - the state of foreign optimizers can be anything
            self._refuse(checkpoints, f"this run cannot be resumed, for its state cannot be saved: {_reason(error)}")
        else:
            self._tried = True

    def _refuse(self, checkpoints: Checkpoints, text: str) -> None:
        self._refused = True
        self._remark(text)
        checkpoints.clear()

    def _remark(self, text: str) -> None:
        if text not in self._remarks:
            print(text, file=sys.stderr, flush=True)  # to the run's log
            self._remarks.append(text)


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, UnusableCheckpointError) else describe_exception(error)
