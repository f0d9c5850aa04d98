"""What the command line does, from a script."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.helpers.command_line import call
from tests.helpers.suites import suite


def test_python_offers_the_same(workplace: Path, write_suite: Callable[..., Path]) -> None:
    """A script without an `if __name__ == "__main__"` block, which multiprocessing would run again and again."""
    path = write_suite(suite(seeds=[0, 1], tables=["accuracy"]))
    script = workplace / "script.py"
    script.write_text(
        "import benchbench\n"
        f"suite = benchbench.load_suite({str(path)!r})\n"
        "rows = benchbench.run(suite)\n"
        "print([row.result.outcome for row in rows])\n"
        "for _ in range(2):\n"
        "    table = benchbench.report(suite)[0]\n"
        "print(benchbench.to_terminal(table, color=False, width=None))\n"
    )
    shown = subprocess.run(
        [sys.executable, str(script)], cwd=workplace, capture_output=True, text=True, timeout=120, check=False
    )
    assert shown.returncode == 0, shown.stderr
    first, _, table = shown.stdout.partition("\n")
    assert first == str(["finished"] * 2)
    assert table.strip() in call("report", str(path)).stdout
