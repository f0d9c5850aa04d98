"""A tracking store as MLflow opens it: its client, its experiments, and the runs of this harness in it."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchbench.signals import postponed
from benchbench.tracking import schema
from benchbench.tracking.entities import TAG
from benchbench.tracking.errors import TrackingError, remedy_for, without_passwords

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run, RunInfo

_SQLITE = "sqlite:///"
_DEFAULT_URI = f"{_SQLITE}mlflow.db"
"""MLflow's own default: a file in the current folder."""
_DATABASE_SERVERS = ("postgresql", "mysql", "mssql")
_PAGE = 1000
_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
"""MLflow's own patience is minutes, in which no run would be started; folders can wait for a store that is away."""


class Store:
    """One MLflow tracking store; nothing is opened before it is needed.

    Args:
        uri: Tracking URI; by default `MLFLOW_TRACKING_URI`, or a SQLite file in the current folder.

    Attributes:
        uri: The same, with an absolute path.
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

    @property
    def is_new(self) -> bool:
        """Whether there is nothing in it yet, not even a file."""
        return self._file is not None and not self._file.exists()

    @cached_property
    def client(self) -> MlflowClient:
        """MLflow's client."""
        _import_mlflow()
        from mlflow import MlflowClient

        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        for name, value in _PATIENCE.items():
            os.environ.setdefault(name, value)
        try:
            if self._file is not None and self.is_new:
                _make(self._file)
            _connect(self.uri)
            client = MlflowClient(self.uri)
            client.search_experiments(max_results=1)
        except Exception as error:
            raise self._unusable(error) from error
        return client

    def schema_age(self) -> schema.Age | None:
        """Return how a database's tables stand to the installed MLflow, `None` for a store that is no database.

        Nothing is changed, while MLflow's client brings older tables up to date as soon as it opens them.

        Raises:
            TrackingError: The database cannot be read.
        """
        try:
            return schema.age(self.uri) if _is_database(self.uri) else None
        except Exception as error:
            raise self._unusable(error) from error

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Say in one line what is wrong with the store.

        Raises:
            TrackingError: It cannot be used.
        """
        _import_mlflow()
        from mlflow.exceptions import MlflowException

        try:
            yield
        except (MlflowException, OSError) as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> TrackingError:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        message = without_passwords(f"tracking store {self.uri} cannot be used: {lines[0]}")
        return TrackingError(message, remedy_for(error))

    def experiment(self, name: str) -> str:
        """Return MLflow's identifier of an experiment, which is created if there is none of that name."""
        if name not in self._experiments:
            self._experiments[name] = self._find_or_create_experiment(name)
        return self._experiments[name]

    def _find_or_create_experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        experiment = self.client.get_experiment_by_name(name)
        if experiment is None:
            try:
                return str(self.client.create_experiment(name))
            except MlflowException:  # another invocation was faster
                experiment = self.client.get_experiment_by_name(name)
                if experiment is None:
                    raise
        return str(experiment.experiment_id)

    def keep_files(self, run: RunInfo, files: Sequence[Path]) -> None:
        """Keep files with a run. MLflow's client would ask the store again where each run's files belong."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
        from mlflow.utils.uri import add_databricks_profile_info_to_artifact_uri

        place = add_databricks_profile_info_to_artifact_uri(run.artifact_uri, self.uri)  # type: ignore[no-untyped-call]
        repository = get_artifact_repository(place, tracking_uri=self.uri)
        for file in files:
            repository.log_artifact(str(file))  # type: ignore[no-untyped-call]

    def runs(self, condition: str = f"tags.`{TAG}key` != ''") -> Iterator[Run]:
        """Yield the runs that this harness wrote and that satisfy a condition, the latest first."""
        experiments = [experiment.experiment_id for experiment in self.client.search_experiments()]
        token = None
        while True:
            page = self.client.search_runs(
                experiments, condition, max_results=_PAGE, order_by=["start_time DESC"], page_token=token
            )
            yield from page
            token = page.token
            if not token:
                return


def _import_mlflow() -> None:
    """Import MLflow as a whole: it takes seconds, and what was broken off could not be imported again."""
    # Usage telemetry is the user's choice, so it is off unless the user has said something about it.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    with postponed():
        import mlflow  # noqa: F401


def _make(file: Path) -> None:
    """Make a SQLite store, whole or not at all: it takes MLflow seconds, and what was broken off it cannot use."""
    from mlflow import MlflowClient

    file.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{file.name}-", dir=file.parent) as folder:
        made = Path(folder) / file.name
        MlflowClient(f"{_SQLITE}{made}").search_experiments(max_results=1)
        try:
            os.link(made, file)
        except FileExistsError:  # another invocation was faster
            return
        except OSError:  # a file system without links
            made.replace(file)


def _is_database(uri: str) -> bool:
    return uri.partition(":")[0].partition("+")[0] in ("sqlite", *_DATABASE_SERVERS)


def _connect(uri: str) -> None:
    """Connect to a database server once; MLflow tries for minutes, even where there is no database of that name."""
    if not uri.startswith(_SQLITE) and _is_database(uri):
        from sqlalchemy import create_engine

        engine = create_engine(uri)
        engine.connect().close()
        engine.dispose()


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Let nobody look for garbage: MLflow makes dozens of objects per run, and looking takes longer than that."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
