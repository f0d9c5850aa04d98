from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from benchbench.reporting.regression import Recorded, first_difference
from benchbench.values import Cost, DiagnosticRecord, RunResult
from benchbench.values.results import Histogram
from tests.helpers.command_line import call
from tests.helpers.suites import suite

OPTIMIZER = """
import torch


class Mine(torch.optim.SGD):
    def __init__(self, params, lr: float = 0.1):
        super().__init__(params, lr=lr)
        self.steps = 0

    def step(self, closure):
        self.steps += 1
        for group in self.param_groups:
            group["lr"] = 0.1 * ({factor} if self.steps > 6 else 1)
        return super().step(closure)
"""

METHODS = {"Mine": {"optimizer": "mine.py:Mine"}, "SGD": {"optimizer": "sgd", "lr": 0.1}}
DIGITS = {"D": {"workload": "digits-mlp", "epochs": 3, "batch_size": 256}}


def run_in(folder: Path, *, factor: float, seeds: tuple[int, ...] = (0, 1), methods: object = None) -> Path:
    """Run the suite in a folder of its own, as in an environment of its own."""
    folder.mkdir()
    (folder / "mine.py").write_text(OPTIMIZER.format(factor=factor))
    text = suite(name="mine", seeds=list(seeds), workloads=DIGITS, methods=methods or METHODS)  # type: ignore[arg-type]
    (folder / "suite.yaml").write_text(text)
    os.chdir(folder)
    assert call("run", "suite.yaml", "--engine", "inline").exit_code == 0
    return folder


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)


def compared(against: object, form: str = "json") -> tuple[int, dict[str, object]]:
    done = call("regress", "suite.yaml", "--against", against, "--format", form)
    assert done.exit_code in (0, 1), done.output
    [table] = json.loads(done.stdout)["tables"]
    return done.exit_code, table


def test_a_change_is_dated_to_the_epoch_whose_steps_it_changed(tmp_path: Path) -> None:
    before = run_in(tmp_path / "before", factor=1.0)
    run_in(tmp_path / "after", factor=1 + 1e-6)
    code, table = compared(before)
    assert code == 1
    rows = table["rows"]
    assert isinstance(rows, list)
    # 5 steps an epoch: the learning rate changes with step 7, in the second epoch.
    assert [(row["headers"], row["cells"][0]["remark"]) for row in rows] == [
        (["D", "Mine", "0"], "5 – 10"),
        (["D", "Mine", "1"], "5 – 10"),
    ]
    notes = " ".join(table["notes"])  # type: ignore[arg-type]
    assert "2 of 4 runs are equal bit for bit" in notes
    assert "Mine on D is another run than before: optimizer.digest was" in notes
    assert "Both were made with the same versions" in notes


def test_the_same_code_elsewhere_gives_the_same_bits(tmp_path: Path) -> None:
    before = run_in(tmp_path / "before", factor=1.0)
    run_in(tmp_path / "after", factor=1.0)
    for place in (before, f"sqlite:///{before}/mlflow.db"):
        code, table = compared(place)
        assert (code, table["rows"]) == (0, [])
        assert "4 of 4 runs are equal bit for bit" in table["notes"][0]  # type: ignore[index]


def test_a_bundle_can_be_compared_with_and_a_run_without_a_result_is_named(tmp_path: Path) -> None:
    before = run_in(tmp_path / "before", factor=1.0)
    bundle = tmp_path / "handed-in.zip"
    assert call("export", "suite.yaml", "--bundle", bundle, "--tuning", "none").exit_code == 0
    after = run_in(tmp_path / "after", factor=1.0, seeds=(0,))
    assert compared(bundle)[0] == 0
    os.chdir(before)
    code, table = compared(after)
    assert code == 1
    reasons = [(row["headers"], row["cells"][0]["reason"]) for row in table["rows"]]  # type: ignore[attr-defined]
    assert reasons == [(["D", method, "1"], "no result before") for method in METHODS]


def test_runs_that_diverge_at_other_steps_or_have_other_histograms_are_not_equal() -> None:
    result = RunResult(key="0" * 16, outcome="diverged", selection_metric="validation/accuracy", epochs=0)
    early, late = (
        Recorded(result=result.model_copy(update={"cost": Cost(steps=steps, forwards=steps, gradients=steps)}))
        for steps in (3, 40)
    )
    found = first_difference(early, late)
    assert found is not None
    assert found.name in ("steps", "forwards", "gradients")
    assert (found.before, found.now) == (3, 40)
    found = first_difference(
        Recorded(result=result), Recorded(result=result.model_copy(update={"outcome": "finished"}))
    )
    assert found is not None
    assert found.name == "diverged"
    low, high = (
        Recorded(
            result=result,
            diagnostics=(
                DiagnosticRecord(step=1, epoch=1, histograms={"state/h": Histogram(edges=(0, 1, 2), counts=counts)}),
            ),
        )
        for counts in ((3, 1), (3, 2))
    )
    found = first_difference(low, high)
    assert found is not None
    assert (found.at, found.name, found.before, found.now) == (1, "state/h, count 1", 1, 2)
    assert first_difference(low, low) is None


def test_another_setting_is_said(tmp_path: Path) -> None:
    before = run_in(tmp_path / "before", factor=1.0, seeds=(0,), methods={"SGD": {"optimizer": "sgd", "lr": 0.1}})
    run_in(tmp_path / "after", factor=1.0, seeds=(0,), methods={"SGD": {"optimizer": "sgd", "lr": 0.2}})
    _, table = compared(before)
    assert "SGD on D is another run than before: optimizer.parameters.lr was 0.1, is 0.2." in table["notes"]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("against", "message"),
    [
        ("nowhere", "must be a folder with an mlflow.db"),
        ("nowhere.zip", "cannot be read"),
    ],
)
def test_nothing_to_compare_with_is_one_line(against: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text(suite(workloads=DIGITS, methods={"SGD": {"optimizer": "sgd", "lr": 0.1}}))
    done = call("regress", "suite.yaml", "--against", against)
    assert done.exit_code == 2
    [line] = [each for each in done.stderr.splitlines() if each.startswith("error")]
    assert message in line
