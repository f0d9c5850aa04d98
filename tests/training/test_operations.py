"""The probe: gradient equivalents per step, known on paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from benchbench.plugins.factories import Factories
from benchbench.runs.folder import RunFolder
from benchbench.training import operations
from benchbench.training.operations import LONGEST_WAIT, PLAIN_STEPS, Measured, gradient_equivalents, window
from benchbench.training.trainer import run_in_folder
from benchbench.values import Execution, RunResult, RunSpec
from tests.conftest import STUBS
from tests.helpers.specs import run_spec
from tests.training.test_trainer import CLOCKS

CPU = torch.device("cpu")
KNOWN_COST = STUBS.with_name("workloads_of_known_cost.py")


def spec(optimizer: str, workload: str = f"{KNOWN_COST}:conv", **parameters: Any) -> RunSpec:
    fields = ("measure", "create_graph", "execution", "workload_parameters")
    changes = {name: parameters.pop(name) for name in fields if name in parameters}
    return run_spec(optimizer, workload, parameters=parameters, epochs=2, batch_size=4, **changes)


def measured(chosen: RunSpec, *, hessian: bool) -> Measured:
    return gradient_equivalents(chosen, Factories.of(chosen), CPU, hessian=hessian)


@pytest.mark.parametrize("workload", ["conv", "attention"])
@pytest.mark.parametrize(
    ("optimizer", "parameters", "hessian", "expected"),
    [
        ("sgd", {"lr": 0.1}, False, 1.0),
        ("adamw", {}, False, 1.0),
        ("sam", {"lr": 0.1}, False, 2.0),
        ("adahessian", {}, True, 3.0),
        ("sophia_h", {"lazy_hessian": 10}, True, 1.2),
        ("sassha", {"lazy_hessian": 10}, True, 2.2),
        ("sassha", {"lazy_hessian": 1}, True, 4.0),
        ("sassha", {"lazy_hessian": 3}, True, 2 + 2 / 3),
    ],
)
def test_steps_are_worth_what_they_are_on_paper(
    workload: str, optimizer: str, parameters: dict[str, Any], hessian: bool, expected: float
) -> None:
    chosen = spec(optimizer, f"{KNOWN_COST}:{workload}", **parameters)
    found = measured(chosen, hessian=hessian)
    assert found.unmetered == ""
    assert found.gc == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(("optimizer", "hessian", "expected"), [("sgd", False, 1.0), ("sassha", True, 4.0)])
def test_a_batch_in_parts_costs_what_the_whole_does(optimizer: str, hessian: bool, expected: float) -> None:
    parameters = {"lazy_hessian": 1} if hessian else {"lr": 0.1}
    chosen = spec(optimizer, execution=Execution(accumulate=2), **parameters)
    assert measured(chosen, hessian=hessian).gc == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("workload", ["conv", "attention"])
def test_every_product_costs_as_much_as_the_first(workload: str) -> None:
    """Its price is 2 GC, a little more with attention: its second derivative takes 20 products where 18 are 3 GC."""
    target = f"{KNOWN_COST}:{workload}"
    one, two = (measured(spec("adahessian", target, n_samples=samples), hessian=True).gc for samples in (1, 2))
    assert one is not None
    assert two is not None
    assert two - one == pytest.approx(one - 1, rel=1e-9)


@pytest.mark.parametrize(("target", "expected"), [("AdaHessian", 3.0), ("SophiaH", 1.2)])
def test_optimizers_of_others_are_measured_the_same_way(target: str, expected: float) -> None:
    pytest.importorskip("pytorch_optimizer", reason="the optimizers of others are not installed")
    chosen = spec(f"pytorch_optimizer:{target}", create_graph=True)
    assert measured(chosen, hessian=True).gc == pytest.approx(expected, abs=0.02)


def test_an_operation_without_a_formula_is_named() -> None:
    found = measured(spec("shampoo"), hessian=False)
    assert found.gc is None
    assert found.unmetered.startswith("no formula for _linalg_eigh (the rest: ")


def test_a_model_without_a_formula_is_not_measured_in_itself() -> None:
    found = measured(spec("sgd", f"{KNOWN_COST}:recurrent"), hessian=False)
    assert found.gc is None
    assert found.unmetered.startswith("no formula for ")
    assert "rest" not in found.unmetered


def test_an_exception_is_a_reason() -> None:
    found = measured(spec(f"{STUBS}:Idle", lr=0.1), hessian=False)
    assert found.gc is None
    assert found.unmetered.startswith("the probe failed: ")
    assert "did not call the objective" in found.unmetered


@pytest.mark.parametrize(
    ("hvps", "expected"),
    [
        ([1], None),
        ([1, 1], range(2)),
        ([1, 0, 1], None),
        ([1, 0, 1, 0], range(4)),
        ([0, 0, 1, 0, 0, 1, 0], None),
        ([0, 0, 1, 0, 0, 1, 0, 0], range(2, 8)),
        ([0] * (LONGEST_WAIT - 1), None),
        ([0] * LONGEST_WAIT, range(0)),
        ([1] + [0] * (LONGEST_WAIT - 1), None),
        ([1] + [0] * LONGEST_WAIT, range(0)),
    ],
)
def test_the_window_is_two_hessian_periods(hvps: list[int], expected: range | None) -> None:
    assert window(hvps, hessian=True) == expected


def test_without_a_hessian_some_steps_will_do() -> None:
    assert window([0] * (PLAIN_STEPS - 1), hessian=False) is None
    assert window([0] * PLAIN_STEPS, hessian=False) == range(PLAIN_STEPS)


def test_a_period_that_is_too_long_is_a_reason() -> None:
    found = measured(spec("sophia_h", lazy_hessian=LONGEST_WAIT + 1), hessian=True)
    assert (found.gc, found.unmetered) == (None, "no two Hessian-vector products within 100 steps of each other")


def execute(chosen: RunSpec, path: Path) -> RunResult:
    folder = RunFolder(path)
    folder.prepare(chosen)
    result = run_in_folder(chosen, CPU, folder)
    assert folder.result() == result
    return result


def test_a_run_is_probed_when_its_spec_asks_for_it(tmp_path: Path) -> None:
    assert execute(spec("sam", lr=0.1), tmp_path).gc_measured is None
    assert execute(spec("sam", lr=0.1, measure=("flops",)), tmp_path).gc_measured == pytest.approx(2.0)


def test_the_probe_touches_nothing_of_the_run(tmp_path: Path) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    probed = execute(spec("sassha", measure=("flops",)), tmp_path)
    assert torch.equal(torch.rand(3), expected)
    plain = execute(spec("sassha"), tmp_path)
    assert probed.final == plain.final
    assert probed.cost.model_dump(exclude=CLOCKS) == plain.cost.model_dump(exclude=CLOCKS)


def test_a_death_in_the_probe_costs_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(operations, "gradient_equivalents", die)
    folder = RunFolder(tmp_path)
    chosen = spec("sgd", lr=0.1, measure=("flops",))
    folder.prepare(chosen)
    with pytest.raises(KeyboardInterrupt):
        run_in_folder(chosen, CPU, folder)
    result = folder.result()
    assert result is not None
    assert (result.outcome, result.unmetered) == ("finished", "the process died in the probe")


def test_a_failed_run_is_not_probed(tmp_path: Path) -> None:
    result = execute(spec(f"{STUBS}:Idle", lr=0.1, measure=("flops",)), tmp_path)
    assert (result.outcome, result.gc_measured, result.unmetered) == ("failed", None, "")


def test_what_is_measured_is_no_part_of_the_key() -> None:
    assert spec("sgd", measure=("flops",)).key == spec("sgd").key
