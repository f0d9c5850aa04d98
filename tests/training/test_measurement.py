"""Sharpness of runs, through the command line: measured once, added to what is known, never in the training's way."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient
from torch.nn import functional as F
from typer.testing import Result

from benchbench.runs.folder import RunFolder
from benchbench.training.trainer import run_in_folder
from benchbench.values import RunResult, RunSpec
from benchbench.values.sharpness import RunSharpness
from tests.helpers import sharpness_workloads
from tests.helpers.command_line import call

SHARP = Path(sharpness_workloads.__file__)
SUITE = f"""
name: sharp
seeds: [0]
workloads:
  small: {{workload: "{SHARP}:small", epochs: 2, batch_size: 8}}
methods:
  SGD: {{optimizer: sgd, lr: 0.1}}
tables: [sharpness]
"""
SETTINGS = """
measure: [sharpness]
sharpness: {dtype: float64, radii: [0.1, 0.2], draws: 2, trace: {method: hutch++, products: 24}}
"""

Write = Callable[..., Path]


def run(suite: Path, *more: str) -> Result:
    return call("run", str(suite), "--engine", "inline", *more)


def folders() -> list[RunFolder]:
    return [RunFolder(path.parent) for path in sorted(Path(".benchbench/runs").glob("*/spec.json"))]


def only_folder() -> RunFolder:
    (folder,) = folders()
    return folder


def only_measurement() -> RunSharpness:
    (value,) = only_folder().sharpness().values()
    return value


def answer(spec: RunSpec | None = None) -> RunResult:
    """Return the result of the only run, with the sharpness that a spec asks for, or the one it was started with."""
    folder = only_folder()
    result = folder.answer(spec or folder.spec())
    assert result is not None
    return result


def tracked() -> list[Any]:
    client = MlflowClient(f"sqlite:///{Path.cwd()}/mlflow.db")
    experiment = client.get_experiment_by_name("sharp")
    runs = client.search_runs([experiment.experiment_id]) if experiment else []
    return [each for each in runs if "benchbench.key" in each.data.tags]


def dense(folder: RunFolder) -> tuple[torch.Tensor, torch.Tensor]:
    """Return loss and Hessian of the small workload's solution in float64, from its weights alone."""
    state = {name: value.double() for name, value in torch.load(folder.weights_file).items()}
    train = sharpness_workloads.splits()["train"]

    def loss(x: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(train.inputs.double() @ x[:6].view(2, 3).T + x[6:], train.labels)

    point = torch.cat([state["0.weight"].flatten(), state["0.bias"]])
    return loss(point), torch.autograd.functional.hessian(loss, point)


def test_measures_are_those_of_the_dense_hessian_of_the_final_weights(workplace: Path, write_suite: Write) -> None:
    found = run(write_suite(SUITE + SETTINGS))
    assert found.exit_code == 0, found.output
    loss, hessian = dense(only_folder())
    value = only_measurement()
    assert (value.surface.examples, value.surface.batches, value.surface.dtype) == (20, 3, "float64")
    assert value.differences.loss == pytest.approx(loss.item(), rel=1e-12)
    assert value.eigenvalues.largest.value == pytest.approx(torch.linalg.eigvalsh(hessian)[-1].item(), rel=1e-6)
    assert value.trace.value == pytest.approx(hessian.trace().item(), rel=1e-9)
    result = answer()
    assert result.final["sharpness/gradient_rise"] == result.final["sharpness/gradient_rise/0.1"]
    assert result.final["sharpness/gradient_rise"] < result.final["sharpness/gradient_rise/0.2"]
    cost = value.cost
    gradients = cost.gradients + 2 * cost.hvps + (cost.forwards - cost.gradients) / 3  # a loss alone counts a third
    assert result.final["sharpness/cost_epochs"] == pytest.approx(gradients / value.surface.batches)
    assert "λ_max(H)" in found.stdout
    assert "at radius 0.1 (0.2: see `export`)" in found.stdout


def test_a_suite_that_asks_later_measures_and_does_not_train_and_never_twice(
    workplace: Path, write_suite: Write
) -> None:
    assert run(write_suite(SUITE)).exit_code == 0
    (before,) = tracked()
    weights, lines = only_folder().weights_file.stat().st_mtime_ns, only_folder().metrics_file.read_text()
    suite = write_suite(SUITE + SETTINGS)
    assert "1 to measure" in call("plan", str(suite), "--runs").stdout
    assert run(suite).exit_code == 0
    assert only_folder().weights_file.stat().st_mtime_ns == weights
    assert only_folder().metrics_file.read_text() == lines
    (after,) = tracked()
    assert after.info.run_id == before.info.run_id
    assert after.data.metrics["final/sharpness/lambda_max"] == only_measurement().eigenvalues.largest.value
    measured = only_folder().sharpness_files[0].stat().st_mtime_ns
    assert run(suite).exit_code == 0
    assert call("sharpness", str(suite), "--engine", "inline").exit_code == 0
    assert only_folder().sharpness_files[0].stat().st_mtime_ns == measured


@pytest.mark.parametrize(
    ("dtype", "said"),
    [
        ("float32", ", and at most "),
        ("float64", ", and what measuring sharpness takes, which is not known of all runs"),
    ],
)
def test_a_plan_says_what_measuring_takes_at_most(workplace: Path, write_suite: Write, dtype: str, said: str) -> None:
    found = call("plan", str(write_suite(SUITE + SETTINGS.replace("float64", dtype))))
    assert "1 runs, 1 to run: about " in found.stdout
    assert said in found.stdout.replace("\n", " ")


def test_measurements_by_several_settings_stand_next_to_each_other(workplace: Path, write_suite: Write) -> None:
    one, other = SUITE + SETTINGS, SUITE + SETTINGS.replace("[0.1, 0.2]", "[0.3]")
    reports = [run(write_suite(text)).stdout for text in (one, other)]
    assert reports[0] != reports[1]
    (known,) = tracked()
    digest = only_folder().spec().sharpness.digest
    rises = {name for name in known.data.metrics if "gradient_rise" in name}
    names = {"gradient_rise", "gradient_rise/0.1", "gradient_rise/0.2"}
    names |= {f"{digest}/gradient_rise", f"{digest}/gradient_rise/0.3"}
    assert rises == {f"final/sharpness/{name}" for name in names}
    assert len(only_folder().sharpness()) == 2
    again = [run(write_suite(text)) for text in (one, other)]
    assert [found.stdout for found in again] == reports
    assert not any("started" in found.stderr for found in again)
    shutil.rmtree(".benchbench")  # the store has both
    assert [call("report", str(write_suite(text))).stdout for text in (one, other)] == reports
    assert [call("plan", str(write_suite(text))).exit_code for text in (one, other)] == [0, 0]


def test_a_suite_that_does_not_ask_shows_what_was_measured_and_says_so(workplace: Path, write_suite: Write) -> None:
    run(write_suite(SUITE + SETTINGS))
    shown = call("report", str(write_suite(SUITE))).stdout
    assert "λ_max(H)" in shown
    assert "1 runs were measured with other settings than the suite's" in shown


def test_another_radius_is_shown_and_nothing_is_measured_again(workplace: Path, write_suite: Write) -> None:
    first = run(write_suite(SUITE + SETTINGS))
    assert "δL: at radius 0.1 (0.2: see `export`)" in first.stdout
    measured = only_folder().sharpness_files[0].stat().st_mtime_ns
    second = run(write_suite(SUITE + SETTINGS.replace("draws: 2", "draws: 2, radius: 0.2, products_per_pass: 2")))
    assert "started" not in second.stderr
    assert "δL: at radius 0.2 (0.1: see `export`)" in second.stdout
    (file,) = only_folder().sharpness_files
    assert file.stat().st_mtime_ns == measured
    value = only_measurement()
    shown = [f"{1e3 * each.gradient:.4g}"[:4] for each in value.differences.at]
    assert [number in found.stdout for found in (first, second) for number in shown] == [True, False, False, True]


def test_a_damaged_measurement_is_named_and_made_again(workplace: Path, write_suite: Write) -> None:
    suite = write_suite(SUITE + SETTINGS)
    run(suite)
    (file,) = only_folder().sharpness_files
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"20", b"21", 1))
    assert only_folder().lost() == [f"{file} is damaged or was changed: it does not match its checksum"]
    assert not only_folder().sharpness()
    assert "0 to measure" not in call("plan", str(suite)).stdout  # the store has it
    Path("mlflow.db").unlink()
    assert run(suite).exit_code == 0
    assert only_folder().lost() == []
    assert len(only_folder().sharpness()) == 1


OLD = Path(__file__).parent / "measured_before"
"""A run's folder, and the tags and metrics of its run in MLflow, from when a result had its sharpness in it."""


@pytest.mark.parametrize("radius", [None, 0.1, 0.2])
@pytest.mark.parametrize("where", ["folder", "store"])
def test_what_earlier_versions_have_measured_is_read(
    workplace: Path, write_suite: Write, where: str, radius: float | None
) -> None:
    text = (OLD / "suite.yaml").read_text()
    text = text.replace("small.py", str(OLD / "small.py")).replace("radius: 0.2", f"radius: {radius}" if radius else "")
    suite = write_suite(text.replace(", ,", ","))
    key = json.loads((OLD / "result.json").read_text())["key"]
    if where == "folder":
        shutil.copytree(OLD, f".benchbench/runs/{key}", ignore=lambda *_: ["small.py", "suite.yaml", "tracked.json"])
    else:
        known = json.loads((OLD / "tracked.json").read_text())
        client = MlflowClient(f"sqlite:///{Path.cwd()}/mlflow.db")
        made = client.create_run(client.create_experiment("sharp"), tags=known["tags"]).info.run_id
        for name, value in known["metrics"].items():
            client.log_metric(made, name, value, step=2)
        client.set_terminated(made)
    found = run(suite)
    assert found.exit_code == 0, found.output
    assert "started" not in found.stderr
    line = next(line for line in found.stdout.splitlines() if line.startswith("SGD"))
    rises = {None: "26.43¹   -0.6086¹", 0.1: "26.43¹   -0.6086¹", 0.2: "58.45¹   1.280¹"}[radius]
    assert line.split() == f"SGD 0.6202¹ 1.659¹ {rises} 0.804¹ 37.50¹".split()
    assert "other settings" not in found.stdout
    exported = json.loads(call("export", str(suite), "--format", "json").stdout)["records"]
    values = {each["metric"]: each["value"] for each in exported if each["at"] == "final"}
    assert values["sharpness/gradient_rise"] == values[f"sharpness/gradient_rise/{radius or 0.1}"]
    if where == "folder":
        more = call("sharpness", str(suite), "--engine", "inline", "--dtype", "float32")
        assert more.exit_code == 0, more.output
        assert [file.name[:10] for file in RunFolder(Path(".benchbench/runs", key)).sharpness_files] == [
            "sharpness-", "sharpness.",
        ]  # fmt: skip
        assert "started" not in run(suite).stderr


def test_the_command_measures_finished_runs_and_names_the_others(workplace: Path, write_suite: Write) -> None:
    suite = write_suite(SUITE.replace("seeds: [0]", "seeds: [0, 1]"))
    run(suite, "--only", "seed=0")
    found = call(
        "sharpness", str(suite), "--engine", "inline", "--dtype", "float64", "--examples", "8",
        "--set", "sharpness={trace: {products: 4}}",
    )  # fmt: skip
    assert found.exit_code == 1
    assert "not measured: SGD · small · seed 1: the run has not finished" in found.stderr
    assert len(folders()) == 1
    value = only_measurement()
    assert (value.settings.examples, value.surface.examples, value.settings.trace.products) == (8, 8, 4)


def test_one_run_is_shown_by_its_folder_or_its_key(workplace: Path, write_suite: Write) -> None:
    run(write_suite(SUITE))
    folder = only_folder()
    by_folder = call("sharpness", str(folder.path), "--engine", "inline", "--density")
    assert by_folder.exit_code == 0, by_folder.output
    assert "20 training examples, not augmented" in by_folder.stdout
    measured = folder.sharpness_files[0].stat().st_mtime_ns
    whole = json.loads(call("sharpness", folder.path.name, "--engine", "inline", "--json").stdout)
    assert folder.sharpness_files[0].stat().st_mtime_ns == measured
    assert len(whole["density"]["probes"]) == 3
    assert whole["key"] == folder.path.name


@pytest.mark.parametrize("name", ["0123456789abcdef", "empty"])
def test_what_is_no_run_is_one_line(workplace: Path, name: str) -> None:
    Path("empty").mkdir()
    found = call("sharpness", name)
    assert found.exit_code == 2
    assert len(found.stderr.splitlines()) == 1
    assert "no such run: there is no spec.json" in found.stderr


def test_missing_weights_are_said_and_nothing_is_trained(workplace: Path, write_suite: Write) -> None:
    run(write_suite(SUITE))
    only_folder().weights_file.unlink()
    before = only_folder().result()
    found = run(write_suite(SUITE + SETTINGS))
    assert found.exit_code == 1
    assert "sharpness not measured" in found.stderr
    assert "no weights in .benchbench/runs" in found.stderr.replace("\n", "")
    assert only_folder().result() == before
    assert run(write_suite(SUITE + SETTINGS), "--force").exit_code == 0
    assert only_measurement().data


def test_a_run_that_diverged_is_not_measured(workplace: Path, write_suite: Write) -> None:
    assert run(write_suite(SUITE.replace("lr: 0.1", "lr: 1e38") + SETTINGS)).exit_code == 0
    assert only_folder().result().outcome == "diverged"
    assert not only_folder().sharpness()


def test_a_process_that_dies_while_measuring_costs_the_training_nothing(workplace: Path, write_suite: Write) -> None:
    workload = f'"{SHARP}:deadly", marker: "{workplace / "marker"}"'
    suite = write_suite(SUITE.replace(f'"{SHARP}:small"', workload) + SETTINGS)
    first = call("run", str(suite), "--slots", "1")
    assert first.exit_code == 1
    written = only_folder().result_file.read_bytes()
    assert (answer().outcome, answer().sharpness_missing) == ("finished", "the process died while it was measured")
    weights = only_folder().weights_file.stat().st_mtime_ns
    assert "Not measured (1): the process died while it was measured" in first.stdout
    assert call("run", str(suite), "--slots", "1").exit_code == 0
    assert only_folder().weights_file.stat().st_mtime_ns == weights
    assert only_folder().result_file.read_bytes() == written
    assert answer().sharpness_missing == ""
    shutil.rmtree(".benchbench")
    assert "Not measured" not in call("report", str(suite)).stdout


def test_batch_norm_has_the_mode_that_is_asked_for_and_dropout_is_off(workplace: Path, write_suite: Write) -> None:
    for mode in ("eval", "train"):
        settings = SETTINGS.replace("float64", f"float64, batch_norm: {mode}")
        run(write_suite(SUITE.replace("epochs: 2", "epochs: 2, norm: true") + settings))
    losses = {value.surface.batch_norm: value.differences.loss for value in only_folder().sharpness().values()}
    state = torch.load(only_folder().weights_file)
    train = sharpness_workloads.splits()["train"]
    x = (train.inputs.double() - state["0.running_mean"]) / (state["0.running_var"].double() + 1e-5).sqrt()
    x = x * state["0.weight"].double() + state["0.bias"].double()
    expected = F.cross_entropy(x @ state["2.weight"].double().T + state["2.bias"].double(), train.labels)
    assert losses["eval"] == pytest.approx(expected.item(), rel=1e-9)
    assert losses["train"] != pytest.approx(losses["eval"], rel=1e-3)


def test_a_workload_without_fixed_batches_is_measured_on_those_of_its_first_epoch(
    workplace: Path, write_suite: Write
) -> None:
    workload = SUITE.replace(f"{SHARP}:small", "STUBS:line")
    settings = SETTINGS.replace("float64", "float64, examples: 9, landscape: {dimensions: 1, points: 3}")
    assert run(write_suite(workload + settings)).exit_code == 0
    value = only_measurement()
    assert value.surface.examples == 16  # whole batches of eight
    assert value.data.startswith("examples in the batches of epoch 1")
    assert value.landscape.x == (-1.0, 0.0, 1.0)
    assert value.landscape.losses[0][1] == pytest.approx(value.differences.loss, rel=1e-12)


def test_a_measurement_can_be_stopped_and_begins_anew(workplace: Path, write_suite: Write) -> None:
    run(write_suite(SUITE))
    folder = only_folder()
    spec = folder.spec().asking_for_sharpness({"draws": 1})
    folder.prepare(spec)
    trained = run_in_folder(spec, torch.device("cpu"), folder, stop=lambda: True)
    assert trained.outcome == "finished"
    assert answer(spec) == trained.model_copy(update={"sharpness_missing": "stopped while it was measured"})
    folder.prepare(spec)
    assert run_in_folder(spec, torch.device("cpu"), folder) == trained
    assert (answer(spec).sharpness_settings, answer(spec).sharpness_missing) == (spec.sharpness.digest, "")
    assert answer(spec).final.items() >= trained.final.items()


@pytest.mark.parametrize(
    ("wrong", "where", "said"),
    [
        ("radii: [0.1, -1]", "sharpness.radii.1", "must be greater than 0 (got -1)"),
        ("radii: [0.1], radius: 0.2", "sharpness", "radius must be one of radii: 0.1"),
        ("dtype: float16", "sharpness.dtype", "must be 'float32' or 'float64'"),
        ("traces: {}", "sharpness.traces", "did you mean 'trace'?"),
        ("trace: {probes: 3}", "sharpness.trace.probes", "allowed: method, products"),
    ],
)
def test_wrong_settings_are_lines_with_their_place(
    workplace: Path, write_suite: Write, wrong: str, where: str, said: str
) -> None:
    suite = write_suite(SUITE + f"sharpness: {{{wrong}}}\n")
    found = call("plan", str(suite))
    assert found.exit_code == 2
    (line,) = found.stderr.splitlines()
    assert f"suite.yaml:9: {where}: " in line
    assert said in line
