"""The leaderboard among the examples."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from benchbench.leaderboard import bundle
from benchbench.suite import load
from tests.conftest import REPOSITORY
from tests.helpers.command_line import call

EXAMPLE = REPOSITORY / "examples" / "leaderboard"


def test_the_example_is_whole_and_its_workflow_builds_it(tmp_path: Path) -> None:
    workflow = yaml.safe_load((EXAMPLE / "pages.yml").read_text(encoding="utf-8"))
    commands = [step["run"] for step in workflow["jobs"]["build"]["steps"] if "run" in step]
    (build,) = [command for command in commands if command.startswith("benchbench ")]
    assert "leaderboard build examples/leaderboard --out site" in build
    built = call("leaderboard", "build", str(EXAMPLE), "--out", str(tmp_path / "site"))
    assert built.exit_code == 0, built.output
    assert "55 runs" in built.stdout


@pytest.mark.slow
def test_locale_and_hash_seed_change_no_byte_and_the_order_of_files_no_number(tmp_path: Path) -> None:
    bundles = [str(path) for path in sorted((EXAMPLE / "bundles").iterdir())]
    built = []
    for number, (locale, files) in enumerate((("C", bundles), ("C.UTF-8", bundles), ("POSIX", bundles[::-1]))):
        out = tmp_path / str(number)
        command = [sys.executable, "-c", "from benchbench.cli import app; app()", "leaderboard", "build", *files]
        environment = {**os.environ, "LC_ALL": locale, "PYTHONHASHSEED": str(number)}
        subprocess.run([*command, "--out", str(out)], env=environment, check=True, cwd=REPOSITORY, timeout=120)
        built.append({str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()})
    assert built[0] == built[1]
    assert {name: text for name, text in built[2].items() if name.startswith("runs/")} == {
        name: text for name, text in built[0].items() if name.startswith("runs/")
    }
    assert shares(built[2]) == shares(built[0])


def shares(files: dict[str, bytes]) -> dict[str, dict[str, list[float]]]:
    """Profile by currency and method."""
    profiles = json.loads(files["data/profile.js"].decode().partition(",")[2].rstrip(");\n"))["profiles"]
    return {currency: {each["name"]: each["shares"] for each in found} for currency, found in profiles.items()}


def test_the_bundles_are_those_of_the_suites_of_this_repository() -> None:
    keys = set()
    for name in ("digits", "text"):
        held = bundle.read(EXAMPLE / "bundles" / f"{name}.zip")
        asked = {spec.key for spec in load(name).specs}
        assert asked <= held.runs.keys()
        keys |= asked
    assert len(keys) == 24 + 15
