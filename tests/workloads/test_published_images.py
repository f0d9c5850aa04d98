"""Suites of image classification through the command line, on files as they are published."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torchvision.datasets

from benchbench.workloads.images.small import cifar10
from tests.helpers.command_line import call
from tests.helpers.suites import suite as small_suite
from tests.workloads.images.published import write_cifar


@pytest.fixture
def suite(write_suite: Callable[..., Path]) -> Path:
    model = {"name": "resnet20", "width": 4}
    images = {"workload": "image-classification", "dataset": "cifar10", "model": model, "epochs": 1, "batch_size": 32}
    return write_suite(small_suite(name="images", workloads={"CIFAR": images}))


@pytest.mark.usefixtures("workplace")
def test_all_methods_of_the_paper_train_on_published_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path / "data", monkeypatch, images=16)
    label = "CIFAR-10 ResNet-20"
    changes = ["seeds=[0]", "measure=[]"]
    changes += [f"workloads.{label}.{change}" for change in ("epochs=1", "model={name: resnet20, width: 4}")]
    options = [part for change in changes for part in ("--set", change)]
    result = call("run", "cifar", "--only", f"workload={label}", "--engine", "inline", "--json", *options)
    assert result.exit_code == 0, result.output
    runs = json.loads(result.stdout)["runs"]
    assert len(runs) == 8
    assert [run["spec"]["method"] for run in runs if run["result"]["outcome"] != "finished"] == []
    assert all(0 <= run["result"]["final"]["test/accuracy"] <= 1 for run in runs)
    assert result.stderr.count(": finished (accuracy ") == 8


@pytest.mark.usefixtures("workplace")
def test_holdout_and_noise_on_published_files(suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path / "elsewhere", monkeypatch)
    noisy = ("--set", "workloads.CIFAR.label_noise=0.5", "--set", "workloads.CIFAR.noise_over=others")
    result = call("run", suite, "--engine", "inline", "--json", "--data-dir", tmp_path / "elsewhere", *noisy)
    assert result.exit_code == 0, result.output
    (run,) = json.loads(result.stdout)["runs"]
    assert run["result"]["outcome"] == "finished"
    assert run["result"]["final"]["test/wrong_training_labels"] == 0.5
    assert "validation/accuracy" in run["result"]["final"]


@pytest.mark.usefixtures("workplace")
def test_missing_data_are_one_line_and_exit_code_2(suite: Path, tmp_path: Path) -> None:
    result = call("run", suite, "--engine", "inline")
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert f"{suite}:4: workloads.CIFAR" in line
    assert "CIFAR-10 is not there: no data/cifar-10-batches-py/data_batch_1" in line
    assert all(word in line for word in ("`benchbench prepare SUITE`", "`--data-dir`", "`--synthetic`"))
    assert not (tmp_path / ".benchbench").exists()


@pytest.mark.usefixtures("workplace")
def test_the_suite_rehearses_on_made_up_images(suite: Path) -> None:
    small = ("--set", "workloads.CIFAR.examples=64")
    result = call("run", suite, "--engine", "inline", "--json", "--synthetic", *small)
    assert result.exit_code == 0, result.output
    (run,) = json.loads(result.stdout)["runs"]
    assert run["spec"]["synthetic"] is True
    assert run["result"]["outcome"] == "finished"


def test_preparing_downloads_what_is_missing(suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path / "published", monkeypatch)

    def download(loader: torchvision.datasets.CIFAR10) -> None:
        shutil.copytree(tmp_path / "published", loader.root, dirs_exist_ok=True)

    monkeypatch.setattr(torchvision.datasets.CIFAR10, "download", download)
    result = call("prepare", suite, "--data-dir", tmp_path / "data")
    assert result.exit_code == 0, result.output
    assert result.stdout == "CIFAR: ready\n"
    assert f"downloading CIFAR-10 into {tmp_path / 'data'}" in result.stderr
    assert cifar10().missing(tmp_path / "data") is None
    assert call("prepare", suite, "--data-dir", tmp_path / "data").stderr == ""


def test_a_download_that_fails_is_one_line(suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(loader: torchvision.datasets.CIFAR10) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torchvision.datasets.CIFAR10, "download", download)
    result = call("prepare", suite, "--data-dir", tmp_path / "data")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].endswith("data cannot be prepared: OSError: no network")
    assert "Traceback" not in result.stderr


@pytest.mark.usefixtures("workplace")
def test_a_model_and_a_data_set_of_a_file(suite: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from tests.workloads.test_image_classification import Numbered, linear\n")
    text = suite.read_text().replace("{name: resnet20, width: 4}", "mine.py:linear")
    suite.write_text(text.replace("cifar10", "mine.py:Numbered"))
    result = call("run", suite, "--engine", "inline", "--json")
    assert result.exit_code == 0, result.output
    (run,) = json.loads(result.stdout)["runs"]
    assert run["result"]["outcome"] == "finished"
    assert run["spec"]["workload"]["digest"]
