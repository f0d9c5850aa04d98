"""`benchbench plot` on runs of its own, through the command line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import benchbench
from benchbench import api
from benchbench.runs.folder import RunFolder
from benchbench.values import DiagnosticRecord, Histogram
from benchbench.values.sharpness.values import RunSharpness
from tests.helpers.command_line import call
from tests.helpers.suites import SGD, suite

SUITE = suite(
    name="small",
    title="Small",
    seeds=[0, 1],
    workloads={"digits-mlp": {"epochs": 2, "batch_size": 512}},
    methods={"A&B": SGD, "$C": {"optimizer": "adamw", "lr": 0.01}},
)


def measured(key: str) -> RunSharpness:
    """Return a sharpness with all that is drawn of it."""
    eigenvalue = {"value": 1.0, "error_bound": 0.0, "residual": 0.0, "converged": True}
    return RunSharpness.model_validate(
        {
            "settings": {},
            "surface": {"parameters": 1, "dtype": "float64", "batch_norm": "none", "examples": 1, "batches": 1},
            "differences": {"loss": 0.5, "gradient_norm": 0.0, "at": []},
            "eigenvalues": {
                "method": "power",
                "largest": eigenvalue,
                "smallest": None,
                "iterations": 1,
                "products": 1,
            },
            "trace": {"method": "hutchinson", "value": 1.0, "standard_error": None, "samples": 1, "products": 1},
            "density": {"probes": [], "width": 1.0, "grid": [-1.0, 0.0, 1.0], "values": [0.1, 0.8, 0.1], "products": 3},
            "landscape": {"seed": 0, "x": [-1.0, 0.0, 1.0], "y": [0.0], "losses": [[2.0, 0.5, 2.0]]},
            "cost": {"forwards": 1, "gradients": 1, "hvps": 1},
            "key": key,
            "data": "all",
            "seconds": 1.0,
            "epochs": 1.0,
        }
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> Path:
    """A folder with a suite that has been run in it."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copy(migrated_store, folder / "mlflow.db")
    (folder / "small.yaml").write_text(SUITE, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        result = call("run", "small.yaml", "--engine", "inline")
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def here(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(trained)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return trained


@pytest.mark.usefixtures("here")
def test_every_kind_with_data_is_drawn_and_its_files_are_named(tmp_path: Path) -> None:
    result = call("plot", "small.yaml", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    expected = {f"small-{kind}-digits-mlp.{form}" for kind in ("curves", "pareto") for form in ("png", "svg", "pdf")}
    assert {Path(line).name for line in result.stdout.splitlines()} == expected
    assert {path.name for path in (tmp_path / "out").iterdir()} == expected
    assert result.stderr == ""


@pytest.mark.usefixtures("here")
def test_histories_come_from_the_tracking_store_where_folders_are_gone(tmp_path: Path) -> None:
    with_folders = api.figures("small.yaml", kinds=["curves"])
    from_store = api.figures("small.yaml", kinds=["curves"], workspace=api.Workspace(runs_dir=tmp_path / "nowhere"))
    assert from_store == with_folders
    assert not from_store.without_history


@pytest.mark.usefixtures("here")
def test_runs_without_history_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchbench.tracking.Tracker.fetch", lambda *_: None)
    result = call("plot", "small.yaml", "--out", tmp_path, "--runs-dir", tmp_path / "nowhere", "--kind", "pareto")
    assert result.exit_code == 0
    (line,) = result.stderr.splitlines()
    assert "A&B on digits-mlp, seed 0; A&B on digits-mlp, seed 1; $C on digits-mlp, seed 0" in line


def test_what_was_measured_beside_the_training_is_drawn(here: Path, tmp_path: Path) -> None:
    suite = benchbench.load_suite("small.yaml")
    runs = tmp_path / "runs"
    shutil.copytree(here / ".benchbench/runs", runs)
    for spec in suite.specs:
        folder = RunFolder(runs / spec.key)
        counts = Histogram(edges=(-1.0, -0.1, 0.1, 1.0), counts=(1, 2, 3))
        record = DiagnosticRecord(step=2, epoch=1, values={"update_norm": 0.5}, histograms={"state/h": counts})
        result = folder.result()
        assert result is not None
        folder.result_file.unlink()  # a run that is still at work
        folder.append_diagnostics(record)
        with folder.diagnostics_file.open("a") as file:
            file.write('{"step": 3, "ep')
        folder.keep_sharpness(measured(spec.key))
        folder.finish(result)
    kinds = ["curves", "curves", "histogram", "spectrum", "pareto", "landscape"]
    assert [figure.kind for figure in api.figures(suite, workspace=api.Workspace(runs_dir=runs)).figures] == kinds
    result = call(
        "plot", "small.yaml", "--out", tmp_path, "--runs-dir", runs, "--kind", "landscape", "--kind", "spectrum"
    )
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 6


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--kind", "sweep"), "swept hyperparameters"),
        (("--metric", "train/los"), "did you mean 'train/loss'"),
        (("--kind", "pie"), "landscape"),
        (("--x", "meters"), "gradients"),
    ],
)
@pytest.mark.usefixtures("here")
def test_bad_input_says_what_is_wrong(arguments: tuple[str, ...], part: str, tmp_path: Path) -> None:
    result = call("plot", "small.yaml", "--out", tmp_path, *arguments)
    assert result.exit_code == 2
    assert part in result.stderr
    assert not list(tmp_path.iterdir())
