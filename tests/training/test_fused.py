"""`fused: true`, torch's own option: one kernel for a whole update, in a suite like any other hyperparameter."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.training.test_attempt import assert_equal, perform, small, stop_after
from tests.training.test_waits import spec, waits

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3},
    "adamw": {"lr": 0.01, "weight_decay": 1e-2},
    "sam": {"lr": 0.1, "momentum": 0.9},
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_fused_optimizer_learns_the_same_and_can_be_resumed(optimizer: str, tmp_path: Path) -> None:
    plain = perform(tmp_path / "plain", small(optimizer, parameters=OPTIMIZERS[optimizer]))
    chosen = small(optimizer, parameters={**OPTIMIZERS[optimizer], "fused": True})
    fused = perform(tmp_path / "fused", chosen)
    assert (fused.outcome, fused.cost.gradients) == ("finished", plain.cost.gradients)
    assert fused.final["test/loss"] == pytest.approx(plain.final["test/loss"], rel=1e-3)
    for steps in (2, 4):
        assert perform(tmp_path / "stopped", chosen, stop_after(steps)).outcome == "interrupted"
    perform(tmp_path / "stopped", chosen)
    assert_equal(tmp_path / "fused", tmp_path / "stopped")


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_no_fused_optimizer_waits(optimizer: str) -> None:
    fused = spec(optimizer, {**OPTIMIZERS[optimizer], "fused": True}, schedule={"lr": {"name": "cosine"}})
    assert not sum(waits(fused), Counter())
