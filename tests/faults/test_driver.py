"""The driver of seeded faults: some of them as a test; by hand it makes hundreds (`python -m benchmarks.faults`)."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import faults
from tests.conftest import REPOSITORY


@pytest.mark.slow
def test_ten_seeded_faults_leave_every_result_equal_or_named() -> None:
    command = [sys.executable, "-m", "benchmarks.faults", "10", "--seed", "3"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 faults, 0 of them" in done.stdout


CALM = {"a" * 16: {"numbers": [{"test/loss": 0.5}], "history": [{"train/loss": 1.0}], "runs": 1}}


@pytest.mark.parametrize(
    ("change", "said", "verdict"),
    [
        ({}, "", "named"),
        ({"numbers": [{"test/loss": 0.25}]}, "error: all is lost", "WRONG NUMBERS"),
        ({"history": [{"train/loss": 2.0}]}, "", "WRONG HISTORY"),
        ({"history": None}, "", "history lost"),
        ({"history": None}, "warning: runs/aaaaaaaaaa\naaaaaa/metrics.jsonl is damaged", "named"),
        ({"runs": 2}, "", "several runs of a key in the store"),
    ],
)
def test_the_driver_sees_what_differs(change: dict[str, Any], said: str, verdict: str, tmp_path: Path) -> None:
    bench = faults.Bench(tmp_path, random.Random(0), said=said)
    found = json.loads(json.dumps({key: {**value, **change} for key, value in CALM.items()}))
    assert faults.judged(found, CALM, bench) == verdict
    assert faults.judged({}, CALM, bench) == "result lost"
    assert faults.judged({"error": "it cannot be read"}, CALM, bench) == "unreadable"


def test_all_kinds_of_faults_come_about_equally_often() -> None:
    chosen = faults.kinds(200, 0)
    counts = {chosen.count(kind) for kind in set(chosen)}
    assert (len(chosen), max(counts) - min(counts)) == (200, 1)
    assert chosen == faults.kinds(200, 0) != faults.kinds(200, 1)
