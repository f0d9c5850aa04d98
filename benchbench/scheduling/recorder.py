"""What a command tells the tracking store, and what it does while there is none: runs go on, and are written later."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from benchbench.runs.folder import RunFolder
from benchbench.tracking import TrackedRun, Tracker, TrackingError
from benchbench.values import RunResult, RunSpec, Suite

LONGEST_PAUSE = 60.0
"""Seconds between two attempts at a store that stays away; the first one is made after a second."""

_LAST_ATTEMPTS = 3


class TrackingLostError(TrackingError):
    """Runs have ended and are not in the tracking store; their folders have everything."""


class Recorder:
    """Writes the runs of one command to the tracking store.

    When a call to the store fails, what was half written is given up: every run is written again from its folder, and
    takes the place of all others of its key when it ends. So each is there exactly once, whatever had arrived.

    Args:
        suite: The suite.
        engine: Name of the engine.
        tracker: The store.
        warn: Told once why, whenever the store goes away.
    """

    def __init__(self, suite: Suite, engine: str, tracker: Tracker, warn: Callable[[str], None]) -> None:
        self._suite = suite
        self._engine = engine
        self._tracker = tracker
        self._warn = warn
        self._invocation: str | None = None
        self._open: dict[str, TrackedRun] = {}
        self._waiting: deque[tuple[RunSpec, RunFolder, RunResult]] = deque()
        self._pause = 0.0
        self._resume_at = 0.0

    def follow(self, spec: RunSpec, folder: RunFolder) -> None:
        """Write what a run has written since the last time."""
        if not self._away:
            self._try(lambda: self._tracker.follow(self._tracked(spec, folder)))

    def end(self, spec: RunSpec, folder: RunFolder, result: RunResult) -> None:
        """Write how a run has ended, now or when the store is back."""
        known = folder.records()
        if result.conclusive and not result.has_all_of(known):
            self._warn(
                f"{folder.metrics_file} has {len(known)} of the {result.epochs} epochs of its run, which tables and "
                "figures of its course leave out; --force runs it again"
            )
        self._waiting.append((spec, folder, result))
        self.catch_up()

    def is_tracked(self, spec: RunSpec) -> bool:
        """Whether the store is known to hold the run's conclusive result, what shall be measured included."""
        found: dict[str, RunResult] = {}
        if not self._away:
            self._try(lambda: found.update(self._tracker.results([spec.key])))
        result = found.get(spec.key)
        return result is not None and result.conclusive and not spec.lacks_sharpness(result)

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
            item = self._waiting.popleft()
            if not item[1].held:  # somebody else has the run by now, and tells the store about it
                continue
            if not self._try(lambda: self._write(*item)):  # noqa: B023 - it is called at once
                self._waiting.append(item)  # at the other end: should it be this run, no other waits for it

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
                self._resume_at = 0.0
                self.catch_up()
        if self._waiting:
            raise TrackingLostError(self._loss())
        invocation = self._invocation
        if invocation is not None:
            self._try(lambda: self._tracker.end_invocation(invocation, finished=finished))

    @property
    def _away(self) -> bool:
        return time.monotonic() < self._resume_at

    def _try(self, action: Callable[[], None]) -> bool:
        try:
            action()
        except TrackingError as error:
            self._open.clear()
            self._tracker.forget_listing()
            if not self._pause:
                self._warn(f"{error}; runs go on, and are written to it when it is back")
            self._pause = min(2 * self._pause or 1.0, LONGEST_PAUSE)
            self._resume_at = time.monotonic() + self._pause
            return False
        self._pause = 0.0
        return True

    def _write(self, spec: RunSpec, folder: RunFolder, result: RunResult) -> None:
        self._tracker.end_run(self._tracked(spec, folder), result)
        del self._open[spec.key]

    def _tracked(self, spec: RunSpec, folder: RunFolder) -> TrackedRun:
        if spec.key not in self._open:
            trained = self._tracker.unmeasured_run(folder) if "sharpness" in spec.measure else None
            self._open[spec.key] = trained or self._begun(spec, folder)
        return self._open[spec.key]

    def _begun(self, spec: RunSpec, folder: RunFolder) -> TrackedRun:
        if self._invocation is None:
            self._invocation = self._tracker.begin_invocation(self._suite, self._engine)
        return self._tracker.begin_run(self._invocation, spec, folder)

    def _loss(self) -> str:
        folders = [folder.path for _, folder, _ in self._waiting]
        count = f"{len(folders)} run{'s' if len(folders) > 1 else ''}"
        return (
            f"{count} could not be written to the tracking store; all is in {folders[0].parent}, and the same command "
            "writes it there"
        )
