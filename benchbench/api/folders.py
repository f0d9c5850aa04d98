"""Where files lie unless told otherwise."""

from __future__ import annotations

from pathlib import Path

RUNS_DIR = Path(".benchbench/runs")
"""Where runs leave their files, unless told otherwise: below the current folder."""

DATA = Path("data")
"""Where data sets are looked for, unless told otherwise: below the current folder."""
