"""A suite file in a temporary folder, beside the code that it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.checks.suite_with_code import CODE, SUITE, Write


@pytest.fixture
def write(tmp_path: Path) -> Write:
    (tmp_path / "code.py").write_text(CODE)

    def write_file(old: str = "", new: str = "") -> Path:
        assert old in SUITE
        path = tmp_path / "suite.yaml"
        path.write_text(SUITE.replace(old, new) if old else SUITE)
        return path

    return write_file
