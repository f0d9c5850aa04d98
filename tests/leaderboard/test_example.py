"""The leaderboard among the examples."""

from __future__ import annotations

from pathlib import Path

import yaml
from typer.testing import CliRunner

from benchbench.cli import app
from benchbench.leaderboard import bundle
from benchbench.suite import load
from tests.conftest import REPOSITORY

EXAMPLE = REPOSITORY / "examples" / "leaderboard"


def test_the_example_is_whole_and_its_workflow_builds_it(tmp_path: Path) -> None:
    workflow = yaml.safe_load((EXAMPLE / "pages.yml").read_text(encoding="utf-8"))
    commands = [step["run"] for step in workflow["jobs"]["build"]["steps"] if "run" in step]
    (build,) = [command for command in commands if command.startswith("benchbench ")]
    assert "leaderboard build examples/leaderboard --out site" in build
    built = CliRunner().invoke(app, ["leaderboard", "build", str(EXAMPLE), "--out", str(tmp_path / "site")])
    assert built.exit_code == 0, built.output
    assert "55 runs" in built.stdout


def test_the_bundles_are_those_of_the_suites_of_this_repository() -> None:
    keys = set()
    for name in ("digits", "text"):
        held = bundle.read(EXAMPLE / "bundles" / f"{name}.zip")
        asked = {spec.key for spec in load(name).specs}
        assert asked <= held.runs.keys()
        keys |= asked
    assert len(keys) == 24 + 15
