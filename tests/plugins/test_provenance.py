"""Results of other code than is installed now: noticed, shown, and made again."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchbench import api
from benchbench.plugins.factories import Factories
from benchbench.plugins.provenance import InstalledCode
from benchbench.values import Component, RunResult, RunSpec
from tests.conftest import benchbench
from tests.helpers.line_suite import SUITE, results, run_inline, tracked
from tests.helpers.specs import run_spec

Install = Callable[..., None]

OPTIMIZER = """\
import torch
from {package}.helpers import FACTOR

class Scaled(torch.optim.SGD):
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr=FACTOR * lr)
"""

METHOD = SUITE.replace("AdamW: {optimizer: adamw, lr: 0.01}", "Scaled: {optimizer: NAME, lr: 0.1}")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """A function that installs a package `scaled` as pip would, for this process and those that it starts."""
    site, source = tmp_path / "site", tmp_path / "source"
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.syspath_prepend(str(source))
    monkeypatch.setenv("PYTHONPATH", f"{site}:{source}:{Path(__file__).parent.parent}")

    def install(version: str = "1.0", factor: float = 1.0, *, editable: bool = False) -> None:
        for folder in site.glob("scaled*"):
            shutil.rmtree(folder)
        for name in [name for name in sys.modules if name.partition(".")[0] == "scaled"]:
            del sys.modules[name]
        package = (source if editable else site) / "scaled"
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").write_text(OPTIMIZER.format(package="scaled"))
        (package / "helpers.py").write_text(f"FACTOR = {factor}\n")
        info = site / f"scaled-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: scaled\nVersion: {version}\n")
        (info / "WHEEL").write_text("Wheel-Version: 1.0\n")
        (info / "top_level.txt").write_text("scaled\n")
        (info / "entry_points.txt").write_text("[benchbench.optimizers]\nscaled = scaled:Scaled\n")
        if editable:
            origin = {"url": source.as_uri(), "dir_info": {"editable": True}}
            (info / "direct_url.json").write_text(json.dumps(origin))

    return install


def spec(optimizer: str) -> RunSpec:
    return run_spec(optimizer, parameters={})


def code_of(optimizer: str) -> str:
    return InstalledCode().of_run(Factories.of(spec(optimizer)))[f"optimizer {optimizer}"]


def test_an_installed_plugin_is_known_by_its_distribution_and_its_version(install: Install) -> None:
    install("1.0")
    assert code_of("scaled") == code_of("scaled:Scaled") == "scaled 1.0"
    install("1.1")
    assert code_of("scaled") == "scaled 1.1"
    assert code_of("sgd").startswith("torch 2.")


def test_an_editable_one_is_known_by_the_content_of_its_whole_package(install: Install) -> None:
    install(editable=True)
    before = code_of("scaled")
    assert before.startswith("scaled 1.0 (content ")
    install(editable=True)
    assert code_of("scaled") == before
    install(factor=2.0, editable=True)  # not the module of the optimizer, but one that it imports
    assert code_of("scaled") != before


def test_a_module_of_no_distribution_is_known_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "loose_optimizer.py").write_text("from torch.optim import SGD\n")
    before = code_of("loose_optimizer:SGD")
    assert before.startswith("(content ")
    (tmp_path / "loose_optimizer.py").write_text("from torch.optim import SGD  # changed\n")
    assert code_of("loose_optimizer:SGD") != before


def test_plugins_that_parameters_name_count_as_well(install: Install) -> None:
    install()
    wrapped = spec("sam").model_copy(
        update={"optimizer": Component(target="sam", parameters={"base": "scaled", "rho": 0.1})}
    )
    assert InstalledCode().of_run(Factories.of(wrapped))["optimizer scaled"] == "scaled 1.0"


def test_what_is_not_installed_here_or_not_known_has_not_changed() -> None:
    gone = RunResult(key="0", outcome="finished", code={"optimizer gone": "gone 1.0", "dataset gone:d": "gone 1.0"})
    assert InstalledCode().changes(gone) == []
    assert InstalledCode().changes(gone.model_copy(update={"code": None})) == []


@pytest.mark.parametrize("name", ["scaled", "scaled:Scaled"])
def test_an_upgraded_plugin_is_stale_and_run_again(
    workplace: Path, write_suite: Callable[..., Path], install: Install, name: str
) -> None:
    path = write_suite(METHOD.replace("NAME", name))
    install("1.0")
    rows, _ = run_inline(path)
    before = {row.spec.key: row.result for row in rows}
    install("1.1", factor=0.5)
    suite = api.load_suite(path)
    states = {(item.spec.method, item.state) for item in api.plan(suite)}
    assert states == {("SGD", "done"), ("Scaled", "stale")}
    [note] = {note for table in api.report(suite) for note in table.notes if "Stale" in note}
    assert "2 results (Scaled)" in note
    assert f"optimizer {name}: scaled 1.0 then, scaled 1.1 now" in note

    again, events = run_inline(path)
    assert {event.spec.method for event in events if event.kind == "started"} == {"Scaled"}
    changed = {row.spec.method for row in again if row.result != before[row.spec.key]}
    assert changed == {"Scaled"}
    assert {item.state for item in api.plan(suite)} == {"done"}
    assert not any("Stale" in note for table in api.report(suite) for note in table.notes)
    assert len(tracked()) == 4
    made_with = [result.code or {} for result in results(tracked())]
    assert sorted(code[f"optimizer {name}"] for code in made_with if f"optimizer {name}" in code) == ["scaled 1.1"] * 2


def test_stale_results_can_be_kept(workplace: Path, write_suite: Callable[..., Path], install: Install) -> None:
    path = write_suite(METHOD.replace("NAME", "scaled"))
    install("1.0")
    run_inline(path)
    install("1.1")
    _, events = run_inline(path, keep_stale=True)
    assert {event.kind for event in events} == {"planned"}
    assert any("Stale" in note for table in api.report(path) for note in table.notes)


def test_a_result_on_disk_alone_is_stale_as_well(
    workplace: Path, migrated_store: Path, write_suite: Callable[..., Path], install: Install
) -> None:
    path = write_suite(METHOD.replace("NAME", "scaled"))
    install("1.0")
    run_inline(path)
    install("2.0")
    other = f"sqlite:///{shutil.copy(migrated_store, workplace / 'other.db')}"
    assert {
        (item.spec.method, item.state) for item in api.plan(api.load_suite(path), workspace=api.Workspace(other))
    } == {
        ("SGD", "on disk"),
        ("Scaled", "stale"),
    }
    _, events = run_inline(path, workspace=api.Workspace(other))
    assert {event.spec.method for event in events if event.kind == "started"} == {"Scaled"}


def test_the_command_says_what_has_changed(workplace: Path, write_suite: Callable[..., Path], install: Install) -> None:
    path = write_suite(METHOD.replace("NAME", "scaled"))
    install("1.0")
    assert benchbench("run", str(path), "--engine", "inline", cwd=workplace).returncode == 0
    install("1.1")
    done = benchbench("plan", str(path), "--runs", cwd=workplace)
    assert "stale results: optimizer scaled: scaled 1.0 then, scaled 1.1 now" in done.stderr
    assert "4 runs, 2 to run (2 of them again: other code than now)" in done.stdout
    kept = benchbench("run", str(path), "--engine", "inline", "--keep-stale", cwd=workplace)
    assert "Stale: 2 results (Scaled)" in kept.stdout


def test_a_result_names_all_that_its_run_imported(
    workplace: Path, write_suite: Callable[..., Path], install: Install
) -> None:
    install("1.0")
    rows, _ = run_inline(write_suite(METHOD.replace("NAME", "scaled")))
    [environment] = {row.result.environment["packages"] for row in rows if row.result and row.spec.method == "Scaled"}
    packages = environment.split(", ")
    assert packages[0].startswith("scaled 1.0") or "scaled 1.0" in packages[:2]
    assert {"torch", "numpy", "pydantic"} <= {package.partition(" ")[0] for package in packages}
