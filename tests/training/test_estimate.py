from __future__ import annotations

from typing import Any

import pytest
import torch

from benchbench.training import estimate
from benchbench.training.steps import Training
from benchbench.values import Component, RunSpec
from benchbench.workloads import DATA
from tests.conftest import STUBS

CPU = torch.device("cpu")


def spec(optimizer: str = "sgd", workload: str = "digits-mlp", **parameters: Any) -> RunSpec:
    return RunSpec(
        suite="test",
        method="method",
        workload_label=workload,
        workload=Component(target=workload),
        optimizer=Component(target=optimizer, parameters=parameters),
        epochs=3,
        batch_size=128,
        seed=0,
    )


@pytest.mark.parametrize(
    ("optimizer", "parameters", "gradients", "hvps"),
    [
        ("sgd", {"lr": 0.1}, 1, 0),
        ("sam", {"lr": 0.1}, 2, 0),
        ("adahessian", {"lr": 0.1}, 1, 1),
        ("sassha", {"lazy_hessian": 4}, 2, 0.25),
        ("msassha", {"lazy_hessian": 10, "n_samples": 2}, 1, 0.2),
        ("muon", {"lr": 0.1}, 1, 0),
    ],
)
def test_what_a_step_asks_for(optimizer: str, parameters: dict[str, Any], gradients: float, hvps: float) -> None:
    found = estimate.evaluations(spec(optimizer, **parameters))
    assert found == pytest.approx((gradients, hvps))


def test_what_a_step_differentiates_by_itself() -> None:
    chosen = spec("pytorch_optimizer:SophiaH", lr=0.1).model_copy(update={"create_graph": True})
    assert estimate.evaluations(chosen) == pytest.approx((1, 0.1))


def test_an_optimizer_that_does_not_run_has_no_estimate() -> None:
    assert estimate.evaluations(spec(f"{STUBS}:Idle", lr=0.1)) is None


def test_the_counts_are_those_of_the_run() -> None:
    chosen = spec("sassha", lazy_hessian=5)
    training = Training(chosen, CPU, DATA)
    for epoch in (1, 2, 3):
        for batch in training.task.batches(epoch):
            training.step(batch)
    one, asked = estimate.work(chosen, CPU), estimate.evaluations(chosen)
    assert one is not None
    assert asked is not None
    cost = estimate.estimate(chosen, one, asked).cost
    real = training.ledger.cost(0.0)
    assert (cost.steps, cost.gradients, cost.hvps) == (real.steps, real.gradients, real.hvps)


def test_operations_are_those_of_a_whole_batch() -> None:
    one = estimate.work(spec(), CPU)
    assert one is not None
    # Two layers of 64 x 64 and 64 x 10, multiplied and added for 128 images: forward, and twice that backward, the
    # gradient of the images apart.
    assert one.flops == 2 * 128 * (2 * 64 * 64 + 3 * 64 * 10)
    assert one.seconds > 0


def test_a_workload_without_its_data_has_no_estimate() -> None:
    chosen = {("w", "m"): spec(workload=f"{STUBS}:missing", lr=0.1)}
    assert estimate.of_runs(chosen, CPU) == {}
