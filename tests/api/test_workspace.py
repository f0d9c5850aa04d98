"""One value says where results are tracked, where runs leave their files, and where data sets are."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchbench import api
from benchbench.values import Row
from tests.helpers.line_suite import SUITE, run_inline


def measured(rows: list[Row]) -> list[float | None]:
    return [row.result.final["test/loss"] if row.result else None for row in rows]


def test_a_workspace_means_the_same_in_every_folder_and_a_relative_one_follows(
    workplace: Path, write_suite: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    suite = write_suite(SUITE)
    absolute = api.Workspace(f"sqlite:///{workplace}/mlflow.db", workplace / "runs")
    relative = api.Workspace(runs_dir=Path("runs"))
    rows, _ = run_inline(suite, workspace=absolute)
    assert None not in measured(rows)
    assert api.rows(api.load_suite(suite), workspace=relative) == rows
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert api.rows(api.load_suite(suite), workspace=absolute) == rows
    assert measured(api.rows(api.load_suite(suite), workspace=relative)) == [None] * len(rows)
    assert [item.state for item in api.plan(api.load_suite(suite))] == ["to run"] * len(rows)


def test_results_that_only_the_run_folders_have_are_reported(
    workplace: Path, migrated_store: Path, write_suite: Callable[..., Path]
) -> None:
    path = write_suite(SUITE)
    run_inline(path)
    other = f"sqlite:///{shutil.copy(migrated_store, workplace / 'other.db')}"
    assert api.report(path, workspace=api.Workspace(other)) == api.report(path)
    assert all(
        row.result is None for row in api.rows(api.load_suite(path), workspace=api.Workspace(other, Path("none")))
    )
