"""Targets that are files: they import the files next to them, and are known by the content of all of these."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchbench import suite as suites
from benchbench.plugins.factories import Factory
from benchbench.plugins.names import PluginError, resolve
from benchbench.values import Component
from tests.plugins.installed_plugins import error

SUITE = """\
name: files
seeds: [0]
workloads: {w: {workload: digits-mlp, epochs: 1, batch_size: 8}}
methods: {A: {optimizer: "main.py:factory"}}
"""


def write(folder: Path, **files: str) -> str:
    """Write modules and return the target `main.py:factory` in that folder."""
    for name, code in files.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
    return f"{folder / 'main.py'}:factory"


def result(target: str) -> Any:
    return resolve("optimizer", target)([])


def key(folder: Path) -> str:
    (folder / "suite.yaml").write_text(SUITE)
    return suites.load(folder / "suite.yaml").specs[0].key


def test_a_file_is_a_module_of_its_own(tmp_path: Path) -> None:
    path = list(sys.path)
    code = "class A:\n    @staticmethod\n    def b(params): return {!r}"
    for folder in ("one", "two"):
        write(tmp_path / folder, main=code.format(folder))
    first, second = (resolve("optimizer", f"{tmp_path / folder / 'main.py'}:A.b") for folder in ("one", "two"))
    assert (first([]), second([])) == ("one", "two")
    assert resolve("optimizer", f"{tmp_path / 'one' / 'main.py'}:A.b") is first
    assert sys.path == path
    write(tmp_path / "one", main=code.format("new"))  # as long as before, and within the same second
    assert resolve("optimizer", f"{tmp_path / 'one' / 'main.py'}:A.b")([]) == "new"
    assert not list(tmp_path.rglob("__pycache__"))


def test_a_file_that_breaks_leaves_nothing_behind(tmp_path: Path) -> None:
    target = write(tmp_path, main="from neighbour import x", neighbour="import missing_module")
    modules = set(sys.modules)
    message = f"{tmp_path / 'main.py'} cannot be imported: ModuleNotFoundError: No module named 'missing_module'"
    assert error("optimizer", target) == message
    assert not [name for name in set(sys.modules) - modules if "." in name]  # of the folder's package, no module
    assert "cannot be read: No such file" in error("optimizer", f"{tmp_path / 'no.py'}:A")
    write(tmp_path, neighbour="def x(params): return 1")
    write(tmp_path, main="from neighbour import x as factory")
    assert result(target) == 1


@pytest.mark.parametrize(
    ("statement", "value"),
    [
        ("from tiny import value", "value"),
        ("import tiny", "tiny.value"),
        ("import tiny as small", "small.value"),
        ("from .tiny import value", "value"),
        ("from . import tiny", "tiny.value"),
        ("from through import value", "value"),
        ("import parts.inner", "parts.inner.value"),
        ("import parts.inner as inner", "inner.value"),
        ("from parts import inner", "inner.value"),
        ("from parts.inner import value", "value"),
        ("from loose.deep import value", "value"),
        ("from parts import *", "exported"),
    ],
)
def test_a_neighbour_is_imported_in_every_form(tmp_path: Path, statement: str, value: str) -> None:
    neighbours = {
        "tiny": "value = 7",
        "through": "from tiny import value",
        "parts/__init__": "from .inner import value as exported\n__all__ = ['exported']",
        "parts/inner": "from ..tiny import value\nfrom tiny import value as again\nassert value == again",
        "loose/deep": "import tiny\nvalue = tiny.value",
    }
    write(tmp_path / "early", main=f"{statement}\ndef factory(params): return {value}", **neighbours)
    assert result(f"{tmp_path / 'early' / 'main.py'}:factory") == 7
    if "*" not in statement:
        late = write(tmp_path / "late", main=f"def factory(params):\n    {statement}\n    return {value}", **neighbours)
        assert result(late) == 7
    for folder in ("early", "late")[: 1 + ("*" not in statement)]:
        before = key(tmp_path / folder)
        write(tmp_path / folder, tiny="value = 8")
        assert key(tmp_path / folder) != before
        assert result(f"{tmp_path / folder / 'main.py'}:factory") == 8
    assert "tiny" not in sys.modules


def test_neighbours_of_the_same_name_do_not_disturb_each_other(tmp_path: Path) -> None:
    main = "from tiny import value\ndef factory(params):\n    import tiny\n    return value, tiny.value"
    targets = [write(tmp_path / name, main=main, tiny=f"value = {name!r}") for name in ("one", "two")]
    assert [result(target) for target in (*targets, *targets)] == [("one", "one"), ("two", "two")] * 2
    assert key(tmp_path / "one") != key(tmp_path / "two")


def test_two_files_of_a_folder_share_their_neighbours(tmp_path: Path) -> None:
    target = write(tmp_path, tiny="class Net: pass", main="from tiny import Net\ndef factory(params): return Net")
    assert resolve("optimizer", f"{tmp_path / 'tiny.py'}:Net") is result(target)


def test_a_neighbour_wins_over_an_installed_module_but_never_over_torch(tmp_path: Path) -> None:
    code = "import statistics, torch\ndef factory(params): return statistics.mean, torch.__file__"
    target = write(tmp_path, main=code, statistics="mean = 'of the neighbour'", torch="")
    assert result(target) == ("of the neighbour", torch.__file__)
    import statistics

    assert statistics.mean([1, 3]) == 2


def test_other_files_of_the_folder_are_no_part_of_the_key(tmp_path: Path) -> None:
    write(tmp_path, main="import tiny\ndef factory(params): return tiny", tiny="", other="x = 1")
    before = key(tmp_path)
    write(tmp_path, other="x = 2")
    assert key(tmp_path) == before


def test_a_run_that_has_waited_does_not_train_with_other_code(tmp_path: Path) -> None:
    code = "import torch, tiny\ndef factory(params): return torch.optim.SGD(params, lr=tiny.lr)"
    target = write(tmp_path, main=code, tiny="lr = 0.1")
    key(tmp_path)
    spec = suites.load(tmp_path / "suite.yaml").specs[0]
    weight = [torch.nn.Parameter(torch.ones(2))]
    assert Factory("optimizer", spec.optimizer).build_optimizer(weight, seed=0).defaults["lr"] == 0.1
    write(tmp_path, tiny="lr = 0.2")
    with pytest.raises(PluginError, match="has changed since the suite was read: start the command again"):
        Factory("optimizer", spec.optimizer).build_optimizer(weight, seed=0)
    assert Factory("optimizer", Component(target=target)).build_optimizer(weight, seed=0).defaults["lr"] == 0.2


def test_code_that_has_moved_from_one_neighbour_to_another_is_another_run(tmp_path: Path) -> None:
    main = "import one, two\ndef factory(params): ..."
    write(tmp_path / "a", main=main, one="x = 1\ny = 2\n", two="z = 3\n")
    write(tmp_path / "b", main=main, one="x = 1\n", two="y = 2\nz = 3\n")
    assert key(tmp_path / "a") != key(tmp_path / "b")


def test_what_is_no_regular_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "main.py").symlink_to("/dev/zero")
    assert "it is no regular file" in error("optimizer", f"{tmp_path / 'main.py'}:factory")
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "suite.yaml").write_text(SUITE.replace("main.py", "pipe.py"))
    with pytest.raises(ValueError, match=r"pipe\.py cannot be read: it is no regular file"):
        suites.load(tmp_path / "suite.yaml")


def test_a_plugin_whose_signature_raises_is_as_one_without(tmp_path: Path) -> None:
    file = tmp_path / "odd.py"
    file.write_text(
        "import torch\n\n\n"
        "class Raises:\n    def __get__(self, instance, owner):\n        raise RuntimeError('no')\n\n\n"
        "class Odd(torch.optim.SGD):\n    __signature__ = Raises()\n"
    )
    component = Component(target=f"{file}:Odd", parameters={"lr": 0.5})
    built = Factory("optimizer", component).build_optimizer(torch.nn.Linear(2, 1).parameters(), seed=7)
    assert built.defaults["lr"] == 0.5
