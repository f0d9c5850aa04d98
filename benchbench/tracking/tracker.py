"""Runs are written from their folders to a tracking store, and read back as results."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from benchbench.distribution import git
from benchbench.processes.memory import without_garbage_collection
from benchbench.runs.claims import identity
from benchbench.runs.folder import RunFolder
from benchbench.tracking.entities import (
    COMMAND,
    KEY,
    REVISION,
    TAG,
    has_ended,
    is_conclusive,
    metric,
    parameters,
    rank,
    read_result,
    read_sharpness,
    result_metrics,
    result_tags,
    revision,
    stored_name,
    text,
)
from benchbench.tracking.errors import fault_of
from benchbench.tracking.store import Store
from benchbench.tracking.tracked_run import TrackedRun
from benchbench.values import Outcome, RunResult, RunSpec, Suite

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run

_Read = TypeVar("_Read")

_GIT_COMMIT = "mlflow.source.git.commit"
_MOST_METRICS, _MOST_PARAMETERS, _MOST_TAGS = 500, 100, 25
"""Of a call. MLflow takes 1000 of all together, 100 parameters, 100 tags, and a megabyte over HTTP."""

_STATUS: dict[Outcome, str] = {"finished": "FINISHED", "diverged": "FINISHED", "interrupted": "KILLED"}


class Tracker:
    """Reads and writes one MLflow tracking store.

    Args:
        uri: Tracking URI; by default `MLFLOW_TRACKING_URI`, or a SQLite file in the current folder.
    """

    def __init__(self, uri: str | None = None) -> None:
        self._store = Store(uri)
        self._prepared: set[str] = set()
        self._revisions: dict[str, int] = {}
        self._superseded: set[str] = set()
        self._unended: dict[str, tuple[str, str]] = {}
        """Of the runs that have been listed and have no result: key and command, by MLflow's identifier."""

    def results(self, specs: Sequence[RunSpec]) -> dict[str, RunResult]:
        """Return the result of each run that has come to an end in the store, by key, with the sharpness asked for.

        Args:
            specs: Runs that are asked for.

        Raises:
            TrackingError: The store cannot be read.
        """
        settings = {spec.key: spec.sharpness for spec in specs}
        return self._of_each(list(settings), lambda run: read_result(run, settings[run.data.tags[KEY]]))

    def _of_each(self, keys: Sequence[str], read: Callable[[Run], _Read]) -> dict[str, _Read]:
        """Return what is read of the run that counts of each key, if one has ended."""
        if self._store.is_new:
            return {}
        found = dict[str, tuple[tuple[bool, int, int, str], _Read]]()
        wanted = set(keys)
        self._revisions |= dict.fromkeys(wanted, 0)
        self._unended = {run_id: known for run_id, known in self._unended.items() if known[0] not in wanted}
        with self._store.reporting(), without_garbage_collection():
            for run in self._store.runs(*([f"tags.`{KEY}` = '{keys[0]}'"] if len(wanted) == 1 else [])):
                key, run_id = run.data.tags[KEY], run.info.run_id
                if key not in wanted:
                    continue
                if not has_ended(run):
                    self._unended[run_id] = key, run.data.tags.get(COMMAND, "")
                    continue
                self._revisions[key] = max(self._revisions[key], revision(run))
                place = rank(run)
                if key not in found or place > found[key][0]:
                    if key in found:
                        self._superseded.add(found[key][0][-1])
                    found[key] = place, read(run)
                else:
                    self._superseded.add(run_id)
        return {key: value for key, (_, value) in found.items()}

    def running(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the keys that were running, or had been left so, when they were last listed, with the command."""
        wanted = set(keys)
        return {key: command for key, command in self._unended.values() if key in wanted}

    def prepare(self, suite: Suite) -> None:
        """Find out what would keep the runs of a suite from being written, before any of them is made.

        Raises:
            TrackingError: They cannot be written.
        """
        if suite.name not in self._prepared:
            self._store.prepare(suite.name)
            self._prepared.add(suite.name)

    def clean(self, has_died: Callable[[str], bool]) -> None:
        """Remove what commands have left half-written when they were killed.

        Of the runs that were listed last: those that do not count next to others of their key, and those that a dead
        command was writing; also close the parent runs of dead commands.

        Args:
            has_died: Whether a command is dead for certain.

        Raises:
            TrackingError: The store cannot be used.
        """
        if self._store.is_new:
            return
        left = {run_id for run_id, (_, command) in self._unended.items() if has_died(command)}
        with self._store.reporting():
            for run_id in self._superseded:
                self._delete(run_id)
            for run_id in left:
                if not has_ended(self._store.client.get_run(run_id)):  # as it may have, since it was listed
                    self._delete(run_id)
            for parent in self._store.runs(f"tags.`{TAG}engine` != '' and attributes.status = 'RUNNING'"):
                if has_died(parent.data.tags.get(COMMAND, "")):
                    self._store.client.set_terminated(parent.info.run_id, "KILLED")
        self._superseded.clear()
        self._unended = {run_id: known for run_id, known in self._unended.items() if run_id not in left}

    def fetch(self, key: str, patterns: Sequence[str], folder: Path) -> None:
        """Copy files that were kept with the run of a key into a folder; those that are missing are left out.

        Args:
            key: The run key.
            patterns: Names of files, such as `metrics.jsonl` or `sharpness*.json`.
            folder: Where to.

        Raises:
            TrackingError: The store cannot be read.
        """
        counting = self._of_each([key], lambda run: run if is_conclusive(run) else None).get(key)
        if counting is None:
            return
        client, run_id = self._store.client, counting.info.run_id
        with self._store.reporting():
            for name in [file.path for file in client.list_artifacts(run_id)]:
                if any(fnmatchcase(name, pattern) for pattern in patterns):
                    client.download_artifacts(run_id, name, str(folder))

    def commits(self, keys: Sequence[str]) -> dict[str, str]:
        """Return the git commit of the folder that each run was started from, by key, where there was one.

        Args:
            keys: Run keys that are asked for.

        Raises:
            TrackingError: The store cannot be read.
        """
        found = self._of_each(keys, lambda run: run.data.tags.get(_GIT_COMMIT, ""))
        return {key: commit for key, commit in found.items() if commit}

    def begin_invocation(self, suite: Suite, engine: str, command: str) -> str:
        """Create the parent run of one invocation in the suite's experiment.

        Args:
            suite: The suite.
            engine: Name of the engine.
            command: The name of this command, by which others tell whether it is dead.

        Returns:
            MLflow's identifier of the parent run.

        Raises:
            TrackingError: The store cannot be used.
        """
        tags = {f"{TAG}engine": engine, COMMAND: command, **self._commit}
        run_name = time.strftime(f"{suite.name} %Y-%m-%d %H:%M:%S")
        with self._store.reporting():
            run = self._store.create_run(suite.name, tags, run_name)
        return str(run.info.run_id)

    def end_invocation(self, parent_id: str, *, finished: bool) -> None:
        """Close the parent run.

        Raises:
            TrackingError: The store cannot be used.
        """
        with self._store.reporting():
            self._store.client.set_terminated(parent_id, "FINISHED" if finished else "KILLED")

    def begin_run(self, parent_id: str, spec: RunSpec, folder: RunFolder, command: str) -> TrackedRun:
        """Create the MLflow run of a spec, with its labels; its parameters follow with what is written next.

        It takes the place of the runs of its key that have been listed.

        Raises:
            TrackingError: The store cannot be used.
        """
        from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

        if spec.key not in self._revisions:
            self.results([spec])
        tags = {
            MLFLOW_PARENT_RUN_ID: parent_id,
            KEY: spec.key,
            COMMAND: command,
            REVISION: str(self._revisions[spec.key] + 1),
            f"{TAG}outcome": "running",
            f"{TAG}method": spec.method,
            f"{TAG}workload": spec.workload_label,
            **self._commit,
        }
        name = f"{spec.method} · {spec.workload_label} · seed {spec.seed}"
        with self._store.reporting():
            run = self._store.create_run(spec.suite, tags, name)
        return TrackedRun(run.info, folder, spec, parameters(spec))

    def trained_run(self, spec: RunSpec, folder: RunFolder) -> TrackedRun | None:
        """Return the run that has the training in a folder already, so that what was measured since can be added.

        Raises:
            TrackingError: The store cannot be read.
        """
        trained = folder.result() if "sharpness" in spec.measure else None
        if trained is None or not trained.conclusive:
            return None
        with self._store.reporting():
            runs = list(filter(is_conclusive, self._store.runs(f"tags.`{KEY}` = '{trained.key}'")))
        for run in runs:
            result = read_result(run, spec.sharpness)
            if result.cost == trained.cost:
                known = {result.sharpness_settings, *(each.settings for each in read_sharpness(run) if each.metrics)}
                tracked = TrackedRun(run.info, folder, spec, measured=known - {""})
                tracked.new_metrics()  # these are there already
                return tracked
        return None

    def discard_run(self, tracked: TrackedRun) -> None:
        """Delete a run that is still being written (restorable in MLflow), and none to which something was to be added.

        Raises:
            TrackingError: The store cannot be used.
        """
        if not tracked.has_ended:
            with self._store.reporting():
                self._store.client.delete_run(tracked.info.run_id)

    def follow(self, tracked: TrackedRun) -> None:
        """Write the epochs that the run's folder has gained.

        The parameters of a run that has nothing to write yet are written at the second look at it: a run that ends at
        once is written in one piece, for most of what a short run costs are the calls to the store.

        Raises:
            TrackingError: The store cannot be used.
        """
        tracked.looks += 1
        metrics = tracked.new_metrics()
        if metrics or tracked.looks > 1:
            self._write(tracked, metrics)

    def end_run(self, tracked: TrackedRun, result: RunResult) -> RunResult:
        """Write a run's result and files, or what was measured since, and remove what does not count next to it.

        Returns:
            The result that the store keeps: of several that were made at the same time in different folders, one.

        Raises:
            TrackingError: The store cannot be used.
        """
        metrics = tracked.new_metrics()
        values, tags = tracked.sharpness(result)
        with self._store.reporting():
            self._store.keep_files(tracked.info, tracked.folder.tracked_files)
            if not tracked.has_ended:
                self._store.client.set_terminated(tracked.info.run_id, _STATUS.get(result.outcome, "FAILED"))
                metrics += tracked.diagnostics()
                values = {**result_metrics(result, tracked.last), **values}
                tags |= result_tags(result)
        metrics += [metric(name, value, result.epochs) for name, value in values.items()]
        self._write(tracked, metrics, tags)
        with self._store.reporting():
            return self._one_of_all(tracked, result)

    def _write(self, tracked: TrackedRun, metrics: Sequence[Metric], tags: Mapping[str, str] | None = None) -> None:
        """Write in as many batches as it takes; the last tags come last, so they are never there without the rest."""
        from mlflow.entities import Param, RunTag

        params = [Param(stored_name(name), text(value)) for name, value in tracked.parameters.items()]
        all_tags = [RunTag(name, value) for name, value in (tags or {}).items()]
        parts = _batches(metrics, _MOST_METRICS), _batches(params, _MOST_PARAMETERS), _batches(all_tags, _MOST_TAGS)
        with self._store.reporting():
            for i in reversed(range(max(map(len, parts)))):
                some_metrics, some_params, some_tags = (part[-1 - i] if i < len(part) else [] for part in parts)
                self._store.client.log_batch(tracked.info.run_id, some_metrics, some_params, some_tags)
        tracked.parameters = {}

    def _one_of_all(self, tracked: TrackedRun, result: RunResult) -> RunResult:
        """Delete the runs of a key that do not count (restorable in MLflow); return the result of the one that does.

        One without a result is what a dead command of this folder has left, or another folder is at work on it.
        """
        runs = list(self._store.runs(f"tags.`{KEY}` = '{result.key}'"))
        counting = max(filter(has_ended, runs), key=rank, default=None)
        here = identity(tracked.folder.path.parent)
        for run in runs:
            is_left = run.data.tags.get(COMMAND, "").partition("/")[0] in ("", here)
            if (is_left or has_ended(run)) and run is not counting:
                self._delete(run.info.run_id)
        if counting is None or counting.info.run_id == tracked.info.run_id:
            return result
        return read_result(counting, tracked.spec.sharpness)

    def _delete(self, run_id: str) -> None:
        """Delete a run, unless it is gone already: any command that has seen that it does not count deletes it."""
        try:
            self._store.client.delete_run(run_id)
        except Exception as error:
            if fault_of(error) != "run":
                raise

    @cached_property
    def _commit(self) -> dict[str, str]:
        """The tag with the commit of the current folder; none outside a repository."""
        commit = git("rev-parse", "HEAD")
        return {_GIT_COMMIT: commit} if commit else {}


def _batches(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
