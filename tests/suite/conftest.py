"""A suite file in a temporary folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.suite.smallest_suite import Write


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(text: str) -> Path:
        path = tmp_path / "suite.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_file
