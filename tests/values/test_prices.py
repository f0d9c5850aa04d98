"""Two units of gradient computations, the same wherever something is priced."""

from __future__ import annotations

import pytest

from benchbench.reporting.currencies import spent
from benchbench.training.estimate import EvaluationCounts
from benchbench.tuning.matching import price
from benchbench.tuning.study import total
from benchbench.values import Budget, Cost, RunResult, Tuning
from benchbench.values.prices import counted, priced, unit_name
from benchbench.values.sharpness.values import Evaluations as Measured

STEP = Cost(steps=10, forwards=10, gradients=10, hvps=10, train_seconds=1.0)


def test_a_product_counts_three_on_paper_and_two_where_operations_are_not_known() -> None:
    assert (priced(STEP, "paper").amount, priced(STEP, "paper").assumed) == (40, False)
    assert (priced(STEP, "flops").amount, priced(STEP, "flops").assumed) == (30, True)
    assert (priced(STEP, "flops", 2.98).amount, priced(STEP, "flops", 2.98).assumed) == (pytest.approx(29.8), False)
    assert not counted(5, 0, "flops").assumed
    assert [unit_name(unit) for unit in ("paper", "flops")] == ["GC (paper)", "GC (FLOPs)"]


def test_reports_searches_matching_and_sharpness_price_the_same_step_alike() -> None:
    run = RunResult(key="k", outcome="finished", cost=STEP)
    assert spent(STEP, "gc") == total([run], "paper").gc == 40
    assert total([run], "flops").gc == 10 * price(EvaluationCounts(1, 1)) == 30
    assert Measured(forwards=10, gradients=10, hvps=10).gradient_cost.amount == 30
    measured = run.model_copy(update={"gc_measured": 2.98})
    assert spent(STEP, "flops", 2.98) == total([measured], "flops").gc == pytest.approx(29.8)
    assert (total([run, measured], "flops").assumed, total([run], "paper").assumed) == (1, 0)


def test_a_budget_names_its_unit() -> None:
    assert Tuning(budget=Budget(gc=1)).gradient_unit == "flops"
    assert Tuning(budget=Budget(gc=1, unit="paper")).gradient_unit == "paper"
    with pytest.raises(ValueError, match="only a budget in gc has a unit"):
        Budget(seconds=1, unit="paper")
