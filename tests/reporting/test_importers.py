"""Results of other benchmarks, in the forms in which those leave them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchbench.leaderboard import sources
from benchbench.problems import BadInputError
from benchbench.reporting import exchange, tables
from benchbench.reporting.importers import read_algoperf, read_fob
from tests.helpers.command_line import call
from tests.helpers.synthetic_submissions import scored

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


def final(records: list[exchange.Record]) -> list[exchange.Record]:
    return [record for record in records if record.at == "final"]


def test_the_last_evaluation_of_an_algoperf_trial_is_its_result(tmp_path: Path) -> None:
    place = algoperf(tmp_path, study=2, trial=3)
    (place / "meta_data_0.json").write_text(
        json.dumps({"gpu_model_name": "NVIDIA A100", "gpu_count": 4, "python_version": "3.11.10"})
    )
    records = final(read_algoperf(tmp_path))
    assert {record.metric: record.value for record in records} == {
        "test/accuracy": 0.75,
        "test/loss": 0.9,
        "validation/accuracy": 0.76,
    }
    first = records[0]
    assert (first.method, first.workload, first.seed, first.steps, first.train_seconds) == (
        "nadamw", "mnist", 2003, 1947, 478.32,
    )  # fmt: skip
    assert (first.device, first.study) == ("4 x NVIDIA A100", 2)
    assert json.loads(first.versions) == {"framework": "pytorch", "python_version": "3.11.10"}
    assert first.key == "nadamw/study_2/mnist_pytorch/trial_3"


def test_the_result_of_an_algoperf_trial_is_that_of_the_highest_step_wherever_it_stands(tmp_path: Path) -> None:
    algoperf(tmp_path, HEADER + LATE + EARLY)  # as after a restart
    records = read_algoperf(tmp_path)
    assert {record.metric: record.value for record in final(records)}["test/accuracy"] == 0.75
    assert {record.steps for record in final(records)} == {1947}
    accuracies = [record for record in records if record.at == "evaluation" and record.metric == "test/accuracy"]
    assert [(each.evaluation, each.steps, each.value) for each in accuracies] == [(1, 1947, 0.75), (2, 1, 0.1)]


def targets(folder: Path, **content: object) -> None:
    known = {"mnist": 0.76, "mnist_wide": 0.7, "cifar": 0.85}
    workloads = {
        name: {"target_metric_name": "accuracy", "validation_target_value": value} for name, value in known.items()
    }
    written = {"base_workloads": ["mnist", "cifar"], "workloads": workloads, **content}
    (folder / "targets.json").write_text(json.dumps(written))


def test_the_whole_history_and_the_targets_of_algoperf_make_tables(tmp_path: Path) -> None:
    algoperf(tmp_path, study=0)
    algoperf(tmp_path, HEADER + EARLY + LATE.replace("0.76", "0.70"), study=1)
    targets(tmp_path)
    command = [
        "import",
        str(tmp_path),
        "--from",
        "algoperf",
        "--table",
        "targets",
        "--table",
        "cost",
        "--format",
        "json",
    ]
    result = call(*command)
    assert result.exit_code == 0, result.output
    found, cost = json.loads(result.stdout)["tables"]
    assert [column["label"] for column in found["columns"]] == ["steps", "seconds"]  # no gradients, no epochs
    assert "target reached by 1 of 2 seeds" in found["rows"][0]["cells"][0]["reason"]
    assert not [cell for row in cost["rows"] for cell in row["cells"] if cell["figures"]]


def test_held_out_variants_of_algoperf_decide_about_their_base(tmp_path: Path) -> None:
    algoperf(tmp_path)
    (tmp_path / "nadamw" / "study_0" / "mnist_pytorch").rename(tmp_path / "nadamw" / "study_0" / "mnist_wide_jax")
    algoperf(tmp_path)
    targets(tmp_path, held_out_workloads=["mnist_wide"])
    suite, _ = exchange.as_suite(read_algoperf(tmp_path))
    assert (suite.targets, suite.held_out) == ({"mnist": 0.76, "mnist_wide": 0.7}, {"mnist_wide": "mnist"})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"base_workloads": ["x"], "workloads": {}}'])
def test_targets_of_another_form_are_named(text: str, tmp_path: Path) -> None:
    algoperf(tmp_path)
    (tmp_path / "targets.json").write_text(text)
    with pytest.raises(BadInputError, match=r"targets\.json"):
        read_algoperf(tmp_path)


def test_one_run_in_two_frameworks_is_refused_and_both_are_named(tmp_path: Path) -> None:
    algoperf(tmp_path)
    (tmp_path / "nadamw" / "study_0" / "mnist_pytorch").rename(tmp_path / "nadamw" / "study_0" / "mnist_jax")
    algoperf(tmp_path)
    with pytest.raises(BadInputError, match=r"mnist_pytorch.*is the same run .*mnist_jax") as caught:
        read_algoperf(tmp_path)
    assert len(caught.value.problems) == 1


def test_the_best_trial_of_a_study_counts_for_the_score(tmp_path: Path) -> None:
    algoperf(tmp_path, trial=1)
    algoperf(tmp_path, HEADER + EARLY + LATE.replace("0.76", "0.70"), trial=2)
    algoperf(tmp_path, HEADER + EARLY + LATE.replace("0.76", "0.70"), trial=3)
    targets(tmp_path)
    results = tmp_path / "results.csv"
    output = call("import", str(tmp_path), "--from", "algoperf").stdout
    results.write_text(output, encoding="utf-8")
    suite, rows = exchange.as_suite(exchange.read(results))
    [table] = tables(suite.model_copy(update={"tables": ("profile",)}), rows)
    assert {cell.text for line in table.rows for cell in line.cells} == {"1.00"}  # two of three trials have missed it
    [submission] = sources.read_all([str(results)], pytest.fail)
    assert [each.score for each in scored(submission).of["steps"]] == [1.0]


def test_what_was_imported_has_a_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plotly.offline.get_plotlyjs", lambda: "")
    algoperf(tmp_path / "logs", study=0)
    algoperf(tmp_path / "logs", HEADER + EARLY, study=1)  # fewer evaluations than the other one
    targets(tmp_path / "logs")
    output = call("import", str(tmp_path / "logs"), "--from", "algoperf", "--format", "json")
    (tmp_path / "results.json").write_text(output.stdout, encoding="utf-8")
    command = ["leaderboard", "build", str(tmp_path / "results.json"), "--out", str(tmp_path / "site")]
    result = call(*command)
    assert result.exit_code == 0, result.output
    index = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "No score in gradients: not measured for every method." in index
    assert "nan" not in index


def test_tables_without_a_name_have_the_formats_of_results(tmp_path: Path) -> None:
    algoperf(tmp_path)
    result = call("import", str(tmp_path), "--from", "algoperf", "--format", "html")
    assert result.exit_code == 2
    assert "--format: without --table, allowed: csv, json (got html)" in result.stderr


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
        result = call("import", str(tmp_path / "logs"), "--from", "algoperf", "--format", form)
        assert result.exit_code == 0, result.output
        path = tmp_path / f"results.{form}"
        path.write_text(result.stdout)
        assert exchange.read(path) == read_algoperf(tmp_path / "logs")


def test_a_folder_without_results_is_a_line(tmp_path: Path) -> None:
    result = call("import", str(tmp_path), "--from", "fob")
    assert result.exit_code == 2
    assert "has no file results_final_model.json in it" in result.stderr
