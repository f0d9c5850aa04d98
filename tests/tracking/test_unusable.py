"""Stores that cannot be used are said in one line, before anything trains, with what mends them."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import sqlalchemy.exc
from mlflow.exceptions import MlflowException, RestException
from mlflow.protos import databricks_pb2

from benchbench import api
from benchbench.runs.folder import RunFolder
from benchbench.tracking import Store, Tracker, TrackingError
from benchbench.tracking.errors import Fault, fault_of
from tests.conftest import benchbench
from tests.helpers.command_line import call
from tests.helpers.line_suite import SUITE, kinds, mlflow_client, run_inline, tracked
from tests.tracking.commands import SUITE as LINES

SMALL = SUITE.replace("[0, 1]", "[0]")


def last_line(command: str, path: Path, code: int = 2) -> str:
    """Return what a command says that refuses to work with its store, in one line, without any retries of MLflow."""
    shown = call(command, str(path), *(["--engine", "inline"] if command == "run" else []))
    assert shown.exit_code == code, shown.output
    lines = shown.stderr.splitlines()
    assert len(lines) == 1, lines
    [line] = lines
    assert line.startswith("error: ")
    assert "Traceback" not in shown.output
    return line


@pytest.fixture
def no_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow waits for minutes before it gives up."""

    def sleep(seconds: float) -> None:
        raise AssertionError("somebody waits")

    monkeypatch.setattr("mlflow.store.db.utils.time", SimpleNamespace(sleep=sleep))


def make_folder(store: Path, _: bytes) -> None:
    store.mkdir()


def make_text(store: Path, _: bytes) -> None:
    store.write_text("results\n" * 1000)


def cut(store: Path, whole: bytes) -> None:
    store.write_bytes(whole[: len(whole) // 2])


@pytest.mark.usefixtures("no_sleep")
@pytest.mark.parametrize("command", ["run", "plan", "status", "report", "export"])
@pytest.mark.parametrize(
    ("damage", "said", "remedy"),
    [
        (make_folder, "it is a folder", "--tracking-uri or MLFLOW_TRACKING_URI names another"),
        (make_text, "file is not a database", "move it away, and the next command begins a new one"),
        (cut, "database disk image is malformed", "move it away, and the next command begins a new one"),
    ],
)
def test_what_is_no_store_is_said_at_once(
    command: str,
    damage: Callable[[Path, bytes], None],
    said: str,
    remedy: str,
    workplace: Path,
    write_suite: Callable[..., Path],
) -> None:
    path = write_suite(SMALL)
    store = workplace / "mlflow.db"
    whole = store.read_bytes()
    store.unlink()
    damage(store, whole)
    line = last_line(command, path)
    assert f"sqlite:///{store} cannot be used: {said}: {remedy}" in line
    assert "has the results of 0 of the 2 runs" in line
    assert not (workplace / ".benchbench").exists()


@pytest.mark.usefixtures("no_sleep")
def test_moving_a_damaged_store_away_loses_what_the_line_says_and_no_more(
    workplace: Path, write_suite: Callable[..., Path]
) -> None:
    path = write_suite(SMALL)
    rows, _ = run_inline(path)
    assert rows[1].result is not None
    shutil.rmtree(workplace / ".benchbench/runs" / rows[0].spec.key)
    store = workplace / "mlflow.db"
    cut(store, store.read_bytes())
    for command in ("run", "report"):
        assert "has the results of 1 of the 2 runs" in last_line(command, path)
    store.rename(workplace / "damaged.db")
    again = benchbench("run", str(path), "--engine", "inline", cwd=workplace)  # MLflow keeps files open in this process
    assert again.returncode == 0, again.stderr
    assert again.stderr.count(": started") == 1
    assert RunFolder(workplace / ".benchbench/runs" / rows[1].spec.key).result() == rows[1].result
    assert sqlite3.connect(store).execute("SELECT count(*) FROM tags WHERE key = 'benchbench.key'").fetchone() == (2,)


def test_a_store_that_is_emptied_meanwhile_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    store = Store(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = store.experiment("lines")
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("DROP TABLE runs")
    capfd.readouterr()
    with (
        pytest.raises(
            TrackingError, match=r"cannot be used: \(sqlite3.OperationalError\) no such table: runs$"
        ) as raised,
        store.reporting(),
    ):
        store.client.create_run(experiment)
    assert raised.value.fault == "store"
    assert "Traceback" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("uri", ["file:///nowhere/mlruns", "nonsense://host/store"])
def test_a_kind_of_store_that_mlflow_does_not_work_with_cannot_be_used(
    uri: str, workplace: Path, write_suite: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert f"tracking store {uri} cannot be used: " in last_line("run", write_suite(SMALL))
    assert not (workplace / ".benchbench").exists()


def test_damage_in_the_middle_is_found_before_a_run_is_started(
    workplace: Path, write_suite: Callable[..., Path]
) -> None:
    path = write_suite(SMALL)
    store = workplace / "mlflow.db"
    content = bytearray(store.read_bytes())
    [[page]] = sqlite3.connect(store).execute("SELECT rootpage FROM sqlite_master WHERE name = 'datasets'")
    content[4096 * (page - 1) : 4096 * (page - 1) + 200] = b"\xff" * 200
    store.write_bytes(content)
    assert "move it away, and the next command begins a new one" in last_line("run", path)
    assert not (workplace / ".benchbench").exists()


def test_a_store_that_cannot_be_written_is_found_before_a_run_is_started(
    small_disk: Path, workplace: Path, write_suite: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_suite(SMALL)
    shutil.move(workplace / "mlflow.db", small_disk / "mlflow.db")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{small_disk}/mlflow.db")
    assert "you must be able to read and to write it, and its folder" in last_line("run", path)
    assert not (workplace / ".benchbench").exists()
    shown = call("report", str(path))  # which only reads
    assert shown.exit_code == 0, shown.output


@pytest.mark.usefixtures("workplace")
def test_an_experiment_that_was_deleted_can_be_restored_as_the_line_says(write_suite: Callable[..., Path]) -> None:
    path = write_suite(SMALL)
    rows, _ = run_inline(path)
    client = mlflow_client()
    client.delete_experiment(client.get_experiment_by_name("lines").experiment_id)
    line = last_line("run", path)
    assert "experiment 'lines' was deleted in the tracking store" in line
    assert "has the results of 2 of the 2 runs" in line
    renamed, events = run_inline(write_suite(SMALL.replace("name: lines", "name: other"), "other.yaml"))
    assert kinds(events).count("started") == 0
    assert [row.result for row in renamed] == [row.result for row in rows]
    assert len(tracked("other")) == 2
    [uri, identifier] = re.findall(r"`MLFLOW_TRACKING_URI=(\S+) mlflow experiments restore -x (\S+)`", line)[0]
    assert uri == f"sqlite:///{Path.cwd()}/mlflow.db"
    client.restore_experiment(identifier)
    again, events = run_inline(path)
    assert set(kinds(events)) == {"planned"}
    assert [row.result for row in again] == [row.result for row in rows]


@pytest.mark.usefixtures("workplace")
def test_an_experiment_that_is_deleted_meanwhile_ends_as_a_loss_that_the_same_command_makes_up_for(
    write_suite: Callable[..., Path],
) -> None:
    path = write_suite(SMALL)
    suite = api.load_suite(path)
    client, deleted, warnings = mlflow_client(), list[str](), list[str]()

    def delete(event: Any) -> None:
        if event.kind == "ended" and not deleted:
            deleted.append(client.get_experiment_by_name("lines").experiment_id)
            client.delete_experiment(deleted[0])

    with pytest.raises(TrackingError, match="once that is mended") as lost:
        api.run(suite, engine="inline", observe=delete, warn=warnings.append)
    assert "restore -x" in str(lost.value)
    assert [text.partition(";")[2] for text in warnings if "was deleted" in text] == [
        " runs go on, and stay in their folders"
    ]
    client.restore_experiment(deleted[0])
    _, events = run_inline(path)
    assert kinds(events).count("started") == 0
    assert len(tracked()) == 2


@pytest.mark.parametrize("how", ["renamed", "copied"])
def test_a_folder_that_was_moved_puts_no_file_to_its_old_place(
    how: str, tmp_path: Path, migrated_store: Path, monkeypatch: pytest.MonkeyPatch, write_suite: Callable[..., Path]
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    shutil.copy(migrated_store, old / "mlflow.db")
    monkeypatch.chdir(old)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    path = write_suite(SMALL)
    rows, _ = run_inline(path)
    if how == "renamed":
        monkeypatch.chdir(tmp_path)
        old.rename(new)
    else:
        shutil.copytree(old, new)
    monkeypatch.chdir(new)
    before = sorted(old.rglob("*"))
    again, events = run_inline(path)  # all is done
    assert set(kinds(events)) == {"planned"}
    assert [row.result for row in again] == [row.result for row in rows]
    more = write_suite(SUITE)
    line = last_line("run", more)
    assert f"belong into {old}/mlruns/1, which is not this store's: the folder was moved" in line
    assert "has the results of 2 of the 4 runs" in line
    assert sorted(old.rglob("*")) == before
    if how == "renamed":  # the first remedy
        old.symlink_to(new)
    else:  # the second one
        (new / "mlflow.db").rename(new / "old.db")
    done = benchbench("run", str(more), "--engine", "inline", cwd=new)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(": started") == 2
    assert len(list(new.glob("mlruns/1/*/artifacts/result.json"))) == (4 if how == "renamed" else 6)


def sqlite_error(statement: str) -> sqlite3.Error:
    try:
        sqlite3.connect(":memory:").execute(statement)
    except sqlite3.Error as error:
        return error
    raise AssertionError


def coded(kind: type[Exception], name: str, code: str) -> Exception:
    error = kind("said by the database")
    setattr(error, name, code)
    return error


def by_mlflow(cause: Exception, code: int = databricks_pb2.TEMPORARILY_UNAVAILABLE) -> MlflowException:
    """Return an error as MLflow makes it of a database's."""
    middle = sqlalchemy.exc.OperationalError("SELECT 1", {}, cause)
    error = MlflowException(message=middle, error_code=code)
    error.__cause__ = middle
    return error


FAULTS: list[tuple[Fault, BaseException]] = [
    ("away", MlflowException("API request failed with exception Connection refused")),
    ("away", MlflowException("busy", databricks_pb2.REQUEST_LIMIT_EXCEEDED)),
    ("away", MlflowException("busy", databricks_pb2.TEMPORARILY_UNAVAILABLE)),
    ("away", RestException({"error_code": "502", "message": "a proxy"})),
    ("away", requests.ConnectionError("no route")),
    ("away", TimeoutError("too slow")),
    ("away", OSError(28, "No space left on device")),
    ("away", by_mlflow(coded(sqlite3.OperationalError, "sqlite_errorname", "SQLITE_BUSY_SNAPSHOT"))),
    ("away", by_mlflow(coded(sqlite3.OperationalError, "sqlite_errorname", "SQLITE_FULL"))),
    ("away", by_mlflow(coded(sqlite3.OperationalError, "sqlite_errorname", "SQLITE_IOERR_WRITE"))),
    ("away", by_mlflow(coded(Exception, "pgcode", "57P01"))),
    ("away", by_mlflow(coded(Exception, "pgcode", "40001"))),
    ("away", by_mlflow(coded(Exception, "sqlstate", "08006"), databricks_pb2.BAD_REQUEST)),
    ("store", by_mlflow(coded(sqlite3.OperationalError, "sqlite_errorname", "SQLITE_READONLY_DIRECTORY"))),
    (
        "store",
        by_mlflow(coded(sqlite3.DatabaseError, "sqlite_errorname", "SQLITE_CORRUPT"), databricks_pb2.BAD_REQUEST),
    ),
    ("store", by_mlflow(sqlite_error("SELECT * FROM nothing"))),
    ("store", by_mlflow(coded(Exception, "pgcode", "42501"), databricks_pb2.BAD_REQUEST)),
    ("store", by_mlflow(coded(Exception, "sqlstate", "28P01"))),
    ("store", MlflowException("no", databricks_pb2.PERMISSION_DENIED)),
    ("store", RestException({"error_code": "UNAUTHENTICATED", "message": "who are you?"})),
    ("store", RestException({"error_code": "401", "message": "who are you?"})),
    ("store", RestException({"error_code": "404", "message": "this is no MLflow"})),
    ("store", ModuleNotFoundError("No module named 'psycopg2'", name="psycopg2")),
    ("store", PermissionError(13, "Permission denied")),
    ("store", OSError(30, "Read-only file system")),
    ("run", MlflowException("names may only contain", databricks_pb2.INVALID_PARAMETER_VALUE)),
    ("run", RestException({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such run"})),
    ("run", by_mlflow(coded(Exception, "pgcode", "22001"), databricks_pb2.BAD_REQUEST)),
    ("run", by_mlflow(coded(Exception, "pgcode", "23505"), databricks_pb2.BAD_REQUEST)),
    ("run", FileNotFoundError(2, "No such file", "result.json")),
]


@pytest.mark.parametrize(("fault", "error"), FAULTS, ids=lambda value: str(value)[:40])
def test_it_is_told_whose_fault_an_error_is(fault: Fault, error: BaseException) -> None:
    assert fault_of(error) == fault


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everything")
def test_a_store_without_permission(workplace: Path) -> None:
    (workplace / "mlflow.db").chmod(0o400)
    with pytest.raises(TrackingError, match="you must be able to read and to write it") as caught:
        Tracker().prepare(LINES)
    assert caught.value.fault == "store"


def test_a_store_that_is_made_here_is_the_users_own_affair(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        Store(f"sqlite:///{tmp_path}/new/mlflow.db").prepare("suite")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new" / "mlflow.db").stat().st_mode) == 0o600
