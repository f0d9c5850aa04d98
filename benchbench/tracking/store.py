"""A tracking store as MLflow opens it: its client, its experiments, and the runs of this harness in it."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from benchbench.processes.signals import postponed
from benchbench.processes.temporary import remove_abandoned, temporary_folder
from benchbench.tracking import schema
from benchbench.tracking.entities import TAG
from benchbench.tracking.errors import TrackingError, fault_of, remedy_for, without_passwords

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run, RunInfo
    from mlflow.store.entities import PagedList

_Found = TypeVar("_Found")

_SQLITE = "sqlite:///"
_DEFAULT_URI = f"{_SQLITE}mlflow.db"
"""MLflow's own default: a file in the current folder."""
_DATABASE_SERVERS = ("postgresql", "mysql", "mssql")
_PAGE = 1000
_ASIDE = "(raised as a result of "
"""A line that SQLAlchemy may put before what has happened."""
_SETTINGS = {
    # Its own patience is minutes, in which no run would be started; folders can wait for a store that is away.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    # Standard output is for tables and JSON.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
"""Settings of MLflow, unless the user has said something else."""


_PATIENCE_WITH_WRITERS = 5.0
"""Seconds that a look at a SQLite store waits for a command that is writing there."""


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
        """True if there is nothing in it yet, not even a file."""
        return self._file is not None and not self._file.exists()

    @cached_property
    def client(self) -> MlflowClient:
        """MLflow's client."""
        _import_mlflow()
        from mlflow import MlflowClient

        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        # It prints the traceback of every error that it raises; `reporting` says them in a line.
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        try:
            if self._file is not None and self.is_new:
                _make(self._file)
            if self._file is not None:
                remove_abandoned(_beginning(self._file), self._file.parent)
                _look_into(self._file)
            _connect(self.uri)
            client = MlflowClient(self.uri)
            client.search_experiments(max_results=1)
        except Exception as error:
            raise self._unusable(error, opening=True) from error
        return client

    def prepare(self, experiment: str) -> None:
        """Find out what would keep the runs of an experiment from being written, before any of them is made.

        Raises:
            TrackingError: They cannot be written.
        """
        client = self.client
        try:
            if self._file is not None:
                _check_writable(self._file)
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        with self.reporting():
            found = client.get_experiment(self.experiment(experiment))
            if self._keeps_files_nowhere(found):
                raise TrackingError(
                    f"the files of experiment {experiment!r} in {without_passwords(self.uri)} belong into "
                    f"{found.artifact_location}, which is not this store's: the folder was moved, copied or deleted",
                    "bring it back (a link will do, or an empty one), or move the store away, too, for a new one",
                    "store",
                )

    def _keeps_files_nowhere(self, experiment: Experiment) -> bool:
        """Return whether an experiment of which files were kept on this machine is bound to a folder it has left."""
        from mlflow.utils.file_utils import local_file_uri_to_path
        from mlflow.utils.uri import is_local_uri

        if not is_local_uri(experiment.artifact_location):  # type: ignore[no-untyped-call]
            return False
        folder = Path(local_file_uri_to_path(experiment.artifact_location))  # type: ignore[no-untyped-call]
        if self._file is not None:
            # MLflow puts them where it was called; are some of this experiment next to the store instead, it was moved.
            beside = self._file.parent.joinpath(*folder.parts[-2:])
            if beside.is_dir() and beside.resolve() != folder.resolve():
                return True
        if folder.is_dir():
            return False
        condition = f"tags.`{TAG}outcome` != 'running'"
        return bool(self.client.search_runs([experiment.experiment_id], condition, max_results=1))

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

    def _unusable(self, error: Exception, *, opening: bool = False) -> TrackingError:
        said = str(error).strip().splitlines()
        lines = [line for line in said if not line.startswith(_ASIDE)] or [type(error).__name__]
        fault = fault_of(error)
        if opening and fault == "run":  # there is none yet
            fault = "store"
        what = "refuses a run" if fault == "run" else "cannot be used"
        message = without_passwords(f"tracking store {self.uri} {what}: {lines[0]}")
        return TrackingError(message, remedy_for(error), fault)

    def experiment(self, name: str) -> str:
        """Return MLflow's identifier of an experiment, which is created if there is none of that name.

        Raises:
            TrackingError: It was deleted in MLflow, which keeps its name.
        """
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
        if experiment.lifecycle_stage != "active":
            uri = without_passwords(self.uri)
            restoring = f"MLFLOW_TRACKING_URI={uri} mlflow experiments restore -x {experiment.experiment_id}"
            raise TrackingError(
                f"experiment {name!r} was deleted in the tracking store {uri}, and its runs with it",
                f"`{restoring}` brings them back, and under another name a suite has an experiment of its own",
                "store",
            )
        return str(experiment.experiment_id)

    def create_run(self, experiment: str, tags: Mapping[str, str], name: str) -> Run:
        """Create a run in an experiment, which is created if there is none of that name.

        Raises:
            TrackingError: The experiment was deleted in MLflow.
        """
        try:
            return self.client.create_run(self.experiment(experiment), tags=dict(tags), run_name=name)
        except Exception:
            self._experiments.pop(experiment, None)
            self.experiment(experiment)
            raise

    def keep_files(self, run: RunInfo, files: Sequence[Path]) -> None:
        """Keep files with a run. MLflow's client would ask the store again where each run's files belong."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
        from mlflow.utils.uri import add_databricks_profile_info_to_artifact_uri

        place = add_databricks_profile_info_to_artifact_uri(run.artifact_uri, self.uri)  # type: ignore[no-untyped-call]
        try:
            repository = get_artifact_repository(place, tracking_uri=self.uri)
            for file in files:
                repository.log_artifact(str(file))  # type: ignore[no-untyped-call]
        except Exception as error:  # of clouds' libraries
            raise self._unusable(error) from error

    def runs(self, condition: str = f"tags.`{TAG}key` != ''") -> Iterator[Run]:
        """Yield the runs that this harness wrote and that satisfy a condition, the latest first."""
        experiments = [
            experiment.experiment_id
            for experiment in _pages(lambda token: self.client.search_experiments(max_results=_PAGE, page_token=token))
        ]
        yield from _pages(
            lambda token: self.client.search_runs(
                experiments, condition, max_results=_PAGE, order_by=["start_time DESC"], page_token=token
            )
        )


def _pages(ask: Callable[[str | None], PagedList[_Found]]) -> Iterator[_Found]:
    """Yield what MLflow finds, page by page."""
    token = None
    while True:
        page = ask(token)
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
    with temporary_folder(_beginning(file), file.parent) as folder:
        made = folder / file.name
        MlflowClient(f"{_SQLITE}{made}").search_experiments(max_results=1)
        made.chmod(0o600)  # as the files of the runs that are copied into it
        try:
            os.link(made, file)
        except FileExistsError:  # another invocation was faster
            return
        except OSError:  # a file system without links
            made.replace(file)


def _beginning(file: Path) -> str:
    """Return what the names of the folders begin with in which a SQLite store is made."""
    return f".{file.name}-"


def _look_into(file: Path) -> None:
    """Read a SQLite store; MLflow tries for minutes, even where there is a folder, or no database, of that name.

    Raises:
        IsADirectoryError: It is a folder.
        sqlite3.Error: It cannot be read.
    """
    if file.is_dir():
        raise IsADirectoryError("it is a folder")
    with _connected(file) as connection:
        connection.execute("SELECT count(*) FROM sqlite_master")


def _check_writable(file: Path) -> None:
    """Read the whole of a SQLite store, and begin to write, which opens its journal.

    Raises:
        sqlite3.Error: It is damaged, or cannot be written.
    """
    with _connected(file) as connection:
        [[version]] = connection.execute("PRAGMA user_version")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("ROLLBACK")
        [[found]] = connection.execute("PRAGMA quick_check(1)")
        if found != "ok":
            error = sqlite3.DatabaseError(f"it is damaged: {' '.join(found.split())}")
            error.sqlite_errorname = "SQLITE_CORRUPT"
            raise error


@contextmanager
def _connected(file: Path) -> Iterator[sqlite3.Connection]:
    """Open a SQLite file, past MLflow; that another command is writing there at the moment is no error.

    Yields:
        The connection, without transactions that it would begin by itself.

    Raises:
        sqlite3.OperationalError: What was done with it has failed.
    """
    connection = sqlite3.connect(f"{file.as_uri()}?mode=rw", timeout=_PATIENCE_WITH_WRITERS, uri=True)
    try:
        connection.isolation_level = None
        yield connection
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname != "SQLITE_BUSY":
            raise
    finally:
        connection.close()


def _is_database(uri: str) -> bool:
    return uri.partition(":")[0].partition("+")[0] in ("sqlite", *_DATABASE_SERVERS)


def _connect(uri: str) -> None:
    """Connect to a database server once; MLflow tries for minutes, even where there is no database of that name."""
    if not uri.startswith(_SQLITE) and _is_database(uri):
        from sqlalchemy import create_engine

        engine = create_engine(uri)
        engine.connect().close()
        engine.dispose()
