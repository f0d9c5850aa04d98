"""What a shell offers after a tab, asked for as bash does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMPLETE = """
import sys
from benchbench.cli import app
try:
    app(prog_name="benchbench")
except SystemExit:
    pass
print([name for name in ("torch", "mlflow", "numpy", "sassha", "baselines") if name in sys.modules], file=sys.stderr)
"""


def offered(words: str, cwd: Path) -> list[str]:
    """Return what completes the last word, and check that nothing heavy was imported for it."""
    environment = {
        **os.environ,
        "_BENCHBENCH_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", COMPLETE], cwd=cwd, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "some"),
    [
        ("benchbench run digits_t", ["digits_tuned"]),
        ("benchbench report digits text ci", ["cifar"]),
        ("benchbench run m", ["mine.yaml", "more/"]),
        ("benchbench plan more/", ["more/suite.yml"]),
        ("benchbench run digits --only method=SAM", ["method=SAM-SGD", "method=SAM-AdamW"]),
        ("benchbench run digits --only method=SGD,se", ["method=SGD,seed=0"]),
        ("benchbench run digits --engine l", ["local"]),
        ("benchbench show sas", ["sassha"]),
        ("benchbench list w", ["workloads"]),
        ("benchbench check s", ["sassha", "sgd", "sparseadam"]),
        ("benchbench show adam", ["adam", "adamw"]),
        ("benchbench compare digits --with sas", ["sassha-paper"]),
        ("benchbench published m", ["mine.yaml", "more/"]),
        ("benchbench sharpness digits_s", ["digits_sharpness"]),
        ("benchbench leaderboard build dig", ["digits"]),
    ],
)
def test_names_are_completed(words: str, some: list[str], tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").touch()
    (tmp_path / "more").mkdir()
    (tmp_path / "more/suite.yml").touch()
    (tmp_path / "mine.txt").touch()
    found = offered(words, tmp_path)
    assert set(some) <= set(found)
    last = words.rpartition(" ")[2]
    assert all(name.startswith(last) for name in found)
    assert "mine.txt" not in found


def test_a_suite_that_cannot_be_read_completes_to_the_keys(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("name: [")
    assert offered("benchbench run bad.yaml --only m", tmp_path) == ["method="]
