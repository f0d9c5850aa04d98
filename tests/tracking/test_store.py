"""A store as MLflow opens it: made once, read to its end."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from mlflow import MlflowClient

from benchbench.runs.folder import RunFolder
from benchbench.tracking import Store, Tracker, store
from tests.tracking.commands import SPEC, Command, result_of


@pytest.mark.parametrize("page", [1, 2, 1000])
def test_all_pages_are_read(page: int, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = f"sqlite:///{workplace}/mlflow.db"
    command = Command(uri, workplace / "runs")
    specs = [SPEC.model_copy(update={"seed": seed, "suite": f"suite {seed % 3}"}) for seed in range(5)]
    for spec in specs:
        command.end(command.begin(spec), result_of(spec.seed / 10, spec=spec))
    command.leave()
    monkeypatch.setattr(store, "_PAGE", page)
    assert Tracker(uri).results(specs) == {spec.key: result_of(spec.seed / 10, spec=spec) for spec in specs}


def test_a_store_that_another_command_has_just_made_is_not_made_again(
    tmp_path: Path, migrated_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mlflow.db"
    link = os.link

    def too_late(made: Path, there: Path) -> None:
        if not file.exists():
            shutil.copy(migrated_store, file)
            MlflowClient(f"sqlite:///{file}").create_experiment("theirs")
        link(made, there)

    monkeypatch.setattr(store.os, "link", too_late)
    client = Store(f"sqlite:///{file}").client
    assert client.get_experiment_by_name("theirs") is not None
    assert sqlite3.connect(file).execute("SELECT count(*) FROM experiments WHERE name = 'theirs'").fetchone() == (1,)
    assert not list(tmp_path.glob(".mlflow.db-*"))


def test_the_commit_of_a_key_is_that_of_the_run_whose_result_is_shown(workplace: Path) -> None:
    uri = f"sqlite:///{workplace}/mlflow.db"
    command, other = Command(uri, workplace / "runs"), Command(uri, workplace / "other")
    command.tracker.__dict__["_commit"] = {"mlflow.source.git.commit": "of the result"}
    other.tracker.__dict__["_commit"] = {"mlflow.source.git.commit": "of what is at work"}
    command.run(result_of(0.1))
    other.begin()
    assert Tracker(uri).commits([SPEC.key, "another"]) == {SPEC.key: "of the result"}
    other.leave()
    command.leave()


def test_files_are_those_of_the_run_whose_result_is_shown(workplace: Path, tmp_path: Path) -> None:
    (kept := tmp_path / "kept").mkdir()
    uri = f"sqlite:///{workplace}/mlflow.db"
    command, other = Command(uri, workplace / "runs"), Command(uri, workplace / "other")
    command.run(result_of(0.1))
    at_work = other.begin()
    other.tracker._store.keep_files(at_work.info, [RunFolder(workplace / "other" / SPEC.key).spec_file])
    Tracker(uri).fetch(SPEC.key, ["result.json", "spec.json", "diagnostics.jsonl"], kept)
    assert {file.name for file in kept.iterdir()} == {"result.json", "spec.json"}
    other.leave()
    command.leave()
