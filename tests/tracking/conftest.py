"""An empty store, and a command that writes to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tracking.commands import Command


@pytest.fixture
def uri(workplace: Path) -> str:
    return f"sqlite:///{workplace}/mlflow.db"


@pytest.fixture
def command(uri: str, tmp_path: Path) -> Iterator[Command]:
    made = Command(uri, tmp_path / "runs")
    yield made
    made.leave()
