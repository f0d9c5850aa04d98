"""The smallest suite, which tests change in one place, and what is said of a suite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchbench import suite as suites
from benchbench.problems import BadInputError

Write = Callable[[str], Path]

SMALL = """\
name: small
seeds: [0, 1]
workloads:
  w: {epochs: 2, batch_size: 8}
methods:
  A: {optimizer: one, lr: 0.1}
"""


def problems(path: Path, *overrides: str) -> list[str]:
    """Return the problems of a file that has some, without its path."""
    with pytest.raises(BadInputError) as caught:
        suites.load(path, overrides=overrides)
    return [str(problem).replace(f"{path}:", "") for problem in caught.value.problems]
