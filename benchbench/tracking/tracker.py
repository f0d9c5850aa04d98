"""One tracking store: runs are written from their folders and read back as results."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from benchbench.runs.folder import RunFolder, Tail
from benchbench.sharpness.values import PREFIX
from benchbench.tracking.collector import paused_collector
from benchbench.tracking.entities import (
    TAG,
    epoch_metrics,
    metric,
    parameters,
    read_result,
    result_metrics,
    result_tags,
    text,
)
from benchbench.tracking.errors import TrackingError, without_passwords
from benchbench.values import Outcome, RunResult, RunSpec, Suite

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, Run, RunTag


_SQLITE = "sqlite:///"
_DEFAULT_URI = f"{_SQLITE}mlflow.db"
"""MLflow's own default: a file in the current folder."""
_DATABASE_SERVERS = ("postgresql", "mysql", "mssql")
_GIT_COMMIT = "mlflow.source.git.commit"
_PAGE = 1000
_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
"""MLflow's own patience is minutes, in which no run would be started; folders can wait for a store that is away."""

_STATUS: dict[Outcome, str] = {"finished": "FINISHED", "diverged": "FINISHED", "interrupted": "KILLED"}


@dataclass
class TrackedRun:
    """A run as it is being written to MLflow.

    Attributes:
        run_id: MLflow's identifier.
        folder: The run's files.
        params: Its parameters, as long as they are still to be written.
        tail: The epochs that are still to be written.
    """

    run_id: str
    folder: RunFolder
    params: list[Param] = field(default_factory=list)
    tail: Tail = field(init=False)

    def __post_init__(self) -> None:
        self.tail = Tail(self.folder)


class Tracker:
    """Reads and writes one MLflow tracking store; nothing is opened before it is needed.

    Args:
        uri: Tracking URI; by default `MLFLOW_TRACKING_URI`, or a SQLite file in the current folder.
    """

    def __init__(self, uri: str | None = None) -> None:
        uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or _DEFAULT_URI
        self._file: Path | None = None
        if uri.startswith(_SQLITE):
            # MLflow keeps stores open by their URI, so a relative path would outlive a change of folder.
            self._file = Path(uri.removeprefix(_SQLITE)).absolute()
            uri = f"{_SQLITE}{self._file}"
        self.uri = uri
        self._experiments: dict[str, str] = {}
        self._known: list[str] = []

    def results(self, keys: Sequence[str]) -> dict[str, RunResult]:
        """Return the latest result of each run key that the store has brought to an end.

        Args:
            keys: Run keys that are asked for.

        Raises:
            TrackingError: The store cannot be read.
        """
        if self._file is not None and not self._file.exists():
            return {}
        wanted, found = set(keys), dict[str, RunResult]()
        condition = f"tags.`{TAG}outcome` != 'running'"
        if len(wanted) == 1:
            condition += f" and tags.`{TAG}key` = '{keys[0]}'"
        with self._reporting(), paused_collector():
            for run in self._search(condition):
                key = run.data.tags[f"{TAG}key"]
                if key in wanted:
                    kept = found.get(key)
                    result = read_result(run)
                    if kept is None or (result.conclusive and not kept.conclusive):
                        found[key] = result
        return found

    def artifacts(self, key: str, names: Sequence[str]) -> dict[str, str]:
        """Return the text of files that were kept with the run of a key, by name; those that are missing are left out.

        Args:
            key: The run key.
            names: Names of files, such as `metrics.jsonl`.

        Raises:
            TrackingError: The store cannot be read.
        """
        if self._file is not None and not self._file.exists():
            return {}
        with self._reporting(), tempfile.TemporaryDirectory() as folder:
            runs = list(self._search(f"tags.`{TAG}key` = '{key}' AND tags.`{TAG}outcome` != 'running'"))
            run = next((run for run in runs if read_result(run).conclusive), None)
            if run is None:
                return {}
            kept = {file.path for file in self._client.list_artifacts(run.info.run_id)}
            return {
                name: Path(self._client.download_artifacts(run.info.run_id, name, folder)).read_text(encoding="utf-8")
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
        if self._file is not None and not self._file.exists():
            return {}
        wanted = set(keys)
        found = dict[str, str]()
        with self._reporting(), paused_collector():
            for run in self._search(f"tags.`{_GIT_COMMIT}` != ''"):
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
        tags = {f"{TAG}engine": engine, f"{TAG}suite": suite.name, **self._commit}
        run_name = time.strftime(f"{suite.name} %Y-%m-%d %H:%M:%S")
        with self._reporting():
            run = self._client.create_run(self._experiment(suite.name), tags=tags, run_name=run_name)
        return str(run.info.run_id)

    def end_invocation(self, parent_id: str, *, finished: bool) -> None:
        """Close the parent run.

        Raises:
            TrackingError: The store cannot be used.
        """
        with self._reporting():
            self._client.set_terminated(parent_id, "FINISHED" if finished else "KILLED")

    def begin_run(self, parent_id: str, spec: RunSpec, folder: RunFolder) -> TrackedRun:
        """Create the MLflow run of a spec, with its labels; its parameters are written along with what comes first.

        Raises:
            TrackingError: The store cannot be used.
        """
        from mlflow.entities import Param
        from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

        tags = {
            MLFLOW_PARENT_RUN_ID: parent_id,
            f"{TAG}key": spec.key,
            f"{TAG}outcome": "running",
            f"{TAG}suite": spec.suite,
            f"{TAG}method": spec.method,
            f"{TAG}workload": spec.workload_label,
            **self._commit,
        }
        name = f"{spec.method} · {spec.workload_label} · seed {spec.seed}"
        params = [Param(key, text(value)) for key, value in parameters(spec).items()]
        with self._reporting():
            run = self._client.create_run(self._experiment(spec.suite), tags=tags, run_name=name)
        return TrackedRun(run.info.run_id, folder, params)

    def unmeasured_run(self, folder: RunFolder) -> TrackedRun | None:
        """Return the run that has the training in a folder, but no sharpness, so that its measures can be added to it.

        One that has some, measured with other settings, is superseded as a whole: MLflow keeps every metric for ever.

        Raises:
            TrackingError: The store cannot be read.
        """
        trained = folder.result()
        if trained is None or not trained.conclusive:
            return None
        with self._reporting():
            for run in self._search(f"tags.`{TAG}key` = '{trained.key}'"):
                result = read_result(run)
                measured = any(name.startswith(PREFIX) for name in result.final)
                if result.conclusive and result.cost == trained.cost and not measured:
                    tracked = TrackedRun(run.info.run_id, folder)
                    tracked.tail.new()  # these are there already
                    return tracked
        return None

    def discard_run(self, tracked: TrackedRun) -> None:
        """Delete a run that is still being written (restorable in MLflow).

        Raises:
            TrackingError: The store cannot be used.
        """
        with self._reporting():
            self._client.delete_run(tracked.run_id)

    def follow(self, tracked: TrackedRun) -> None:
        """Write the epochs that the run's folder has gained.

        Raises:
            TrackingError: The store cannot be used.
        """
        if metrics := _new_epochs(tracked):
            self._write(tracked, metrics)

    def end_run(self, tracked: TrackedRun, result: RunResult) -> None:
        """Write a run's result and files, and remove the runs of the same key that it supersedes.

        Raises:
            TrackingError: The store cannot be used.
        """
        from mlflow.entities import RunTag

        metrics = [*_new_epochs(tracked), *_diagnostics(tracked)]
        metrics += [metric(name, value, result.epochs) for name, value in result_metrics(result).items()]
        tags = [RunTag(name, text(value)) for name, value in result_tags(result).items()]
        with self._reporting():
            for file in tracked.folder.tracked_files:
                self._client.log_artifact(tracked.run_id, str(file))
        self._write(tracked, metrics, tags)
        with self._reporting():
            self._client.set_terminated(tracked.run_id, _STATUS.get(result.outcome, "FAILED"))
            self._remove_superseded(tracked.run_id, result)

    def _write(self, tracked: TrackedRun, metrics: Sequence[Metric], tags: Sequence[RunTag] = ()) -> None:
        """Write metrics in as few calls as MLflow takes, parameters with the first one and tags with the last one."""
        pages = [metrics[start : start + _PAGE] for start in range(0, len(metrics), _PAGE)] or [[]]
        with self._reporting():
            for page in pages:
                last = tags if page is pages[-1] else ()
                self._client.log_batch(tracked.run_id, metrics=page, params=tracked.params, tags=last)
                tracked.params = []

    def _remove_superseded(self, run_id: str, result: RunResult) -> None:
        """Delete other runs of the key (restorable in MLflow): one run per key remains, conclusive if any is."""
        for run in self._search(f"tags.`{TAG}key` = '{result.key}'", self._known):
            superseded = result.conclusive or not read_result(run).conclusive
            if superseded and run.info.run_id != run_id:
                self._client.delete_run(run.info.run_id)

    @cached_property
    def _client(self) -> MlflowClient:
        # Usage telemetry is the user's choice, so it is off unless the user has said something about it.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        import logging

        from mlflow import MlflowClient

        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        for name, value in _PATIENCE.items():
            os.environ.setdefault(name, value)
        try:
            _connect(self.uri)
            client = MlflowClient(self.uri)
            client.search_experiments(max_results=1)
        except Exception as error:
            raise self._unusable(error) from error
        return client

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        """Say in one line what is wrong with the store."""
        from mlflow.exceptions import MlflowException

        try:
            yield
        except (MlflowException, OSError) as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> TrackingError:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return TrackingError(without_passwords(f"tracking store {self.uri} cannot be used: {lines[0]}"))

    @cached_property
    def _commit(self) -> dict[str, str]:
        return _git_commit()

    def _experiment(self, name: str) -> str:
        if name not in self._experiments:
            self._experiments[name] = self._find_or_create_experiment(name)
            self._list_experiments()
        return self._experiments[name]

    def _find_or_create_experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            try:
                return str(self._client.create_experiment(name))
            except MlflowException:  # another invocation was faster
                experiment = self._client.get_experiment_by_name(name)
                if experiment is None:
                    raise
        return str(experiment.experiment_id)

    def _list_experiments(self) -> list[str]:
        self._known = [experiment.experiment_id for experiment in self._client.search_experiments()]
        return self._known

    def _search(self, condition: str, experiments: list[str] | None = None) -> Iterator[Run]:
        """Yield the runs that this harness wrote and that satisfy a condition, the latest first.

        Args:
            condition: In MLflow's words.
            experiments: Where to search (default: in all that there are now).
        """
        experiments = experiments or self._list_experiments()
        token = None
        while True:
            page = self._client.search_runs(
                experiments, condition, max_results=_PAGE, order_by=["start_time DESC"], page_token=token
            )
            yield from page
            token = page.token
            if not token:
                return


def _connect(uri: str) -> None:
    """Connect to a database server once, for MLflow tries again for minutes, even where there is no such database."""
    if uri.partition(":")[0].partition("+")[0] in _DATABASE_SERVERS:
        from sqlalchemy import create_engine

        engine = create_engine(uri)
        engine.connect().close()
        engine.dispose()


def _new_epochs(tracked: TrackedRun) -> list[Metric]:
    return [metric for record in tracked.tail.new() for metric in epoch_metrics(record)]


def _diagnostics(tracked: TrackedRun) -> list[Metric]:
    """Return the numbers of the diagnostic records, by training step; histograms are in the file alone."""
    return [
        metric(f"diagnostics/{name}", value, record.step)
        for record in tracked.folder.diagnostics()
        for name, value in record.values.items()
    ]


def _git_commit() -> dict[str, str]:
    """Return the tag with the commit of the current folder, or nothing outside a repository."""
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=5
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return {}
    return {_GIT_COMMIT: commit}
