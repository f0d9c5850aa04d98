"""A suite by someone else names installed plugins and the files of one folder, or is refused before any import."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchbench import suite as suites
from benchbench.problems import BadInputError
from benchbench.values import Component, Space
from tests.helpers import synthetic_rows as synthetic
from tests.helpers.command_line import call

EVIL = """\
from pathlib import Path
Path({marker!r}).touch()
import torch
class Opt(torch.optim.SGD):
    pass
def data(*args, **kwargs):
    raise ValueError("no data")
"""

GOOD = "import torch\nclass Opt(torch.optim.SGD):\n    pass\n"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `theirs` with good code and ways out of it, next to code that leaves a file `imported`."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "good.py").write_text(GOOD)
    evil = EVIL.format(marker=str(tmp_path / "imported"))
    (tmp_path / "outside.py").write_text(evil)
    (tmp_path / "evil_module.py").write_text(evil)
    (tmp_path / "2evil.py").write_text(evil)
    (theirs / "linked.py").symlink_to(tmp_path / "outside.py")
    (theirs / "neighbour.py").symlink_to(tmp_path / "outside.py")
    (theirs / "uses_neighbour.py").write_text(f"import neighbour\n{GOOD}")
    (theirs / "linked").symlink_to(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return theirs


def evil_targets(place: Path) -> list[str]:
    return [
        "subprocess:run",
        "os:system",
        "builtins:exec",
        "evil_module:Opt",
        "torch.optim:SGD",
        "../outside.py:Opt",
        "linked.py:Opt",
        "linked/outside.py:Opt",
        "uses_neighbour.py:Opt",
        "sub/../../outside.py:Opt",
        str(place.parent / "outside.py:Opt"),
        "~/outside.py:Opt",
        "missing.py:Opt",
        "nul\0.py:Opt",
    ]


SUITE = """\
name: theirs
seeds: [0]
workloads:
  w: {{workload: {workload}, epochs: 1, batch_size: 8{of_workload}}}
methods:
  A: {{optimizer: {optimizer}{of_optimizer}}}
"""


def write(place: Path, workload: str = "digits-mlp", optimizer: str = "sgd", **parameters: str) -> Path:
    path = place / "suite.yaml"
    words = {"of_workload": "", "of_optimizer": "", **parameters}
    path.write_text(SUITE.format(workload=workload, optimizer=optimizer, **words))
    return path


@pytest.mark.parametrize("number", range(14))
@pytest.mark.parametrize("where", ["optimizer", "workload", "parameter", "nested", "list", "choice"])
def test_other_code_is_refused_wherever_it_is_named(number: int, where: str, place: Path) -> None:
    target = evil_targets(place)[number]
    suite = synthetic.suite({"SGD": "First-order"}, seeds=(0,))
    [spec] = suite.specs
    optimizer = spec.optimizer
    if where in ("optimizer", "workload"):
        component = optimizer.model_copy(update={"target": target})
        suite = suite.model_copy(update={"specs": (spec.model_copy(update={where: component}),)})
    elif where == "choice":
        space = {"base": Space(choices=("sgd", target))}
        suite = suite.model_copy(update={"spaces": {"digits": {"SGD": space}}})
    else:
        value = {"parameter": target, "nested": {"name": "x", "deep": {"name": target}}, "list": [1, {"name": target}]}
        component = optimizer.model_copy(update={"parameters": {"base": value[where]}})
        suite = suite.model_copy(update={"specs": (spec.model_copy(update={"optimizer": component}),)})
    for folder in (None, place):
        with pytest.raises(BadInputError) as caught:
            suites.confined(suite, folder, "bundle.zip")
        [problem] = caught.value.problems
        assert problem.value == target
        assert problem.file == "bundle.zip"
    assert not (place.parent / "imported").exists()


def test_nothing_outside_of_the_folder_is_even_read(place: Path) -> None:
    [spec] = synthetic.suite({"SGD": "First-order"}, seeds=(0,)).specs
    for target in ("../missing.py:Opt", "/nowhere/missing.py:Opt", "linked/missing.py:Opt"):
        outside = spec.model_copy(update={"optimizer": Component(target=target)})
        suite = synthetic.suite({"SGD": "First-order"}, seeds=(0,)).model_copy(update={"specs": (outside,)})
        with pytest.raises(BadInputError, match="leads out of"):
            suites.confined(suite, place)


def test_files_in_the_folder_and_plain_texts_may_be_named(place: Path) -> None:
    path = write(place, optimizer="good.py:Opt", of_optimizer=', note: "12:30", url: "http://x:80/a", lr: 0.1')
    loaded = suites.load(path)
    confined = suites.confined(loaded, place)
    assert confined.specs == loaded.specs
    [spec] = confined.specs
    moved = spec.model_copy(update={"optimizer": spec.optimizer.model_copy(update={"target": "./good.py:Opt"})})
    assert suites.confined(loaded.model_copy(update={"specs": (moved,)}), place).specs == loaded.specs
    assert moved.key == spec.key


def test_a_file_that_has_changed_is_not_taken_for_what_was_run(place: Path) -> None:
    loaded = suites.load(write(place, optimizer="good.py:Opt"))
    (place / "good.py").write_text(EVIL.format(marker=str(place.parent / "imported")))
    with pytest.raises(BadInputError, match="another file than the one that the results were made with"):
        suites.confined(loaded, place)


HOSTILE = [
    {"optimizer": '"evil_module:Opt"'},
    {"optimizer": '"../outside.py:Opt"'},
    {"optimizer": '"linked.py:Opt"'},
    {"optimizer": "by_role", "of_optimizer": ', matrices: "evil_module:Opt"'},
    {"optimizer": "by_role", "of_optimizer": ', matrices: sgd, rest: {name: sgd, base: "evil_module:Opt"}'},
    {"workload": '"evil_module:data"'},
    {"workload": "image-classification", "of_workload": ', dataset: "evil_module:data", model: mlp'},
    {
        "workload": "image-classification",
        "of_workload": ', model: mlp, dataset: {name: "subprocess:run", args: "touch imported", shell: true}',
    },
    {"workload": "image-classification", "of_workload": ', dataset: mnist, model: {name: "../outside.py:data"}'},
]


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize(
    "command",
    [["plan"], ["run", "--engine", "inline"], ["run"], ["report", "--synthetic"], ["prepare"], ["sharpness"]],
    ids=" ".join,
)
def test_commands_refuse_a_suite_that_names_other_code(
    hostile: dict[str, str], command: list[str], place: Path
) -> None:
    path = write(place, **hostile)
    result = call(*command, str(path), "--code-from", str(place))
    assert result.exit_code == 2, result.output
    [line] = result.stderr.splitlines()
    assert line.startswith(f"error: {path}:")
    assert "may not name" in line or "leads out of" in line
    assert not (place.parent / "imported").exists()
    assert "evil_module" not in sys.modules
    assert not (place.parent / ".benchbench").exists()


def test_ones_own_suite_may_name_files_and_modules_anywhere(place: Path) -> None:
    path = write(place, optimizer='"../outside.py:Opt"', of_optimizer=", lr: 0.1}\n  B: {optimizer: evil_module:Opt")
    from benchbench import api

    api.check(api.load_suite(path), may_be_missing=True)
    assert (place.parent / "imported").exists()


@pytest.mark.parametrize(
    "target", ["2evil:Opt", "evil module:Opt", "evil_module:", ":Opt", "a:b:c", "evil_module:Opt\n"]
)
def test_what_has_no_form_of_a_target_is_no_target(target: str, place: Path) -> None:
    from benchbench.plugins.names import PluginError, resolve

    (place.parent / "evil module.py").write_text((place.parent / "evil_module.py").read_text())
    with pytest.raises(PluginError, match="is no name, no module:attribute"):
        resolve("optimizer", target)
    assert not (place.parent / "imported").exists()


def test_what_is_wrong_with_the_file_itself_is_said_before_any_code_is_imported(place: Path) -> None:
    path = write(place, optimizer="../outside.py:Opt", of_optimizer=", epochs: 0")
    result = call("run", str(path))
    assert result.exit_code == 2
    [line] = result.stderr.splitlines()
    assert "methods.A.epochs: must be at least 1" in line
    assert not (place.parent / "imported").exists()


def test_results_that_are_imported_import_nothing_that_they_name(
    place: Path, migrated_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(place)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (place.parent / "mlflow.db").write_bytes(migrated_store.read_bytes())
    target = "evil_module:Opt"
    record = {"method": target, "workload": "w", "seed": 0, "metric": "test/accuracy", "value": 0.5, "source": target}
    (place / "r.json").write_text(json.dumps({"records": [{**record, "key": target, "versions": target}]}))
    trial = place / "outputs" / target / target / "results_final_model.json"
    trial.parent.mkdir(parents=True)
    trial.write_text(json.dumps([{"test_acc": 0.5}]))
    for command in (
        ["report", path, "--import", place / "r.json", "--synthetic", "--code-from", place],
        ["import", place / "outputs", "--from", "fob"],
    ):
        result = call(*command)
        assert result.exit_code == 0, result.output
        assert target in result.stdout
    assert not (place.parent / "imported").exists()
