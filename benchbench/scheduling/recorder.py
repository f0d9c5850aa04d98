"""Writer of a command's runs into the tracking store; while the store is away, runs go on and are written later."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from benchbench.runs.claims import Holder
from benchbench.runs.folder import RunFolder
from benchbench.tracking import Fault, TrackedRun, Tracker, TrackingError
from benchbench.values import RunResult, RunSpec, Suite

LONGEST_PAUSE = 60.0
"""Seconds between two attempts at a store that stays away; the first one is made after a second."""

_LAST_ATTEMPTS = 3


class TrackingLostError(TrackingError):
    """Runs have ended and are not in the tracking store; their folders have everything."""


class Recorder:
    """Writes the runs of one command to the tracking store.

    When a call to the store fails, what was half written is given up: every run is written again from its folder, and
    one of each key remains when it ends. So each is there exactly once, whatever had arrived.

    Args:
        suite: The suite.
        engine: Name of the engine.
        tracker: The store.
        holder: This command.
        warn: Told once why, whenever the store goes away, and what else keeps runs from being written.

    Attributes:
        kept: Results that the store keeps instead of those of this command, by key: another folder was first.
    """

    def __init__(
        self, suite: Suite, engine: str, tracker: Tracker, holder: Holder, warn: Callable[[str], None]
    ) -> None:
        self._suite = suite
        self._engine = engine
        self._tracker = tracker
        self._holder = holder
        self._warn = warn
        self._invocation: str | None = None
        self._open: dict[str, TrackedRun] = {}
        self._waiting: deque[tuple[RunSpec, RunFolder, RunResult]] = deque()
        self._refusals: dict[str, TrackingError] = {}
        self._refused: list[RunFolder] = []
        self._broken: TrackingError | None = None
        self._pause = 0.0
        self._resume_at = 0.0
        self.kept: dict[str, RunResult] = {}

    def clean(self) -> None:
        """Remove what commands of this folder have left half-written when they were killed, if the store takes that."""
        with suppress(TrackingError):
            self._tracker.clean(self._holder.has_outlived)

    def prepare(self, keys: Sequence[str]) -> None:
        """Look at the store before any run is started.

        Args:
            keys: Keys of the runs that are going to be.

        Raises:
            TrackingError: They could not be written.
        """
        self._tracker.prepare(self._suite)
        running = self._tracker.running(keys)
        count = sum(bool(name) and not self._holder.is_neighbour(name) for name in running.values())
        if count:
            self._warn(
                f"by the tracking store, a command in another folder is at work on {_runs(count)} of these too, or was "
                "when it was killed; of the results of each, the store keeps one"
            )

    def follow(self, spec: RunSpec, folder: RunFolder) -> None:
        """Write what a run has written since the last time."""
        if not self._away and spec.key not in self._refusals:
            self._try(lambda: self._tracker.follow(self._tracked(spec, folder)), spec.key)

    def end(self, spec: RunSpec, folder: RunFolder, result: RunResult) -> None:
        """Write how a run has ended, now or when the store is back."""
        for line in folder.lost() if result.conclusive else ():
            self._warn(f"{line}; tables and figures of its course leave the run out; --force runs it again")
        self._waiting.append((spec, folder, result))
        self.catch_up()

    def is_tracked(self, spec: RunSpec) -> bool:
        """True if the store is known to hold the run's conclusive result, with all that was to be measured."""
        found: dict[str, RunResult] = {}
        if not self._away:
            self._try(lambda: found.update(self._tracker.results([spec])))
        return spec.key in found and spec.is_answered_by(found[spec.key])

    def discard(self, key: str) -> None:
        """Remove a run that is being written."""
        tracked = self._open.pop(key, None)
        if tracked is not None:
            self._try(lambda: self._tracker.discard_run(tracked))

    def catch_up(self) -> None:
        """Write the runs that have ended, as long as the store takes them."""
        for _ in range(len(self._waiting)):
            if self._away:
                return
            spec, folder, result = self._waiting.popleft()
            if not folder.held:  # another command has the run by now, and tells the store about it
                continue
            was_refused = spec.key in self._refusals
            fault = self._try(lambda: self._write(spec, folder, result), spec.key)  # noqa: B023 - it is called at once
            # The first refusal may be about what was half written, such as a run that was deleted in MLflow.
            if fault == "run" and was_refused:
                self._refused.append(folder)
            elif fault is not None:
                self._waiting.append((spec, folder, result))  # at the other end: no other waits for this one

    def close(self, *, finished: bool) -> None:
        """Write what is left.

        Args:
            finished: Whether the command has come to its end, so that there is time to wait for a store that is away.

        Raises:
            TrackingLostError: The store did not take everything.
        """
        for pause in range(_LAST_ATTEMPTS if finished else 1):
            if self._waiting:
                time.sleep(pause)
                self._resume_at, self._broken = 0.0, None
                self.catch_up()
        invocation = self._invocation
        if invocation is not None and not self._waiting:
            self._try(lambda: self._tracker.end_invocation(invocation, finished=finished))
        if self.kept:
            self._warn(
                f"{_runs(len(self.kept))} had been made in another folder meanwhile; the tracking store keeps, and "
                "tables show, that folder's results"
            )
        if self._waiting or self._refused:
            raise TrackingLostError(self._loss())

    @property
    def _away(self) -> bool:
        return self._broken is not None or time.monotonic() < self._resume_at

    def _try(self, action: Callable[[], None], key: str = "") -> Fault | None:
        """Do something with the store, for one run if it has a key, and return whose fault it is if that fails."""
        try:
            action()
        except TrackingError as error:
            if error.fault == "run":
                if key:
                    self._refusals.setdefault(key, error)
                if tracked := self._open.pop(key, None):
                    with suppress(TrackingError):
                        self._tracker.discard_run(tracked)
                return error.fault
            self._open.clear()
            if not self._pause:
                hope = "are written to it when it is back" if error.fault == "away" else "stay in their folders"
                self._warn(f"{error}; runs go on, and {hope}")
            if error.fault == "store":
                self._broken = error
            self._pause = min(2 * self._pause or 1.0, LONGEST_PAUSE)
            self._resume_at = time.monotonic() + self._pause
            return error.fault
        self._pause = 0.0
        return None

    def _write(self, spec: RunSpec, folder: RunFolder, result: RunResult) -> None:
        kept = self._tracker.end_run(self._tracked(spec, folder), result)
        del self._open[spec.key]
        if result.conclusive and kept != result:
            self.kept[spec.key] = kept

    def _tracked(self, spec: RunSpec, folder: RunFolder) -> TrackedRun:
        if spec.key not in self._open:
            self._open[spec.key] = self._tracker.trained_run(spec, folder) or self._begun(spec, folder)
        return self._open[spec.key]

    def _begun(self, spec: RunSpec, folder: RunFolder) -> TrackedRun:
        command = self._holder.name
        if self._invocation is None:
            self._invocation = self._tracker.begin_invocation(self._suite, self._engine, command)
        return self._tracker.begin_run(self._invocation, spec, folder, command)

    def _loss(self) -> str:
        parts = []
        if self._waiting:
            place = self._waiting[0][1].path.parent
            when = f"; once that is mended ({self._broken})," if self._broken else ", and"
            parts.append(
                f"{_runs(len(self._waiting))} could not be written to the tracking store; all is in {place}{when} the "
                "same command writes it there"
            )
        if self._refused:
            reason = next(iter(self._refusals.values()))
            place = self._refused[0].path.parent
            parts.append(
                f"{_runs(len(self._refused))} will not be in the tracking store ({reason}); all is in {place}, and "
                "tables read it from there"
            )
        return "; ".join(parts)


def _runs(count: int) -> str:
    return f"{count} run{'s' if count > 1 else ''}"
