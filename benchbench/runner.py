"""The scheduler: gives runs to an engine, copies what they write into tracking, repeats what crashed."""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from benchbench.engines import Engine, Job, submissions
from benchbench.plan import PlannedRun, plan
from benchbench.tracking import TrackedRun, Tracker
from benchbench.values import EpochRecord, RunResult, RunSpec, Suite

ATTEMPTS = 3
"""How often a run is started when its process dies."""

_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Event:
    """Something that happened to a run.

    Attributes:
        kind: `planned` (with its result when it is done already), `waiting` (another invocation is at work on it),
            `submitted` (handed over to another system, which answers for it), `started`, `epoch`, `retried` (its
            process died) or `ended`.
        spec: The run.
        record: For `epoch`: what the epoch gave.
        result: For `planned`, `retried` and `ended`: the result.
    """

    kind: Literal["planned", "waiting", "submitted", "started", "epoch", "retried", "ended"]
    spec: RunSpec
    record: EpochRecord | None = None
    result: RunResult | None = None


Observer = Callable[[Event], None]


@dataclass
class _Active:
    """A run that this invocation has claimed and submitted."""

    item: PlannedRun
    lock: FileLock
    tracked: TrackedRun | None = None
    attempt: int = 1


@dataclass
class Runner:
    """Brings every run of a suite to an end.

    A run is claimed by a lock in its folder for as long as this process works on it, so invocations that run at the
    same time share the work, and a claim dies with its process.

    Attributes:
        suite: The suite.
        engine: Where runs execute.
        tracker: Where they are tracked; for a claimed run, only this process writes there.
        runs_dir: Folder of the runs' folders.
        data: The folder in which data sets lie.
        observe: Told about everything that happens.
        force: Run again what is done already, and from the beginning what was interrupted.
    """

    suite: Suite
    engine: Engine
    tracker: Tracker
    runs_dir: Path
    data: Path
    observe: Observer
    force: bool = False
    _parent_id: str | None = field(default=None, init=False)
    _active: dict[str, _Active] = field(default_factory=dict, init=False)
    _elsewhere: set[str] = field(default_factory=set, init=False)

    def run(self) -> None:
        """Run what is missing or broke.

        Raises:
            KeyboardInterrupt: On Ctrl-C or SIGTERM; what is at work leaves a checkpoint and is tracked as interrupted.
        """
        planned = plan(self.suite.specs, self.tracker, self.runs_dir, force=self.force)
        for item in planned:
            self.observe(Event("planned", item.spec, result=item.result if item.state == "done" else None))
        queue = deque(item for item in planned if item.state != "done")
        with _sigterm_as_interrupt():
            try:
                while queue or self._active:
                    self._claim_what_fits(queue)
                    for active in self._active.values():
                        self._follow(active)
                    for result in self.engine.poll(_POLL_SECONDS):
                        self._settle(self._active[result.key], result)
                    if not self._active and queue:  # all that is left is being run elsewhere
                        time.sleep(_POLL_SECONDS)
            except BaseException:
                with _uninterruptible():
                    self._interrupt()
                raise
        self._end_invocation(finished=True)

    def submit(self) -> None:
        """Hand over what is missing to an engine whose runs need nobody who waits for them, and return.

        Their results are tracked by `collect`, or by `run` with the same engine.
        """
        planned = plan(self.suite.specs, self.tracker, self.runs_dir, force=self.force)
        for item in planned:
            self.observe(Event("planned", item.spec, result=item.result if item.state == "done" else None))
        self._claim_what_fits(deque(item for item in planned if item.state != "done"))
        while results := self.engine.poll(0):  # of earlier jobs that have ended just now
            for result in results:
                self._settle(self._active[result.key], result)
        for active in self._active.values():
            active.lock.release()
            self.observe(Event("submitted", active.item.spec))
        self._active.clear()
        self._end_invocation(finished=True)

    def collect(self) -> None:
        """Track the runs that have ended since they were submitted, however they did."""
        planned = [item for item in plan(self.suite.specs, self.tracker, self.runs_dir) if item.state != "done"]
        ended = submissions.ended([item.folder for item in planned])
        at_work = submissions.in_queue([item.folder for item in planned])
        for item in planned:
            on_disk = item.result if item.state == "on disk" and item.folder not in at_work else None
            result = ended.get(item.folder) or on_disk
            if result is not None and (lock := _lock(item)) is not None:
                active = _Active(item, lock)
                item.folder.finish(result)
                self._follow(active)
                self._close(active, result)
                submissions.forget(item.folder)
        self._end_invocation(finished=True)

    def _claim_what_fits(self, queue: deque[PlannedRun]) -> None:
        for _ in range(len(queue)):
            if not self.engine.capacity:
                return
            item = queue.popleft()
            lock = _lock(item)
            if lock is None:
                if item.spec.key not in self._elsewhere:
                    self._elsewhere.add(item.spec.key)
                    self.observe(Event("waiting", item.spec))
                queue.append(item)
            elif submissions.in_queue([item.folder], other_than=self.engine.name):
                lock.release()
                self.observe(Event("submitted", item.spec))
            else:
                self._start(item, lock)

    def _start(self, item: PlannedRun, lock: FileLock) -> None:
        """Submit a claimed run, unless it has ended already: then only track it."""
        active = _Active(item, lock)
        ended = item.folder.result()
        at_work = submissions.in_queue([item.folder])  # measuring something beside the run, after its end
        if ended is not None and ended.conclusive and not self.force and not at_work:
            # Another process got that far before the claim; it may have tracked the result or not.
            [latest] = plan([item.spec], self.tracker, self.runs_dir)
            if latest.state == "on disk":
                self._follow(active)
            self._close(active, ended)
            submissions.forget(item.folder)
            return
        self._active[item.spec.key] = active
        if self.force:
            item.folder.checkpoints.clear()
        self.engine.submit(Job(item.spec, item.folder, self.data))
        self.observe(Event("started", item.spec))

    def _follow(self, active: _Active) -> None:
        """Copy what the run has written since the last time."""
        if active.tracked is None:
            if self._parent_id is None:
                self._parent_id = self.tracker.begin_invocation(self.suite, self.engine.name)
            active.tracked = self.tracker.begin_run(self._parent_id, active.item.spec, active.item.folder)
        for record in self.tracker.follow(active.tracked):
            self.observe(Event("epoch", active.item.spec, record=record))

    def _settle(self, active: _Active, result: RunResult) -> None:
        """Track how a run ended, and start it again when its process died."""
        self._follow(active)
        if result.outcome == "crashed" and active.attempt < ATTEMPTS:
            self._track_end(active, result)
            active.attempt += 1
            self.engine.submit(Job(active.item.spec, active.item.folder, self.data))
            self.observe(Event("retried", active.item.spec, result=result))
        else:
            del self._active[result.key]
            self._close(active, result)

    def _close(self, active: _Active, result: RunResult) -> None:
        self._track_end(active, result)
        active.lock.release()
        self.observe(Event("ended", active.item.spec, result=result))

    def _track_end(self, active: _Active, result: RunResult) -> None:
        if active.tracked is not None:
            self.tracker.end_run(active.tracked, result)
            active.tracked = None

    def _interrupt(self) -> None:
        self.engine.stop()
        for active in self._active.values():
            result = active.item.folder.result()
            if result is None:
                result = RunResult(key=active.item.spec.key, outcome="interrupted", message="stopped by the user")
                active.item.folder.finish(result)
            self._close(active, result)
        self._end_invocation(finished=False)

    def _end_invocation(self, *, finished: bool) -> None:
        if self._parent_id is not None:
            self.tracker.end_invocation(self._parent_id, finished=finished)


def _lock(item: PlannedRun) -> FileLock | None:
    """Claim a run, or return `None` while another process has it."""
    item.folder.path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(item.folder.lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Let SIGTERM end the process as cleanly as Ctrl-C does (signals reach the main thread only)."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _uninterruptible() -> Iterator[None]:
    """Keep a second Ctrl-C from breaking off the clean-up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
