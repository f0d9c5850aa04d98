"""Bringing searches to their end: rounds of ordinary runs over an ordinary engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchbench.engines import Engine
from benchbench.runs.folder import RunFolder
from benchbench.scheduling.plan import plan
from benchbench.scheduling.runner import Observer, Runner
from benchbench.tracking import Tracker
from benchbench.tuning.study import Study, StudyStatus, method_of, status_of
from benchbench.values import RunResult, RunSpec, Suite, Tuning

_BROKEN = ("failed", "crashed", "timeout")
"""Outcomes that a search takes as they are: the same values would break again."""


def studies(suite: Suite, tuning: Tuning) -> list[Study]:
    """Return the search of every method on every workload that has something to search."""
    first = {(spec.workload_label, spec.method): spec for spec in reversed(suite.specs)}
    return [
        Study(template=first[workload, method], space=space, tuning=tuning)
        for workload, of_methods in suite.spaces.items()
        for method, space in of_methods.items()
        if (workload, method) in first
    ]


@dataclass
class Tuner:
    """Makes the runs of searches.

    All searches go on side by side, in rounds: what can be run without waiting for a result is run, then the results
    say what comes next. Runs are claimed, kept and tracked like any others.

    Attributes:
        suite: The suite with the search spaces.
        studies: The searches.
        tracker: Where runs are tracked.
        runs_dir: Folder of the runs' folders.
        known: Results of the runs that have ended, by key.
    """

    suite: Suite
    studies: Sequence[Study]
    tracker: Tracker
    runs_dir: Path
    known: dict[str, RunResult] = field(default_factory=dict, init=False)

    def statuses(self) -> list[StudyStatus]:
        """Return how far every search is, by what tracking and the disk hold. Runs nothing."""
        while True:
            now = [status_of(study, self.known) for study in self.studies]
            found = self._look_up(spec for each in now for spec in each.pending)
            if not found:
                return now
            self.known |= found

    def run(
        self, engine: Engine, data: Path, observe: Observer, warn: Callable[[str], None] = lambda text: None
    ) -> list[StudyStatus]:
        """Run what the searches need, to their end.

        Args:
            engine: Where runs execute.
            data: The folder in which data sets lie.
            observe: Told about everything that happens.
            warn: Told what goes wrong outside the runs, in one line.

        Raises:
            KeyboardInterrupt: On Ctrl-C or SIGTERM; the same call goes on where it was.
            TrackingLostError: The tracking store has not taken all of it.
        """
        now = self.statuses()
        while pending := tuple(spec for each in now for spec in each.pending):
            runner = Runner(self._round(now, pending), engine, self.tracker, self.runs_dir, data, observe, warn=warn)
            runner.run()
            self.known |= {key: self._with_cost(result) for key, result in runner.results.items()}
            now = self.statuses()
        return now

    def _round(self, now: Sequence[StudyStatus], pending: tuple[RunSpec, ...]) -> Suite:
        """Return the next runs as a suite."""
        trials = [(each.study, trial) for each in now for trial in each.trials]
        methods = {method.label: method for method in (method_of(*each) for each in trials)}
        seeds = dict.fromkeys(spec.seed for spec in pending)
        return self.suite.model_copy(
            update={
                "name": f"{self.suite.name} tuning",
                "protocol": "holdout",
                "seeds": tuple(seeds),
                "methods": tuple(methods.values()),
                "specs": pending,
            }
        )

    def _look_up(self, specs: Iterable[RunSpec]) -> dict[str, RunResult]:
        planned = plan(tuple(specs), self.tracker, self.runs_dir)
        return {
            item.spec.key: self._with_cost(item.result)
            for item in planned
            if item.result is not None and (item.settled or item.result.outcome in _BROKEN)
        }

    def _with_cost(self, result: RunResult) -> RunResult:
        """Return a result with what a run that broke had used by the end of its last epoch."""
        if result.conclusive:
            return result
        records = RunFolder(self.runs_dir / result.key).records()
        return result.model_copy(update={"cost": records[-1].cost}) if records else result
