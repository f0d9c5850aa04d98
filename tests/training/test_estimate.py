from __future__ import annotations

from typing import Any

import pytest
import torch

from benchbench.curvature import LossSurface, measure
from benchbench.optim.execution.buffers import ModelBuffers
from benchbench.plugins.factories import Factories, Factory
from benchbench.training import estimate
from benchbench.training.steps import Training
from benchbench.values import Execution, RunSpec
from benchbench.values.sharpness.settings import Settings, TraceSettings
from benchbench.workloads import DATA
from tests.conftest import STUBS
from tests.helpers.specs import run_spec

CPU = torch.device("cpu")


def spec(optimizer: str = "sgd", workload: str = "digits-mlp", **parameters: Any) -> RunSpec:
    return run_spec(optimizer, workload, parameters=parameters, epochs=3, batch_size=128)


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
    found = estimate.evaluations(Factory("optimizer", spec(optimizer, **parameters).optimizer))
    assert found == pytest.approx((gradients, hvps))


def test_what_a_step_differentiates_by_itself() -> None:
    chosen = spec("pytorch_optimizer:SophiaH", lr=0.1).model_copy(update={"create_graph": True})
    assert estimate.evaluations(Factory("optimizer", chosen.optimizer), True) == pytest.approx((1, 0.1))


def test_an_optimizer_that_does_not_run_has_no_estimate() -> None:
    assert estimate.evaluations(Factory("optimizer", spec(f"{STUBS}:Idle", lr=0.1).optimizer)) is None


def test_the_counts_are_those_of_the_run() -> None:
    chosen = spec("sassha", lazy_hessian=5)
    training = Training(chosen, Factories.of(chosen), CPU, DATA)
    for epoch in (1, 2, 3):
        for batch in training.task.batches(epoch):
            training.step(batch)
    factories = Factories.of(chosen)
    one, asked = estimate.work(chosen, factories, CPU), estimate.evaluations(factories.optimizer)
    assert one is not None
    assert asked is not None
    found = estimate.estimate(chosen, one, asked)
    assert found is not None
    cost = found.cost
    real = training.ledger
    assert (cost.steps, cost.gradients, cost.hvps) == (real.steps, real.gradients, real.hvps)


def test_operations_are_those_of_a_whole_batch() -> None:
    one = estimate.work(spec(), Factories.of(spec()), CPU)
    assert one is not None
    # Two layers of 64 x 64 and 64 x 10, multiplied and added for 128 images: forward, and twice that backward, the
    # gradient of the images apart.
    assert one.gradient.flops == 2 * 128 * (2 * 64 * 64 + 3 * 64 * 10)
    assert one.gradient.seconds > 0


def test_a_product_is_measured_on_the_workload() -> None:
    one = estimate.work(spec(), Factories.of(spec()), CPU)
    assert one is not None
    assert one.product is not None
    # For the second layer twice what a gradient takes; for the first, whose images have no gradient, only as much.
    assert one.product.flops == 2 * 128 * (2 * 64 * 64 + 6 * 64 * 10)
    assert one.product.seconds > 0


def test_a_run_costs_what_its_gradients_and_products_take() -> None:
    one = estimate.Work(10, estimate.Effort(1e6, 0.001), estimate.Effort(3e6, 0.007))
    found = estimate.estimate(spec(), one, estimate.EvaluationCounts(2, 0.5))
    assert found is not None
    assert found.cost.train_seconds == pytest.approx(30 * (2 * 0.001 + 0.5 * 0.007))
    assert found.flops == pytest.approx(30 * (2 * 1e6 + 0.5 * 3e6))


def test_measuring_sharpness_is_part_of_the_estimate() -> None:
    one = estimate.Work(10, estimate.Effort(1e6, 0.001), estimate.Effort(3e6, 0.007))
    asked = estimate.EvaluationCounts(1, 0)

    def seconds(**settings: object) -> float | None:
        chosen = spec().asking_for_sharpness(settings)  # type: ignore[arg-type]
        found = estimate.estimate(chosen, one, asked)
        assert found is not None
        return found.sharpness_seconds

    losses, gradients, products = spec().sharpness.most_passes
    assert (losses, products) == (1 + 3 * 11, 100 + 2 + 100)
    assert seconds() == pytest.approx(10 * ((losses / 3 + gradients) * 0.001 + products * 0.007))
    assert seconds(examples=128) == pytest.approx(seconds() / 10)
    assert seconds(dtype="float64") is None
    plain = estimate.estimate(spec(), one, asked)
    assert plain is not None
    assert plain.sharpness_seconds == 0


def test_a_measurement_takes_no_more_than_its_bound() -> None:
    surface = quadratic()
    settings = Settings(draws=2, radii=(0.1,), trace=TraceSettings(products=7), products_per_pass=3)
    cost = measure(surface, settings).cost
    losses, gradients, products = settings.most_passes
    assert cost.forwards - cost.gradients <= losses
    assert cost.gradients <= gradients
    assert cost.hvps <= products


def quadratic() -> LossSurface:
    model = torch.nn.Linear(4, 1, bias=False)
    scale = torch.arange(1.0, 5.0)

    def loss(_: object) -> torch.Tensor:
        return (scale * model.weight**2).sum()

    return LossSurface(model.parameters(), lambda: [None], loss, lambda _: 1, buffers=ModelBuffers(model.modules()))


def test_products_that_cannot_be_computed_leave_only_their_methods_without_an_estimate() -> None:
    target = f"{STUBS}:only_once"
    chosen = {("w", name): spec(name, workload=target) for name in ("sgd", "adahessian")}
    found = estimate.of_runs(chosen, CPU)
    assert list(found) == [("w", "sgd")]


def test_each_way_of_computing_is_measured_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[tuple[int, bool]] = []

    def work(spec: RunSpec, *_: object, products: bool) -> estimate.Work:
        measured.append((spec.execution.accumulate, products))
        return estimate.Work(1, estimate.Effort(1.0, 1.0), estimate.Effort(1.0, 1.0) if products else None)

    monkeypatch.setattr(estimate, "work", work)
    parts = spec("adahessian").model_copy(update={"execution": Execution(accumulate=2)})
    chosen = {("w", "a"): spec("sgd"), ("w", "b"): parts, ("w", "c"): spec("adamw")}
    assert list(estimate.of_runs(chosen, CPU)) == list(chosen)
    assert sorted(measured) == [(1, False), (2, True)]


def test_a_workload_without_its_data_has_no_estimate() -> None:
    chosen = {("w", "m"): spec(workload=f"{STUBS}:missing", lr=0.1)}
    assert estimate.of_runs(chosen, CPU) == {}
