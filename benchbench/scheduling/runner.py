"""The scheduler: gives runs to an engine, has what they write recorded, repeats what crashed."""

from __future__ import annotations

import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from benchbench.engines import FORK_SERVER, Engine, Job, submissions
from benchbench.plugins.names import describe_exception
from benchbench.plugins.provenance import InstalledCode
from benchbench.processes.signals import ignored, sigterm_as_interrupt, uninterruptible
from benchbench.runs import claims
from benchbench.runs.claims import Holder
from benchbench.runs.folder import RunFolder, Tail
from benchbench.scheduling.memory_needs import MemoryNeeds
from benchbench.scheduling.plan import PlannedRun, longest_first, plan, saying_what_is_on_disk
from benchbench.scheduling.recorder import Recorder, TrackingLostError
from benchbench.tracking import Tracker
from benchbench.values import EpochRecord, RunResult, RunSpec, Shortage, Suite

ATTEMPTS = 3
"""Attempts at a run whose process dies."""

_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Event:
    """Something that happened to a run.

    Attributes:
        kind: `planned` (with its result when nothing is to be done about it), `waiting` (another invocation is at work
            on it, or has taken it over), `submitted` (handed over to another system, which answers for it), `started`,
            `epoch`, `retried` (its process died, or memory ran out next to others), `stopping` (this command was
            interrupted) or `ended`.
        spec: The run.
        record: For `epoch`: what the epoch gave.
        result: For `planned`, `retried` and `ended`: the result.
        alone: For `retried`: whether it shares the device, or the machine, with no other run this time.
    """

    kind: Literal["planned", "waiting", "submitted", "started", "epoch", "retried", "stopping", "ended"]
    spec: RunSpec
    record: EpochRecord | None = None
    result: RunResult | None = None
    alone: bool = False


Observer = Callable[[Event], None]


@dataclass
class _Active:
    """A run that this invocation has claimed and submitted."""

    spec: RunSpec
    folder: RunFolder
    tail: Tail
    alone: Shortage = ""
    shown: bool = False


@dataclass
class Runner:
    """Brings every run of a suite to an end.

    A run is claimed for as long as this process works on it, so invocations that run at the same time, on one machine
    or on several that share the folder, share the work (`claims`).

    Attributes:
        suite: The suite.
        engine: Where runs execute.
        tracker: Where they are tracked; for a claimed run, only this process writes there.
        runs_dir: Folder of the runs' folders.
        data: The folder in which data sets lie.
        observe: Told about everything that happens.
        force: Run again what is done already, and from the beginning what was interrupted.
        warn: Told what goes wrong outside the runs, in one line.
        keep_stale: Take results for what they are, whatever code they were made by.
        results: Results by key, as far as they are known: those from before, and those of this command.
    """

    suite: Suite
    engine: Engine
    tracker: Tracker
    runs_dir: Path
    data: Path
    observe: Observer
    force: bool = False
    warn: Callable[[str], None] = lambda text: None
    keep_stale: bool = False
    results: dict[str, RunResult] = field(default_factory=dict, init=False)
    _recorder: Recorder = field(init=False)
    _holder: Holder = field(init=False)
    _memory: MemoryNeeds = field(default_factory=MemoryNeeds, init=False)
    _active: dict[str, _Active] = field(default_factory=dict, init=False)
    _elsewhere: set[str] = field(default_factory=set, init=False)
    _lost_attempts: Counter[str] = field(default_factory=Counter, init=False)
    _lost_servers: Counter[str] = field(default_factory=Counter, init=False)

    def __post_init__(self) -> None:
        self._holder = Holder(self.runs_dir)
        self._recorder = Recorder(self.suite, self.engine.name, self.tracker, self._holder, self.warn)

    def run(self) -> None:
        """Run what is missing or broke.

        Raises:
            KeyboardInterrupt: On Ctrl-C or SIGTERM; what is at work leaves a checkpoint and is tracked as interrupted.
            TrackingLostError: Everything is done, and the tracking store has not taken all of it.
        """
        queue = self._planned()
        if not queue:
            return
        self._prepare(queue)
        with self._holder, sigterm_as_interrupt():
            try:
                self._work_off(queue)
            except BaseException as error:
                self._stop()
                with uninterruptible():
                    self._track_interrupted(error)
                raise
            self._recorder.close(finished=True)
            self.results |= self._recorder.kept

    def _work_off(self, queue: deque[PlannedRun]) -> None:
        while queue or self._active:
            self._claim_what_fits(queue)
            if not self._active and queue:  # all that is left is being run elsewhere
                time.sleep(_POLL_SECONDS)
            for active in self._active.values():
                self._show(active)
                self._recorder.follow(active.spec, active.folder)
            self._recorder.catch_up()
            for result in self.engine.poll(_POLL_SECONDS):
                self._settle(self._active[result.key], result, queue)

    def submit(self) -> None:
        """Hand over what is missing to an engine whose runs need no command that waits for them, and return.

        Their results are tracked by `collect`, or by `run` with the same engine.

        Raises:
            TrackingLostError: The tracking store has not taken what had ended before.
        """
        queue = self._planned()
        if queue:
            self._prepare(queue)
        with self._holder:
            self._claim_what_fits(queue)
            while results := self.engine.poll(0):  # of earlier jobs that have ended just now
                for result in results:
                    self._settle(self._active[result.key], result, queue)
            for active in self._active.values():
                self._release(active)
                self.observe(Event("submitted", active.spec))
            self._active.clear()
            self._recorder.close(finished=True)

    def collect(self) -> None:
        """Track the runs that have ended since they were submitted, however they did.

        Raises:
            TrackingLostError: The tracking store has not taken all of it.
        """
        planned = list(self._planned())
        ended = submissions.ended([item.folder for item in planned])
        at_work = submissions.in_queue([item.folder for item in planned])
        with self._holder:
            for item in planned:
                on_disk = item.folder.result() if item.state == "on disk" and item.folder not in at_work else None
                result = ended.get(item.folder) or on_disk
                number = self._holder.claim(item.folder.path) if result is not None else None
                if result is not None and number is not None:
                    folder = replace(item.folder, claim=number)
                    folder.finish(result)
                    self._record(_Active(item.spec, folder, Tail(folder)), result)
                    submissions.forget(folder)
            self._recorder.close(finished=True)

    def _planned(self) -> deque[PlannedRun]:
        """Return what is to be done, the longest runs first, and tell about everything."""
        planned = plan(self.suite.specs, self.tracker, self.runs_dir, force=self.force, keep_stale=self.keep_stale)
        for item in planned:
            if item.result is not None:
                self.results[item.spec.key] = item.result
                self._memory.learn(item.spec, item.result)
            for line in () if item.settled else item.lost:
                self.warn(f"{line}; the run is repeated")
            self.observe(Event("planned", item.spec, result=item.result if item.settled else None))
        self._recorder.clean()
        return deque(longest_first(planned))

    def _prepare(self, queue: Iterable[PlannedRun]) -> None:
        """Look at the tracking store before a run is started of which it could not take the result."""
        with saying_what_is_on_disk([spec.key for spec in self.suite.specs], self.runs_dir):
            self._recorder.prepare([item.spec.key for item in queue])

    def _claim_what_fits(self, queue: deque[PlannedRun]) -> None:
        for _ in range(len(queue)):
            if not self.engine.capacity:
                return
            item = queue.popleft()
            number = self._holder.claim(item.folder.path)
            if number is None:
                if item.spec.key not in self._elsewhere:
                    self._elsewhere.add(item.spec.key)
                    self.observe(Event("waiting", item.spec))
                queue.append(item)
            elif submissions.in_queue([item.folder], other_than=self.engine.name):
                self._holder.release(item.folder.path, number)
                self.observe(Event("submitted", item.spec))
            else:
                self._start(item.spec, replace(item.folder, claim=number))

    def _start(self, spec: RunSpec, folder: RunFolder) -> None:
        """Submit a claimed run, unless it has ended already: then only record it."""
        active = _Active(spec, folder, Tail(folder))
        ended = folder.result()
        is_stale = ended is not None and not self.keep_stale and bool(InstalledCode().changes(ended))
        again = self.force or is_stale
        at_work = submissions.in_queue([folder])  # measuring something after the run's end
        if ended is not None and folder.is_settled(spec) and not again and not at_work:
            # Another process got that far before the claim; it may have tracked the result or not.
            if not self._recorder.is_tracked(spec):
                self._record(active, ended)
            else:
                self._close(active, ended)
            submissions.forget(folder)
            return
        if self._lost_attempts[spec.key] >= ATTEMPTS:
            message = f"other commands have taken it over, {ATTEMPTS} times, and have not ended it"
            result = RunResult(key=spec.key, outcome="crashed", message=message)
            folder.finish(result)
            self._record(active, result)
            return
        self._active[spec.key] = active
        if again:
            folder.forget()
        self._submit(active)
        active.shown = True
        self.observe(Event("started", spec))

    def _submit(self, active: _Active) -> None:
        active.tail = Tail(active.folder)
        memory = self._memory.expected(active.spec)
        self.engine.submit(Job(active.spec, active.folder, self.data, memory, active.alone))

    def _show(self, active: _Active) -> None:
        """Tell about what the run has written since the last time."""
        for record in active.tail.new():
            self.observe(Event("epoch", active.spec, record=record))

    def _settle(self, active: _Active, result: RunResult, queue: deque[PlannedRun]) -> None:
        """Record how a run ended, and start it again when its process died, or others may have taken its memory."""
        if not active.folder.held:
            if not self._claim_again(active):
                self._hand_over(active, queue)
                return
            message = f"the run's folder, {active.folder.path}, has disappeared"
            result = RunResult(key=result.key, outcome="crashed", message=message)
            active.folder.finish(result)
        self._show(active)
        had_others = int(result.environment.get("concurrent_runs", "1")) > 1
        alone = result.out_of_memory if had_others and not active.alone else ""
        # Any of the runs can have killed the server: those that have lost two are tried one by one.
        lost_server = FORK_SERVER in result.environment and not active.alone
        if lost_server:
            self._lost_servers[result.key] += 1
            alone = "host" if self._lost_servers[result.key] > 1 else ""
        elif result.outcome == "crashed":
            self._lost_attempts[result.key] += 1
        again = result.outcome == "crashed" and self._lost_attempts[result.key] < ATTEMPTS
        if alone or again:
            self._recorder.discard(result.key)
            active.alone = active.alone or alone
            self._submit(active)
            self.observe(Event("retried", active.spec, result=result, alone=bool(alone)))
        else:
            del self._active[result.key]
            self._record(active, result)

    def _claim_again(self, active: _Active) -> bool:
        """Claim a run again whose claim is lost with its folder; `False` where another command has claimed it."""
        if claims.current(active.folder.path) > (active.folder.claim or 0):
            return False
        number = self._holder.claim(active.folder.path)
        if number is not None:
            active.folder = replace(active.folder, claim=number)
        return number is not None

    def _record(self, active: _Active, result: RunResult) -> None:
        """Record how a run ended, and let it go."""
        self._show(active)
        self._recorder.end(active.spec, active.folder, result)
        self._close(active, result)

    def _hand_over(self, active: _Active, queue: deque[PlannedRun]) -> None:
        """Leave a run to the invocation that has taken it over while this one was silent, and wait for its end."""
        del self._active[active.spec.key]
        self._recorder.discard(active.spec.key)
        self._lost_attempts[active.spec.key] += 1
        self._elsewhere.add(active.spec.key)
        self.observe(Event("waiting", active.spec))
        queue.append(PlannedRun(active.spec, replace(active.folder, claim=None), "to run", None))

    def _release(self, active: _Active) -> None:
        if active.folder.claim is not None:
            self._holder.release(active.folder.path, active.folder.claim)

    def _close(self, active: _Active, result: RunResult) -> None:
        result = active.folder.with_sharpness(result, active.spec)
        self._release(active)
        self.results[active.spec.key] = result
        self._memory.learn(active.spec, result)
        self.observe(Event("ended", active.spec, result=result))

    def _stop(self) -> None:
        """End all runs, which may leave a checkpoint first; after another Ctrl-C they may not."""
        try:
            for active in self._active.values():
                self.observe(Event("stopping", active.spec))
            with ignored(signal.SIGTERM):
                self.engine.stop()
        except KeyboardInterrupt:
            with uninterruptible():
                self.engine.stop(at_once=True)

    def _track_interrupted(self, error: BaseException) -> None:
        by_the_user = isinstance(error, KeyboardInterrupt)
        why = (
            "stopped by the user" if by_the_user else f"stopped by the end of its command: {describe_exception(error)}"
        )
        for active in self._active.values():
            result = active.folder.result()
            if not active.folder.held or (result is None and not active.shown):  # which has not been reported
                self._recorder.discard(active.spec.key)
                self._release(active)
                continue
            if result is None:
                result = RunResult(key=active.spec.key, outcome="interrupted", message=why)
                with suppress(OSError):  # a full disk, say, which may be why this command ends
                    active.folder.finish(result)
            self._record(active, result)
        try:
            self._recorder.close(finished=False)
        except TrackingLostError as lost:
            self.warn(str(lost))
