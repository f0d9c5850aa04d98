"""Distributions with plugins, installed for a test."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchbench.plugins import names as plugins
from benchbench.plugins.names import Kind
from tests.plugins.installed_plugins import NAMED, Install


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """A function that installs a distribution with entry points and a module, in a folder on the path."""
    monkeypatch.syspath_prepend(tmp_path)
    known = set(sys.modules)

    def add(name: str, entry_points: dict[str, str], code: str = "", kind: Kind = "optimizer") -> None:
        info = tmp_path / f"{name}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
        lines = [f"{key} = {target}" for key, target in entry_points.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[benchbench.{kind}s]", *lines]))
        (tmp_path / f"{name.replace('-', '_')}.py").write_text(code)
        plugins._plugins.cache_clear()

    yield add
    plugins._plugins.cache_clear()
    for module in set(sys.modules) - known:
        if getattr(sys.modules[module], "__file__", None) and str(tmp_path) in str(sys.modules[module].__file__):
            del sys.modules[module]


@pytest.fixture
def named(install: Install) -> None:
    """An installed workload `nested` that takes the model `small` and the data set `files`."""
    install("netpack", {"small": "my_named:model"}, kind="model")
    install("datapack", {"files": "my_named:dataset"}, kind="dataset")
    install("my-named", {"nested": "my_named:mine"}, NAMED, kind="workload")
