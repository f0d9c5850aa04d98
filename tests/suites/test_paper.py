"""The suites of the paper's experiments say what its authors' configurations say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchbench import suite as suites
from benchbench.suite import yaml_source
from benchbench.values import MultiStep, RunSpec

SETTINGS = Path(__file__).with_name("official_settings.yaml")
OFFICIAL: dict[str, dict[str, dict[str, dict[str, float]]]] = yaml_source.parse(
    SETTINGS.read_text(encoding="utf-8"), str(SETTINGS)
).data
DECAY_TIMES_LR = ("AdamW", "SAM-AdamW", "AdaHessian", "Sophia-H", "SASSHA")
"""Methods that multiply their decay with the learning rate."""

WITHOUT_A_SETTING = {
    *(("SAM-AdamW", workload) for workload in OFFICIAL["cifar"]),
    ("SAM-AdamW", "ResNet-50"),
    ("SAM-SGD", "ViT-S/32"),
}


def runs(suite: str) -> dict[tuple[str, str], RunSpec]:
    return {(spec.method, spec.workload_label): spec for spec in suites.load(suite).specs}


@pytest.mark.parametrize("suite", OFFICIAL)
def test_hyperparameters_are_the_official_ones(suite: str) -> None:
    found = runs(suite)
    official = {
        (method, workload): settings
        for workload, methods in OFFICIAL[suite].items()
        for method, settings in methods.items()
    }
    assert found.keys() - official.keys() == WITHOUT_A_SETTING & found.keys()
    assert official.keys() <= found.keys()
    for place, settings in official.items():
        spec = found[place]
        ours: dict[str, Any] = {
            **spec.optimizer.parameters,
            "clip_norm": spec.execution.clip_norm,
            "epochs": spec.epochs,
        }
        decay = ours["weight_decay"] * (settings["lr"] if place[0] in DECAY_TIMES_LR else 1)
        assert decay == pytest.approx(settings["wd"], rel=1e-8), place
        for name in settings.keys() - {"wd"}:
            assert ours[name] == settings[name], (place, name)
        assert ours["clip_norm"] == settings.get("clip_norm"), place


@pytest.mark.parametrize(
    ("suite", "workload", "epochs", "batch_size", "milestones"),
    [
        ("cifar", "CIFAR-10 ResNet-20", 160, 256, (80, 120)),
        ("cifar", "CIFAR-100 WRN-28-10", 200, 256, (60, 120, 160)),
        ("imagenet", "ResNet-50", 90, 256, (30, 60)),
        ("label_noise", "CIFAR-100 60%", 160, 256, (80, 120)),
    ],
)
def test_budgets_are_the_papers(
    suite: str, workload: str, epochs: int, batch_size: int, milestones: tuple[int, ...]
) -> None:
    spec = runs(suite)["SASSHA", workload]
    assert (spec.epochs, spec.batch_size, spec.protocol) == (epochs, batch_size, "paper")
    schedule = spec.schedule["lr"]
    assert isinstance(schedule, MultiStep)
    assert schedule.milestones == milestones


def test_runs_without_noise_are_shared_with_table_1() -> None:
    keys = [{spec.key for spec in suites.load(name).specs} for name in ("cifar", "label_noise")]
    assert len(keys[0] & keys[1]) == 2 * 6 * 3  # data sets, methods, seeds


@pytest.mark.parametrize(("suite", "same"), [("sharpness", "cifar"), ("digits_sharpness", "digits")])
def test_solutions_whose_sharpness_is_measured_are_those_of_another_suite(suite: str, same: str) -> None:
    own, others = ({spec.key for spec in suites.load(name).specs} for name in (suite, same))
    assert own < others
    assert all("sharpness" in spec.measure for spec in suites.load(suite).specs)
