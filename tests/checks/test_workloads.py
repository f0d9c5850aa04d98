"""What can be known of a workload and its data before the first run."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchbench import checks
from benchbench import suite as suites
from benchbench.problems import BadInputError
from tests.checks.suite_with_code import Write, problems


@pytest.mark.parametrize(
    ("workload", "problem"),
    [
        (
            "workload: digits-mpl",
            "4: workloads.w.workload: unknown workload 'digits-mpl'; allowed: digits-mlp, ",
        ),
        ("workload: code.py:Needy", "4: workloads.w.workload: '/code.py:Needy' is not a Workload"),
        (
            "workload: code.py:simple, widht: 3",
            "4: workloads.w.widht: unknown parameter of /code.py:simple; allowed: none",
        ),
        ("workload: code.py:simple, epoch: 3", "did you mean 'epochs'?"),
        (
            "workload: code.py:mine, rate: 1, root: /, width: 1.5",
            "4: workloads.w.width: must be int (got 1.5)",
        ),
        ("workload: code.py:mine, root: /", "4: workloads.w: /code.py:mine needs the parameter 'rate'"),
        (
            "workload: code.py:mine, rate: 1, root: nowhere",
            "4: workloads.w: no folder nowhere: bring the data there",
        ),
        (
            "workload: code.py:mine, rate: 1, root: raise",
            "4: workloads.w: cannot be checked for missing data: System",
        ),
    ],
)
def test_a_workload_that_cannot_be_set_up(write: Write, workload: str, problem: str) -> None:
    (found,) = problems(write("workload: code.py:simple", workload))
    assert problem in found


@pytest.mark.parametrize(
    ("named", "problem"),
    [
        (
            "model: resnet-20, dataset: cifar10",
            "4: workloads.w.model: unknown model 'resnet-20'; allowed: convnet, ",
        ),
        ("model: resnet-20, dataset: cifar10", "; did you mean 'resnet20'?"),
        ("model: {name: resnet-20}, dataset: cifar10", "4: workloads.w.model.name: unknown model 'resnet-20'"),
        ("model: resnet20, dataset: cifar01", "4: workloads.w.dataset: unknown dataset 'cifar01'; allowed: cifar10, "),
        (
            "model: {name: resnet20, widht: 4}, dataset: cifar10",
            "4: workloads.w.model.widht: unknown parameter of resnet20; allowed: width; did you mean 'width'?",
        ),
        (
            "model: {name: resnet20, width: wide}, dataset: cifar10",
            '4: workloads.w.model.width: must be int (got "wide")',
        ),
        (
            "model: {name: resnet20, classes: 4}, dataset: cifar10",
            "4: workloads.w.model.classes: unknown parameter of resnet20; allowed: width",
        ),
        (
            "model: {width: 4}, dataset: cifar10",
            "4: workloads.w.model: must be the name of a model, or a mapping with its `name` and its parameters",
        ),
        (
            "model: resnet20, dataset: {name: image-folder, classes: 2}",
            "4: workloads.w.dataset: image-folder needs the parameter 'path'",
        ),
        (
            "model: code.py:Nedy, dataset: cifar10",
            "4: workloads.w.model: the module of '/code.py:Nedy' has no attribute 'Nedy'; did you mean 'Needy'?",
        ),
        ("model: resnet20", "4: workloads.w: image-classification needs the parameter 'dataset'"),
        (
            "model: resnet20, dataset: cifar10, label_noise: 1.5",
            "4: workloads.w.label_noise: must be less than or equal to 1 (got 1.5)",
        ),
        (
            "model: resnet20, dataset: cifar10, noise_over: some",
            "4: workloads.w.noise_over: must be Literal['all', 'others'] (got \"some\")",
        ),
    ],
)
def test_what_a_workload_names_is_checked_at_its_place(write: Write, named: str, problem: str) -> None:
    (found,) = problems(write("workload: code.py:simple", f"workload: image-classification, {named}"))
    assert problem in found


def test_a_workload_whose_data_are_there(write: Write) -> None:
    assert problems(write("workload: code.py:simple", "workload: code.py:mine, rate: 1, root: /")) == []


def test_made_up_data_need_no_data(write: Write) -> None:
    able = "workload: code.py:inventive, rate: 1, root: nowhere, synthetic: true"
    assert problems(write("workload: code.py:simple", able)) == []
    unable = "workload: code.py:mine, rate: 1, root: nowhere, synthetic: true"
    message = "4: workloads.w.synthetic: /code.py:mine cannot make up its data (got true)"
    assert problems(write("workload: code.py:simple", unable)) == [message]


@pytest.mark.parametrize(("workload", "made_up"), [("inventive", True), ("mine", False)])
def test_a_rehearsal_makes_up_what_can_be_made_up(write: Write, workload: str, made_up: bool) -> None:
    path = write("workload: code.py:simple", f"workload: code.py:{workload}, rate: 1, root: /")
    real = suites.load(path)
    rehearsal = checks.with_synthetic_data(real)
    assert [spec.synthetic for spec in rehearsal.specs] == [made_up] * 2
    assert ({spec.key for spec in real.specs} & {spec.key for spec in rehearsal.specs} == set()) == made_up


def test_data_are_prepared(write: Write, tmp_path: Path) -> None:
    suite = suites.load(write("workload: code.py:simple", "workload: code.py:mine, rate: 1, root: deep/down"))
    assert list(checks.prepare(suite, tmp_path)) == ["w"]
    assert (tmp_path / "deep/down").is_dir()


def test_data_that_cannot_be_had_are_one_line(write: Write, tmp_path: Path) -> None:
    suite = suites.load(write("workload: code.py:simple", "workload: code.py:mine, rate: 1, root: raise"))
    with pytest.raises(BadInputError, match=r"workloads.w: data cannot be prepared: OSError: no network$"):
        list(checks.prepare(suite, tmp_path))
