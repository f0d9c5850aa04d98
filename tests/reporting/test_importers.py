"""Results of other benchmarks, in the forms in which those leave them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchbench.cli import app
from benchbench.problems import BadInputError
from benchbench.reporting import exchange
from benchbench.reporting.importers import read_algoperf, read_fob

HEADER = (
    "accumulated_eval_time,accumulated_logging_time,accumulated_submission_time,global_step,preemption_count,score,"
    "test/accuracy,test/loss,test/num_examples,total_duration,validation/accuracy\n"
)
EARLY = "3.8,0.0,27.18,1,0,27.18,0.1,2.5,10000,30.0,0.11\n"
LATE = "7.6,0.0,478.32,1947,0,478.32,0.75,0.9,10000,500.0,0.76\n"


def algoperf(folder: Path, text: str = HEADER + EARLY + LATE, study: int = 0, trial: int = 1) -> Path:
    place = folder / "nadamw" / f"study_{study}" / "mnist_pytorch" / f"trial_{trial}"
    place.mkdir(parents=True)
    (place / "eval_measurements.csv").write_text(text)
    return place


def test_the_last_evaluation_of_an_algoperf_trial_is_its_result(tmp_path: Path) -> None:
    place = algoperf(tmp_path, study=2, trial=3)
    (place / "meta_data_0.json").write_text(
        json.dumps({"gpu_model_name": "NVIDIA A100", "gpu_count": 4, "python_version": "3.11.10"})
    )
    records = read_algoperf(tmp_path)
    assert {record.metric: record.value for record in records} == {
        "test/accuracy": 0.75,
        "test/loss": 0.9,
        "validation/accuracy": 0.76,
    }
    first = records[0]
    assert (first.method, first.workload, first.seed, first.steps, first.train_seconds) == (
        "nadamw", "mnist_pytorch", 2003, 1947, 478.32,
    )  # fmt: skip
    assert first.device == "4 x NVIDIA A100"
    assert first.key == "nadamw/study_2/mnist_pytorch/trial_3"


def test_an_algoperf_trial_whose_loss_is_lost_has_diverged(tmp_path: Path) -> None:
    algoperf(tmp_path, HEADER + EARLY + LATE.replace("0.9", "nan"))
    assert {record.outcome for record in read_algoperf(tmp_path)} == {"diverged"}


def test_trials_and_studies_are_runs_of_their_own(tmp_path: Path) -> None:
    for study in (0, 1):
        for trial in (1, 2):
            algoperf(tmp_path, study=study, trial=trial)
    assert {record.seed for record in read_algoperf(tmp_path)} == {1, 2, 1001, 1002}


def fob(folder: Path, name: str, accuracy: float) -> Path:
    place = folder / "mnist" / "adamw_baseline" / name
    place.mkdir(parents=True)
    (place / "results_final_model.json").write_text(json.dumps([{"test_acc": accuracy, "test_loss": 0.5}]))
    return place


def test_fob_folders_name_settings_and_seed(tmp_path: Path) -> None:
    place = fob(tmp_path, "engine.seed=3,optimizer.learning_rate=0.01", 0.97)
    (place / "results_best_model.json").write_text(json.dumps([{"test_acc": 0.98}]))
    records = read_fob(tmp_path)
    assert [(record.metric, record.at, record.value) for record in records] == [
        ("test/accuracy", "final", 0.97),
        ("test/loss", "final", 0.5),
        ("test/accuracy", "best", 0.98),
    ]
    assert (records[0].method, records[0].workload, records[0].seed) == (
        "adamw_baseline (optimizer.learning_rate=0.01)", "mnist", 3,
    )  # fmt: skip


def test_the_seed_of_fob_is_in_its_configuration_where_the_name_is_a_hash(tmp_path: Path) -> None:
    place = fob(tmp_path, "0f343b0931126a20f133d67c2b018a3b", 0.97)
    (place / "config.yaml").write_text("engine: {seed: 7}\n")
    fob(tmp_path, "default", 0.9)
    assert {record.seed for record in read_fob(tmp_path)} == {7, 42}


@pytest.mark.parametrize("text", ["", HEADER, HEADER + "a,b\n", HEADER + LATE.replace("1947", "many"), "x,y\n1,2\n"])
def test_files_of_another_form_are_named(text: str, tmp_path: Path) -> None:
    place = algoperf(tmp_path, text)
    with pytest.raises(BadInputError, match=str(place)):
        read_algoperf(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", "[1]", '[{"test_acc": "high"}]', '[{"test_acc": null}]'])
def test_scores_of_another_form_are_named(text: str, tmp_path: Path) -> None:
    place = fob(tmp_path, "default", 0.5)
    (place / "results_final_model.json").write_text(text)
    with pytest.raises(BadInputError, match=r"results_final_model\.json"):
        read_fob(tmp_path)


def test_yaml_that_asks_for_code_runs_none(tmp_path: Path) -> None:
    place = fob(tmp_path, "default", 0.5)
    (place / "config.yaml").write_text(f"engine: !!python/object/apply:os.mkdir ['{tmp_path}/made']\n")
    with pytest.raises(BadInputError, match="cannot be read"):
        read_fob(tmp_path)
    assert not (tmp_path / "made").exists()


def test_what_the_command_prints_can_be_imported(tmp_path: Path) -> None:
    algoperf(tmp_path / "logs")
    for form in ("csv", "json"):
        result = CliRunner().invoke(app, ["import", str(tmp_path / "logs"), "--from", "algoperf", "--format", form])
        assert result.exit_code == 0, result.output
        path = tmp_path / f"results.{form}"
        path.write_text(result.stdout)
        assert exchange.read(path) == read_algoperf(tmp_path / "logs")


def test_a_folder_without_results_is_a_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["import", str(tmp_path), "--from", "fob"])
    assert result.exit_code == 2
    assert "has no file results_final_model.json in it" in result.stderr
