"""Executions with faults, and what an undisturbed one gives."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchbench import api
from benchbench.values import Row
from tests.conftest import STUBS
from tests.helpers.line_suite import SUITE, tracked

FOUR_SEEDS = SUITE.replace("seeds: [0, 1]", "seeds: [0, 1, 2, 3]")

MISBEHAVING = Path(__file__).with_name("misbehaving_workloads.py")

TRIALS = int(os.environ.get("BENCHBENCH_FAULT_TRIALS", "6"))
"""How often processes are killed at random moments; each trial has a seed of its own."""


def numbers(rows: Sequence[Row]) -> dict[str, Any]:
    """Return what must not depend on any fault, by label and seed: metrics, and counts of the cost."""
    return {
        f"{row.spec.method} {row.spec.seed}": (
            row.result.final,
            row.result.best,
            row.result.cost.model_dump(include={"steps", "forwards", "gradients", "hvps"}),
        )
        for row in rows
        if row.result is not None
    }


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> dict[str, Any]:
    """What the suite of lines gives when nothing happens, by label and seed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "suite.yaml").write_text(FOUR_SEEDS.replace("STUBS", str(STUBS)))
    (folder / "mlflow.db").write_bytes(migrated_store.read_bytes())
    uri = f"sqlite:///{folder}/mlflow.db"
    rows = api.run(folder / "suite.yaml", engine="inline", workspace=api.Workspace(uri, folder / "runs"))
    return numbers(rows)


@pytest.fixture
def assert_undisturbed(undisturbed: dict[str, Any]) -> Callable[[Path], None]:
    """A function that compares the state after a suite's runs with that of an undisturbed execution."""

    def check(path: Path) -> None:
        suite = api.load_suite(path)
        found = numbers(api.rows(suite))
        assert len(found) == len(suite.specs)
        assert found == {name: undisturbed[name] for name in found}
        keys = [run.data.tags["benchbench.key"] for run in tracked()]
        assert sorted(keys) == sorted(spec.key for spec in suite.specs)

    return check
