"""What a killed process leaves among temporary files is removed by the next one, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from benchbench.processes import temporary
from benchbench.processes.temporary import TemporaryFolder, remove_abandoned, temporary_folder
from benchbench.tracking import Tracker
from tests.conftest import benchbench, wait_for
from tests.helpers.line_suite import SLOW, processes
from tests.tracking.commands import SPEC


def killed(code: str, folder: Path) -> None:
    """Run code that kills its own process."""
    ended = subprocess.run([sys.executable, "-c", code], cwd=folder, check=False, timeout=120)
    assert ended.returncode == -9


KILLED = """
import os, pathlib
from benchbench.processes.temporary import TemporaryFolder
(TemporaryFolder("mine-", pathlib.Path.cwd()).path / "left").mkdir()
os.kill(os.getpid(), 9)
"""


def test_the_next_one_removes_what_the_dead_have_left_and_nothing_else(tmp_path: Path) -> None:
    killed(KILLED, tmp_path)
    [left] = tmp_path.iterdir()
    alive = TemporaryFolder("other-", tmp_path)
    strangers = [tmp_path / "mine-file", tmp_path / "mine-folder"]
    strangers[0].touch()
    strangers[1].mkdir()
    (tmp_path / "mine-link").symlink_to(left)
    with temporary_folder("mine-", tmp_path) as here:
        again = TemporaryFolder("mine-", tmp_path)
        assert here.is_dir() and again.path.is_dir() and alive.path.is_dir()
        assert not left.exists()
        again.remove()
    alive.remove()
    assert sorted(tmp_path.iterdir()) == [*strangers, tmp_path / "mine-link"]


def test_one_that_is_taken_for_abandoned_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Path] = []

    class Overtaken(FileLock):
        """A lock whose file somebody has just removed, with its folder, or holds in order to do that."""

        def acquire(self, *arguments: object, **options: object) -> object:
            folder = Path(self.lock_file).parent
            if folder not in seen and len(seen) < 2:
                seen.append(folder)
                (folder / ".lock").touch()
                if len(seen) == 1:
                    remove_abandoned("mine-", tmp_path)
                else:
                    self.holder = FileLock(folder / ".lock")
                    self.holder.acquire(timeout=0)
            return super().acquire(*arguments, **options)

    monkeypatch.setattr(temporary, "FileLock", Overtaken)
    made = TemporaryFolder("mine-", tmp_path)
    assert made.path.is_dir()
    assert made.path not in seen
    assert len(seen) == 2


HALF_MADE = """
import os
os.link = lambda *_: os.kill(os.getpid(), 9)
from benchbench.tracking import Tracker
Tracker("sqlite:///mlflow.db").end_invocation("0", finished=True)
"""


def test_a_store_that_was_being_made_when_its_command_was_killed_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(HALF_MADE, tmp_path)
    [left] = [path for path in tmp_path.iterdir() if path.name.startswith(".mlflow.db-")]
    monkeypatch.chdir(tmp_path)
    assert Tracker("sqlite:///mlflow.db").results([SPEC]) == {}  # there is none yet
    (left / "mlflow.db").rename(tmp_path / "mlflow.db")  # another command has made it meanwhile
    assert Tracker("sqlite:///mlflow.db").results([SPEC]) == {}
    assert {path.name for path in tmp_path.iterdir()} <= {"mlflow.db", "mlruns"}


@pytest.mark.slow
def test_a_killed_command_leaves_nothing_that_its_successor_does_not_remove(
    workplace: Path, write_suite: Callable[..., Path]
) -> None:
    path, temporaries = write_suite(SLOW), Path(tempfile.mkdtemp())  # the paths of sockets must be short
    command = [str(Path(sys.executable).with_name("benchbench")), "run", str(path), "--slots", "2"]
    running = subprocess.Popen(
        command, cwd=workplace, stderr=subprocess.DEVNULL, env={**os.environ, "TMPDIR": str(temporaries)}
    )
    wait_for(lambda: list(workplace.glob(".benchbench/runs/*/metrics.jsonl")), seconds=60)
    running.kill()
    running.wait()
    wait_for(lambda: not processes(workplace))
    assert list(temporaries.glob("bbmp-*"))
    assert benchbench("run", str(path), cwd=workplace, TMPDIR=str(temporaries)).returncode == 0
    assert not [path for path in temporaries.iterdir() if path.name.startswith(("bbmp-", "pymp-", "tmp"))]
    assert not list(workplace.glob(".mlflow.db-*"))
    shutil.rmtree(temporaries)
