"""The wheel: what it brings, and that it works outside the repository."""

from __future__ import annotations

import json
import os
import re
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
        "assets/site.css", "assets/site.js", "assets/theme.js", "templates/base.html.j2", "templates/index.html.j2",
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


_WRONG = re.compile(
    r"(?:pip\w*|uv|conda|poetry)\b[^\n`;|]*\b(?:install|add)\b[^\n`;|]*[ \t'\"]benchbench(?![\w.-])"
    r"|benchbench\[[a-z{]"  # with extras
    r"|[\"']benchbench\s*(?:[<>=~!]=|[<>])"  # as a dependency
    r"|(?:version|distribution|metadata|requires|files)\([\"']benchbench[\"']\)"
)
"""What would install or look up the package that has the name of our import on the public index."""


@pytest.mark.parametrize(
    "text",
    [
        "pip install bench" + "bench",
        "pip install -U 'bench" + "bench'",
        "pip install 'bench" + "bench[ray]'",
        'dependencies = ["bench' + 'bench>=0.1"]',
        "version('bench" + "bench')",
        "uv pip install torch bench" + "bench # all",
    ],
)
def test_a_wrong_name_is_seen(text: str) -> None:
    assert _WRONG.search(text)


def test_no_text_installs_or_looks_up_another_projects_package() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    files = [REPOSITORY / name for name in listed.stdout.split("\0") if name]
    texts = {file: file.read_text(encoding="utf-8", errors="replace") for file in files if file.suffix != ".zip"}
    assert len(texts) > 400
    assert [f"{file}: {found[0]}" for file, text in texts.items() for found in _WRONG.finditer(text)] == []


def test_the_distribution_is_ours_and_import_and_command_keep_their_name(wheel: Path) -> None:
    from benchbench import distribution

    assert wheel.name.startswith("benchbench_harness-")
    with zipfile.ZipFile(wheel) as archive:
        [entry_points] = [name for name in archive.namelist() if name.endswith("dist-info/entry_points.txt")]
        assert "benchbench = benchbench.cli:main" in archive.read(entry_points).decode()
        [metadata] = [name for name in archive.namelist() if name.endswith("dist-info/METADATA")]
        required = [line for line in archive.read(metadata).decode().splitlines() if line.startswith("Requires-Dist")]
    assert not [line for line in required if re.search(r"\bbenchbench\b(?!-harness)", line)]
    assert distribution.own_version() in wheel.name
