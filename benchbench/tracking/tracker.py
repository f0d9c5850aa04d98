"""Runs are written from their folders to a tracking store, and read back as results."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from benchbench.runs.folder import RunFolder
from benchbench.sharpness.values import PREFIX
from benchbench.tracking.entities import (
    TAG,
    has_ended,
    is_conclusive,
    metric,
    parameters,
    read_result,
    result_metrics,
    result_tags,
    text,
)
from benchbench.tracking.store import Store, without_garbage_collection
from benchbench.tracking.tracked_run import TrackedRun
from benchbench.values import Outcome, RunResult, RunSpec, Suite

if TYPE_CHECKING:
    from mlflow.entities import Metric

_GIT_COMMIT = "mlflow.source.git.commit"
_MOST_METRICS = 1000
"""Metrics that MLflow takes in one call."""

_STATUS: dict[Outcome, str] = {"finished": "FINISHED", "diverged": "FINISHED", "interrupted": "KILLED"}


class Tracker:
    """Reads and writes one MLflow tracking store.

    Args:
        uri: Tracking URI; by default `MLFLOW_TRACKING_URI`, or a SQLite file in the current folder.
    """

    def __init__(self, uri: str | None = None) -> None:
        self._store = Store(uri)
        self._listed: dict[str, dict[str, bool]] = {}
        """By key, what the store held when it was last listed: whether a run is conclusive, by MLflow's identifier."""

    def results(self, keys: Sequence[str]) -> dict[str, RunResult]:
        """Return the latest result of each run key that the store has brought to an end.

        Args:
            keys: Run keys that are asked for.

        Raises:
            TrackingError: The store cannot be read.
        """
        if self._store.is_new:
            return {}
        wanted, found = set(keys), dict[str, RunResult]()
        listed: dict[str, dict[str, bool]] = {key: {} for key in wanted}
        with self._store.reporting(), without_garbage_collection():
            for run in self._store.runs(*([f"tags.`{TAG}key` = '{keys[0]}'"] if len(wanted) == 1 else [])):
                key = run.data.tags[f"{TAG}key"]
                if key not in wanted:
                    continue
                listed[key][run.info.run_id] = is_conclusive(run)
                if has_ended(run) and (key not in found or (is_conclusive(run) and not found[key].conclusive)):
                    found[key] = read_result(run)
        self._listed |= listed
        return found

    def forget_listing(self) -> None:
        """Rely no more on what the store held when it was listed: it may have taken more than it has said."""
        self._listed.clear()

    def artifacts(self, key: str, names: Sequence[str]) -> dict[str, str]:
        """Return the text of files that were kept with the run of a key, by name; those that are missing are left out.

        Args:
            key: The run key.
            names: Names of files, such as `metrics.jsonl`.

        Raises:
            TrackingError: The store cannot be read.
        """
        if self._store.is_new:
            return {}
        client = self._store.client
        with self._store.reporting(), tempfile.TemporaryDirectory() as folder:
            run = next(filter(is_conclusive, self._store.runs(f"tags.`{TAG}key` = '{key}'")), None)
            if run is None:
                return {}
            kept = {file.path for file in client.list_artifacts(run.info.run_id)}
            return {
                name: Path(client.download_artifacts(run.info.run_id, name, folder)).read_text(encoding="utf-8")
                for name in names
                if name in kept
            }

    def commits(self, keys: Sequence[str]) -> dict[str, str]:
        """Return the git commit of the folder that each run was started from, by key, where there was one.

        Args:
            keys: Run keys that are asked for.

        Raises:
            TrackingError: The store cannot be read.
        """
        if self._store.is_new:
            return {}
        wanted = set(keys)
        found = dict[str, str]()
        with self._store.reporting(), without_garbage_collection():
            for run in self._store.runs(f"tags.`{_GIT_COMMIT}` != ''"):
                key = run.data.tags.get(f"{TAG}key")
                if key in wanted:
                    found.setdefault(key, run.data.tags[_GIT_COMMIT])
        return found

    def begin_invocation(self, suite: Suite, engine: str) -> str:
        """Create the parent run of one invocation in the suite's experiment.

        Returns:
            MLflow's identifier of the parent run.

        Raises:
            TrackingError: The store cannot be used.
        """
        tags = {f"{TAG}engine": engine, **self._commit}
        run_name = time.strftime(f"{suite.name} %Y-%m-%d %H:%M:%S")
        with self._store.reporting():
            run = self._store.client.create_run(self._store.experiment(suite.name), tags=tags, run_name=run_name)
        return str(run.info.run_id)

    def end_invocation(self, parent_id: str, *, finished: bool) -> None:
        """Close the parent run.

        Raises:
            TrackingError: The store cannot be used.
        """
        with self._store.reporting():
            self._store.client.set_terminated(parent_id, "FINISHED" if finished else "KILLED")

    def begin_run(self, parent_id: str, spec: RunSpec, folder: RunFolder) -> TrackedRun:
        """Create the MLflow run of a spec, with its labels; its parameters follow with what is written next.

        Raises:
            TrackingError: The store cannot be used.
        """
        from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

        tags = {
            MLFLOW_PARENT_RUN_ID: parent_id,
            f"{TAG}key": spec.key,
            f"{TAG}outcome": "running",
            f"{TAG}method": spec.method,
            f"{TAG}workload": spec.workload_label,
            **self._commit,
        }
        name = f"{spec.method} · {spec.workload_label} · seed {spec.seed}"
        with self._store.reporting():
            run = self._store.client.create_run(self._store.experiment(spec.suite), tags=tags, run_name=name)
        return TrackedRun(run.info, folder, parameters(spec))

    def unmeasured_run(self, folder: RunFolder) -> TrackedRun | None:
        """Return the run that has the training in a folder, but no sharpness, so that its measures can be added to it.

        One that has some, measured with other settings, is superseded as a whole: MLflow keeps every metric for ever.

        Raises:
            TrackingError: The store cannot be read.
        """
        trained = folder.result()
        if trained is None or not trained.conclusive:
            return None
        with self._store.reporting():
            runs = list(filter(is_conclusive, self._store.runs(f"tags.`{TAG}key` = '{trained.key}'")))
        for run in runs:
            result = read_result(run)
            if result.cost == trained.cost and not any(name.startswith(PREFIX) for name in result.final):
                tracked = TrackedRun(run.info, folder)
                tracked.new_metrics()  # these are there already
                return tracked
        return None

    def discard_run(self, tracked: TrackedRun) -> None:
        """Delete a run that is still being written (restorable in MLflow).

        Raises:
            TrackingError: The store cannot be used.
        """
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

    def end_run(self, tracked: TrackedRun, result: RunResult) -> None:
        """Write a run's result and files, and remove the runs of the same key that it supersedes.

        Raises:
            TrackingError: The store cannot be used.
        """
        epochs = tracked.new_metrics()
        metrics = [metric(name, value, result.epochs) for name, value in result_metrics(result, tracked.last).items()]
        self._write(tracked, [*epochs, *tracked.diagnostics(), *metrics], result_tags(result))
        client = self._store.client
        with self._store.reporting():
            self._store.keep_files(tracked.info, tracked.folder.tracked_files)
            client.set_terminated(tracked.info.run_id, _STATUS.get(result.outcome, "FAILED"))
            self._remove_superseded(tracked, result)

    def _write(self, tracked: TrackedRun, metrics: Sequence[Metric], tags: Mapping[str, str] | None = None) -> None:
        from mlflow.entities import Param, RunTag

        params = [Param(name, text(value)) for name, value in tracked.parameters.items()]
        if not (metrics or params or tags):
            return
        first, rest = metrics[:_MOST_METRICS], metrics[_MOST_METRICS:]
        with self._store.reporting():
            for start in range(0, len(rest), _MOST_METRICS):
                self._store.client.log_batch(tracked.info.run_id, metrics=rest[start : start + _MOST_METRICS])
            # How the run ended comes last, so that it is never there without what belongs to it.
            all_tags = [RunTag(name, text(value)) for name, value in (tags or {}).items()]
            self._store.client.log_batch(tracked.info.run_id, metrics=first, params=params, tags=all_tags)
        tracked.parameters = {}

    def _remove_superseded(self, tracked: TrackedRun, result: RunResult) -> None:
        """Delete other runs of the key (restorable in MLflow): one run per key remains, conclusive if any is."""
        if tracked.folder.claim == 1 and result.key in self._listed:
            # Nobody has ever worked in this folder, so there is nothing new since the store was listed.
            others = self._listed[result.key]
        else:
            runs = self._store.runs(f"tags.`{TAG}key` = '{result.key}'")
            others = {run.info.run_id: is_conclusive(run) for run in runs}
        for run_id, conclusive in others.items():
            if run_id != tracked.info.run_id and (result.conclusive or not conclusive):
                self._store.client.delete_run(run_id)

    @cached_property
    def _commit(self) -> dict[str, str]:
        return _git_commit()


def _git_commit() -> dict[str, str]:
    """Return the tag with the commit of the current folder, or nothing outside a repository."""
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=5
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return {}
    return {_GIT_COMMIT: commit}
