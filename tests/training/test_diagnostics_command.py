"""Diagnostics from the suite file to the folder, the tracking store and the figure."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.helpers.command_line import call
from tests.helpers.suites import SGD, suite

Write = Callable[..., Path]

SUITE = suite(
    name="watched",
    workloads={"digits-mlp": {"epochs": 2, "batch_size": 128}},
    methods={"Adam": {"optimizer": "adam", "lr": 0.01}, "SGD": SGD},
)
WATCHED = "diagnostics: {every: 10, record: [update_norm, perturbation_norm], state: [exp_avg]}"


def test_records_reach_the_folder_the_store_and_a_figure(write_suite: Write, workplace: Path) -> None:
    suite = write_suite(SUITE + WATCHED)
    assert call("run", suite, "--engine", "inline").exit_code == 0
    client = MlflowClient()
    [experiment] = [each for each in client.search_experiments() if each.name == "watched"]
    tracked = client.search_runs([experiment.experiment_id], "tags.`benchbench.method` = 'Adam'")[0]
    folder = workplace / ".benchbench/runs" / tracked.data.tags["benchbench.key"]
    records = [json.loads(line) for line in (folder / "diagnostics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [10, 20]
    history = client.get_metric_history(tracked.info.run_id, "diagnostics/update_norm")
    assert {point.step: point.value for point in history} == {
        record["step"]: record["values"]["update_norm"] for record in records
    }
    assert "diagnostics/state/exp_avg/negative_share" in tracked.data.metrics
    assert "diagnostics.jsonl" in {file.path for file in client.list_artifacts(tracked.info.run_id)}
    drawn = call("plot", suite, "--kind", "histogram", "--out", "figures")
    assert drawn.exit_code == 0, drawn.output
    assert "watched-histogram-digits-mlp.svg" in drawn.stdout


def test_a_run_with_records_is_a_run_of_its_own(write_suite: Write, workplace: Path) -> None:
    plain = write_suite(SUITE, "plain.yaml")
    assert call("run", plain, "--engine", "inline").exit_code == 0
    planned = json.loads(call("plan", write_suite(SUITE + WATCHED), "--runs", "--json").stdout)
    assert {run["state"] for run in planned["runs"]} == {"to run"}


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("every: 10", "every: 0", "diagnostics.every: must be at least 1 (got 0)"),
        ("every: 10", "evry: 10", "did you mean 'every'?"),
        ("update_norm", "update_nrm", "update_nrm"),
        ("exp_avg", "exp_avgs", "did you mean 'exp_avg'?"),
        ("[exp_avg]", "[exp_avg, exp_avg]", "'exp_avg' is listed twice"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place(
    write_suite: Write, workplace: Path, old: str, new: str, problem: str
) -> None:
    suite = write_suite(SUITE + WATCHED.replace(old, new))
    found = call("run", suite, "--engine", "inline")
    assert found.exit_code == 2
    [line] = found.stderr.strip().splitlines()
    assert f"{suite}:8: diagnostics" in line
    assert problem in line
    assert not (workplace / ".benchbench").exists()
