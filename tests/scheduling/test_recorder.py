"""The tracking store goes away and comes back: every run is in it exactly once in the end."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from benchbench import api, tracking
from benchbench.runs.folder import RunFolder
from benchbench.scheduling import recorder
from benchbench.scheduling.recorder import TrackingLostError
from benchbench.tracking import Tracker, TrackingError, without_passwords
from benchbench.tracking.entities import stored_name
from benchbench.values import RunResult
from tests.conftest import STUBS, benchbench, wait_for
from tests.helpers import servers
from tests.helpers.line_suite import SLOW, SUITE, histories, kinds, run_inline, tracked
from tests.tracking.commands import SPEC, Command, active
from tests.tracking.test_names import VALUES

pytestmark = pytest.mark.xdist_group("servers")


class Unreliable(Tracker):
    """A store of which every call can fail, before it has done something or after that."""

    chance = random.Random()
    failures = 0.3

    def _failing(self, call: Callable[[], Any]) -> Any:
        if self.chance.random() < self.failures / 2:
            raise TrackingError("lost on the way there")
        value = call()
        if self.chance.random() < self.failures / 2:
            raise TrackingError("lost on the way back")
        return value

    def begin_invocation(self, *arguments: Any) -> Any:
        return self._failing(lambda: super(Unreliable, self).begin_invocation(*arguments))

    def begin_run(self, *arguments: Any) -> Any:
        return self._failing(lambda: super(Unreliable, self).begin_run(*arguments))

    def follow(self, *arguments: Any) -> Any:
        return self._failing(lambda: super(Unreliable, self).follow(*arguments))

    def end_run(self, *arguments: Any) -> Any:
        return self._failing(lambda: super(Unreliable, self).end_run(*arguments))


@pytest.fixture
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that are over at once."""
    ticks = iter(range(10**9))
    monkeypatch.setattr(recorder.time, "monotonic", lambda: 1000.0 * next(ticks))
    monkeypatch.setattr(recorder.time, "sleep", lambda seconds: None)


def by_run(runs: list[Run]) -> dict[tuple[str, str], Any]:
    return {(run.data.tags["benchbench.method"], run.data.params["seed"]): run.info.status for run in runs}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.usefixtures("workplace", "quick_pauses")
def test_whatever_is_lost_on_the_way_every_run_arrives_once(
    seed: int, write_suite: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    Unreliable.chance = random.Random(seed)
    path = write_suite(SUITE)
    warnings: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(tracking, "Tracker", Unreliable)
        for attempt in range(10):
            try:
                run_inline(path, warn=warnings.append)
            except TrackingLostError as error:
                assert attempt < 9
                assert "the same command writes it there" in str(error)
            else:
                break
    assert warnings
    rows, events = run_inline(path)
    assert set(kinds(events)) == {"planned"}
    runs = tracked()
    assert sorted(run.data.tags["benchbench.key"] for run in runs) == sorted(row.spec.key for row in rows)
    assert {run.info.status for run in runs} == {"FINISHED"}
    for history in histories(runs).values():
        assert [step for step, _ in history["validation/loss"]] == [1, 2, 3]
    for row in rows:
        assert row.result == RunFolder(Path(".benchbench/runs", row.spec.key)).result()


class Choosy(Tracker):
    """A store that never takes one of the runs."""

    def end_run(self, tracked: Any, result: Any) -> Any:
        spec = tracked.folder.spec()
        if (spec.method, spec.seed) == ("SGD", 0):
            raise TrackingError("this one I do not like")
        return super().end_run(tracked, result)


@pytest.mark.usefixtures("workplace", "quick_pauses")
def test_a_run_that_is_refused_keeps_no_other_from_being_tracked(
    write_suite: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "Tracker", Choosy)
    warnings: list[str] = []
    with pytest.raises(TrackingLostError, match=r"^1 run could not be written"):
        run_inline(write_suite(SUITE), warn=warnings.append)
    finished = [run for run in tracked() if run.info.status == "FINISHED"]
    assert len(by_run(finished)) == 3
    assert all("this one I do not like" in text for text in warnings)


@pytest.mark.slow
def test_a_database_that_is_locked_meanwhile_gets_everything(workplace: Path, write_suite: Callable[..., Path]) -> None:
    path = write_suite(SUITE)
    api.load_suite(path)
    warnings: list[str] = []
    locked, done = threading.Event(), threading.Event()

    def lock_when_it_has_begun() -> None:
        wait_for(lambda: list(workplace.glob(".benchbench/runs/*/result.json")))
        connection = sqlite3.connect(workplace / "mlflow.db", timeout=60, isolation_level=None)
        connection.execute("BEGIN EXCLUSIVE")
        locked.set()
        wait_for(lambda: warnings)
        connection.execute("ROLLBACK")
        connection.close()
        done.set()

    thread = threading.Thread(target=lock_when_it_has_begun)
    thread.start()
    rows = api.run(path, slots=1, warn=warnings.append)
    thread.join()
    assert locked.is_set() and done.is_set()
    assert len(warnings) == 1
    assert "locked" in warnings[0]
    assert [row.result.outcome for row in rows if row.result] == ["finished"] * 4
    assert by_run(tracked()).keys() == {(method, seed) for method in ("SGD", "AdamW") for seed in "01"}
    assert {run.info.status for run in tracked()} == {"FINISHED"}


@pytest.fixture(scope="module")
def server() -> Iterator[servers.TrackingServer]:
    """MLflow's server with PostgreSQL behind it."""
    pytest.importorskip("psycopg2", reason="needs psycopg2-binary, which is in the extra 'test'")
    binaries = servers.postgresql_binaries()
    if binaries is None:
        pytest.skip("needs PostgreSQL (apt install postgresql)")
    # PostgreSQL runs as another user, to whom the next pytest that starts would close the folders of this one.
    with (
        tempfile.TemporaryDirectory(prefix="benchbench-", ignore_cleanup_errors=True) as name,
        servers.postgresql(binaries, Path(name, "postgresql")) as store,
    ):
        made = servers.TrackingServer(store, Path(name), servers.free_port())
        made.start()
        yield made
        made.kill()


def on_server(uri: str) -> list[Run]:
    client = MlflowClient(uri)
    found = client.get_experiment_by_name("lines")
    runs = client.search_runs([found.experiment_id]) if found else []
    return [run for run in runs if "benchbench.key" in run.data.tags]


@pytest.mark.slow
def test_a_server_that_is_killed_in_the_middle_gets_the_rest_from_the_next_command(
    server: servers.TrackingServer, workplace: Path, write_suite: Callable[..., Path]
) -> None:
    path = write_suite(SLOW)
    command = [str(Path(sys.executable).with_name("benchbench")), "run", str(path), "--tracking-uri", server.uri]
    running = subprocess.Popen(command, cwd=workplace, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: list(workplace.glob(".benchbench/runs/*/metrics.jsonl")))
    server.kill()
    _, errors = running.communicate(timeout=300)
    assert running.returncode == 1, errors
    assert errors.count("warning:") == 1
    assert "runs go on, and are written to it when it is back" in errors
    assert "could not be written to the tracking store" in errors
    assert errors.count(": finished") == 4
    assert "Traceback" not in errors
    server.start()
    again = benchbench("run", str(path), "--tracking-uri", server.uri, cwd=workplace)
    assert again.returncode == 0, again.stderr
    assert ": started" not in again.stderr
    runs = on_server(server.uri)
    assert len(by_run(runs)) == len(runs) == 4
    assert {run.info.status for run in runs} == {"FINISHED"}
    client = MlflowClient(server.uri)
    for run in runs:
        assert [point.step for point in client.get_metric_history(run.info.run_id, "validation/loss")] == [1, 2, 3]
        assert {"result.json", "spec.json"} <= {file.path for file in client.list_artifacts(run.info.run_id)}
    rows = api.rows(api.load_suite(path), workspace=api.Workspace(server.uri))
    assert [row.result.outcome for row in rows if row.result] == ["finished"] * 4


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["a file that is not there yet", "a server"])
def test_three_folders_that_start_a_suite_at_once_leave_each_run_once(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    uri = f"sqlite:///{tmp_path}/new.db" if kind.startswith("a file") else request.getfixturevalue("server").uri
    text = SUITE.replace("name: lines", f"name: racing to {kind}").replace("STUBS", str(STUBS))
    folders = [tmp_path / name for name in ("first", "second", "third")]
    for folder in folders:
        folder.mkdir()
        (folder / "suite.yaml").write_text(text)
    command = [str(Path(sys.executable).with_name("benchbench")), "run", "suite.yaml", "--engine", "inline"]
    running = [
        subprocess.Popen(
            [*command, "--tracking-uri", uri], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for folder in folders
    ]
    said = [process.communicate(timeout=300) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], said
    client = MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name(f"racing to {kind}").experiment_id])
    written = [run.data.tags["benchbench.key"] for run in runs if "benchbench.key" in run.data.tags]
    suite = api.load_suite(folders[0] / "suite.yaml")
    assert sorted(written) == sorted(spec.key for spec in suite.specs)
    assert {run.info.status for run in runs} == {"FINISHED"}
    reports = [api.rows(suite, workspace=api.Workspace(uri, folder / ".benchbench/runs")) for folder in folders]
    assert reports[0] == reports[1] == reports[2]
    assert len({shown for shown, _ in said}) == 1
    assert not [line for _, errors in said for line in errors.splitlines() if "error" in line or "Traceback" in line]


@pytest.mark.slow
def test_names_of_all_kinds_reach_a_database_through_a_server(server: servers.TrackingServer, tmp_path: Path) -> None:
    command = Command(server.uri, tmp_path / "runs")
    spec = SPEC.model_copy(
        update={"optimizer": SPEC.optimizer.model_copy(update={"parameters": {**VALUES, "nul": "\0" * 9000}})}
    )
    long = {f"test/{'准' * 240}{number}": 0.5 for number in range(1500)}
    result = RunResult(key=spec.key, outcome="finished", epochs=1, final={**VALUES, **long}, message="\0 and \n")
    command.end(command.begin(spec), result)
    command.leave()
    assert Tracker(server.uri).results([spec]) == {spec.key: result}
    [run] = [run for run in active(server.uri) if run.data.tags["benchbench.key"] == spec.key]
    assert {stored_name(f"final/{name}") for name in result.final} <= run.data.metrics.keys()
    assert {stored_name(f"optimizer.{name}") for name in VALUES} <= run.data.params.keys()


def test_a_database_that_cannot_be_reached_is_said_at_once() -> None:
    pytest.importorskip("psycopg2", reason="needs psycopg2-binary, which is in the extra 'test'")
    with pytest.raises(TrackingError, match=r"cannot be used: .*refused") as error:
        Tracker("postgresql+psycopg2://me:secret@127.0.0.1:1/none").results([SPEC])
    assert "secret" not in str(error.value)


@pytest.mark.slow
def test_a_database_is_used_without_a_server_too_and_its_password_is_kept(
    server: servers.TrackingServer, workplace: Path, write_suite: Callable[..., Path]
) -> None:
    # Seeds of its own: what the server has of other tests' runs need not be run again.
    path = write_suite(SUITE.replace("name: lines", "name: direct").replace("seeds: [0", "seeds: [70"))
    shown = benchbench("run", str(path), "--tracking-uri", server.store, cwd=workplace)
    assert shown.returncode == 0, shown.stderr
    wrong = server.store.replace("/postgres", "/nowhere")
    refused = benchbench("run", str(path), "--tracking-uri", wrong, cwd=workplace, MLFLOW_SQLALCHEMYSTORE_ECHO="false")
    assert refused.returncode == 2
    assert 'database "nowhere" does not exist' in refused.stderr.splitlines()[-1]
    log = (server.folder / "postgresql" / "log").read_text()
    assert log.count('FATAL:  database "nowhere" does not exist') == 1  # MLflow would ask again, for minutes
    said = shown.stdout + shown.stderr + refused.stdout + refused.stderr
    assert "***@127.0.0.1" in refused.stderr
    left = [file.read_bytes() for file in (workplace / ".benchbench").rglob("*") if file.is_file()]
    client = MlflowClient(server.store)
    found = client.get_experiment_by_name("direct")
    kept = [str(run.to_dictionary()) for run in client.search_runs([found.experiment_id])]
    assert servers.PASSWORD not in "".join([said, *kept])
    assert not any(servers.PASSWORD.encode() in content for content in left)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:secret@host:5432/db is away", "postgresql://***@host:5432/db is away"),
        ("http://me:se@cret@host/path", "http://***@host/path"),
        ("postgresql://host/db?user=me&password=secret&x=1", "postgresql://host/db?user=me&password=***&x=1"),
        ("http://host/?sslpassword=secret&access_token=secret", "http://host/?sslpassword=***&access_token=***"),
        ("sqlite:////tmp/a@b.db", "sqlite:////tmp/a@b.db"),
        ("http://host/path/user@example", "http://host/path/user@example"),
    ],
)
def test_credentials_are_masked(text: str, shown: str) -> None:
    assert without_passwords(text) == shown


@pytest.mark.parametrize("name", ["MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"])
def test_credentials_of_the_environment_are_masked(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "s3cr3t")
    assert without_passwords("the header was Bearer s3cr3t") == "the header was Bearer ***"


def test_credentials_are_kept_from_runs(workplace: Path, write_suite: Callable[..., Path]) -> None:
    path = write_suite(
        SUITE.replace(":line", ":environment")
        .replace("steps: 4", f"variable: MLFLOW_TRACKING_TOKEN, folder: {workplace}")
        .replace("[0, 1]", "[0]")
    )
    done = benchbench("run", str(path), cwd=workplace, MLFLOW_TRACKING_TOKEN="s3cr3t")
    assert done.returncode == 0, done.stderr
    [seen] = [file.read_text() for file in workplace.glob("*.txt")]
    assert seen.startswith("None ")


@pytest.mark.usefixtures("workplace")
def test_a_server_that_never_was_there_ends_the_command_before_any_run(
    write_suite: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError, match=r"http://\*\*\*@127.0.0.1:9 cannot be used") as caught:
        run_inline(write_suite(SUITE), workspace=api.Workspace("http://me:secret@127.0.0.1:9"))
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not Path(".benchbench").exists()
