"""The whole measurement: reproducible, traceless, priced, and honest about what is not finite."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from benchbench.curvature import Settings, Sharpness, measure
from benchbench.values.sharpness.settings import DensitySettings, EigenvalueSettings, TraceSettings
from tests.accelerator import every_device, tolerance
from tests.curvature.surfaces import Solution, dense, quadratic, solution, symmetric
from tests.helpers import model_cases

pytestmark = every_device

EVERYTHING = Settings(
    seed=3,
    eigenvalues=EigenvalueSettings(tolerance=1e-6),
    trace=TraceSettings(products=12),
    density=DensitySettings(probes=2, steps=4, points=16),
)
ALTERNATIVES = EVERYTHING.model_copy(
    update={
        "eigenvalues": EigenvalueSettings(method="power", max_iterations=10),
        "trace": TraceSettings(method="hutch++", products=12),
    }
)
both_settings = pytest.mark.parametrize("settings", [EVERYTHING, ALTERNATIVES], ids=["defaults", "alternatives"])


@both_settings
def test_is_reproducible_and_leaves_nothing_behind(settings: Settings) -> None:
    found = solution("conv_bn", training=True)
    before = {key: tensor.clone() for key, tensor in found.model.state_dict().items()}
    random_state = torch.get_rng_state()
    first = measure(found.surface(), settings)
    assert torch.equal(torch.get_rng_state(), random_state)
    for key, tensor in found.model.state_dict().items():
        assert torch.equal(tensor, before[key]), key
    torch.manual_seed(99)  # a different state of the global generator must not matter
    assert measure(found.surface(), settings) == first
    assert all(p.grad is None for p in found.model.parameters())


@pytest.mark.parametrize("name", model_cases.NAMES)
def test_says_what_was_measured(name: str) -> None:
    found = solution(name)
    exact = dense(name)
    sharpness = measure(found.surface(), EVERYTHING)
    facts = sharpness.surface
    assert (facts.parameters, facts.dtype) == (len(exact.gradient), "float64")
    assert (facts.examples, facts.batches) == (15, 3)
    assert facts.batch_norm == ("eval" if name == "conv_bn" else "none")
    assert sharpness.differences.loss == pytest.approx(exact.loss, rel=tolerance(1e-13))
    assert sharpness.eigenvalues.largest.value == pytest.approx(exact.eigenvalues[-1].item(), rel=tolerance(1e-6))
    assert [difference.radius for difference in sharpness.differences.at] == [0.05, 0.1, 0.5]
    assert sharpness.density is not None


@both_settings
def test_survives_json(settings: Settings) -> None:
    sharpness = measure(solution("mlp").surface(), settings)
    assert Sharpness.model_validate_json(sharpness.model_dump_json()) == sharpness


def test_float32_is_measured_and_said_to_be() -> None:
    double = solution("conv_bn")
    expected = measure(double.surface(), Settings(trace=TraceSettings(products=12)))
    single = Solution(double.model.float(), [(x.float(), y) for x, y in double.batches])
    found = measure(single.surface(), Settings(trace=TraceSettings(products=12)))
    assert found.surface.dtype == "float32"
    assert found.eigenvalues.largest.value == pytest.approx(expected.eigenvalues.largest.value, rel=1e-3)
    assert found.eigenvalues.largest.converged


def cost(batches: int, trace_products: int, draws: int = 10) -> tuple[int, int, int]:
    case = model_cases.build("mlp", batches=batches)
    settings = Settings.model_validate(
        {
            "eigenvalues": {"tolerance": 1e-300, "max_iterations": 6},
            "trace": {"products": trace_products},
            "draws": draws,
        }
    )
    found = measure(Solution(case.model, case.batches).surface(), settings).cost
    return found.forwards, found.gradients, found.hvps


def test_cost_grows_linearly_with_data_and_probes() -> None:
    """Per batch: 6 + 1 passes for 6 + 2 products of eigenvalues, products / 5 passes for the trace."""
    assert cost(batches=1, trace_products=20) == (1 + 1 + 3 * 11 + 7 + 4, 1 + 7 + 4, 8 + 20)
    assert cost(batches=4, trace_products=20) == tuple(4 * n for n in cost(batches=1, trace_products=20))
    base, twice, thrice = (cost(batches=1, trace_products=n) for n in (20, 40, 60))
    assert [b - a for a, b in zip(base, twice, strict=True)] == [4, 4, 20]
    assert [b - a for a, b in zip(twice, thrice, strict=True)] == [4, 4, 20]
    assert cost(batches=1, trace_products=20, draws=20)[0] - base[0] == 3 * 10


def test_costs_only_what_this_measurement_did() -> None:
    surface = quadratic(symmetric([2.0, 1.0]))
    settings = Settings(trace=TraceSettings(products=4))
    first, second = measure(surface, settings), measure(surface, settings)
    assert first.cost == second.cost
    assert surface.ledger.hvps == 2 * first.cost.hvps


@both_settings
@pytest.mark.parametrize("training", [False, True])
def test_a_nan_in_the_data_gives_nan(settings: Settings, training: bool) -> None:
    found = solution("conv_bn", training=training)
    found.batches[1][0][0, 0, 0, 0] = math.nan
    before = {key: tensor.clone() for key, tensor in found.model.state_dict().items()}
    sharpness = measure(found.surface(), settings)
    assert math.isnan(sharpness.differences.loss)
    assert math.isnan(sharpness.eigenvalues.largest.value)
    assert not sharpness.eigenvalues.largest.converged
    assert sharpness.eigenvalues.iterations == 1
    assert math.isnan(sharpness.trace.value)
    assert math.isnan(sharpness.differences.at[0].gradient)
    assert math.isnan(sharpness.differences.at[0].average.mean)
    assert sharpness.density is not None
    assert all(map(math.isnan, sharpness.density.values))
    assert '"NaN"' in sharpness.model_dump_json()
    for key, tensor in found.model.state_dict().items():
        assert torch.equal(tensor, before[key]), key


def test_overflow_is_no_exception_and_no_number() -> None:
    found = solution("mlp")
    with torch.no_grad():
        found.model[2].weight.fill_(1e308)
    sharpness = measure(found.surface(), EVERYTHING)
    assert sharpness.differences.gradient_norm == math.inf
    assert math.isnan(sharpness.differences.at[0].gradient)
    assert math.isnan(sharpness.trace.value)
    assert not sharpness.eigenvalues.largest.converged


@pytest.mark.parametrize(
    "wrong",
    [
        {"eigenvalues": {"tolerance": 0}},
        {"eigenvalues": {"method": "arnoldi"}},
        {"trace": {"products": 2}},
        {"radii": [0.1, -1]},
        {"draws": 0},
        {"products_per_pass": 0},
        {"probes": 3},
    ],
)
def test_settings_reject_what_has_no_meaning(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(wrong)
