"""The wheel: what it brings, and that it works outside the repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    [built] = folder.glob("*.whl")
    return built


def test_the_wheel_holds_packages_types_and_suites(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"{package}/py.typed" for package in ("benchbench", "baselines", "sassha")} <= names
    bundled = {f"benchbench/bundled_suites/{path.name}" for path in (REPOSITORY / "suites").glob("*.yaml")}
    assert bundled
    assert bundled <= names
    assert not [name for name in names if name.startswith("tests/")]
    skeletons = {path.relative_to(REPOSITORY) for path in (REPOSITORY / "benchbench").rglob("*.tmpl")}
    assert len(skeletons) == 14
    assert {path.as_posix() for path in skeletons} <= names
    reporting = {f"benchbench/reporting/{path}" for path in (
        "templates/page.html.j2", "templates/table.html.j2", "published/sassha-paper.yaml",
    )}  # fmt: skip
    assert reporting <= names
    leaderboard = {f"benchbench/leaderboard/{path}" for path in (
        "assets/site.css", "assets/site.js", "templates/base.html.j2", "templates/index.html.j2",
        "templates/macros.html.j2", "templates/method.html.j2", "templates/run.html.j2",
    )}  # fmt: skip
    assert leaderboard <= names


def test_bundled_suites_are_found_outside_the_repository(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "import json, benchbench, benchbench.suite as suites; "
        "bundled = {name: str(path) for name, path in suites.bundled().items()}; "
        "print(json.dumps([benchbench.__file__, bundled, len(suites.load('digits').specs)]))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
    )
    file, suites, runs = json.loads(shown.stdout)
    assert file.startswith(str(tmp_path))
    assert suites["digits"].startswith(str(tmp_path))
    assert runs == 24
