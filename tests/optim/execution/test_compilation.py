"""Compiled gradients: the same numbers up to rounding, and no silent fallback."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchbench.optim.execution.compilation import CompiledLoss
from benchbench.values import Component, Execution, RunSpec
from tests.conftest import STUBS
from tests.helpers.specs import run_spec
from tests.training import small_tasks


def spec(**changes: Any) -> RunSpec:
    return run_spec(**{"batch_size": 399, **changes})  # three full batches: one shape, one compilation


def final(chosen: RunSpec) -> tuple[dict[str, float], dict[str, str], int]:
    """Return the final losses (rounding can flip an example of the accuracies), what was compiled, the gradients."""
    result = small_tasks.trained(chosen)
    assert result.outcome == "finished"
    losses = {name: value for name, value in result.final.items() if name.endswith("/loss")}
    return losses, result.environment, result.cost.gradients


def test_compiling_is_part_of_the_run_key() -> None:
    assert spec().key != spec(execution=Execution(compile=True)).key


@pytest.mark.slow
def test_compiled_gradients_are_the_eager_ones_up_to_rounding() -> None:
    eager, environment, gradients = final(spec())
    assert "compile" not in environment
    compiled, environment, compiled_gradients = final(spec(execution=Execution(compile=True)))
    assert environment["compile"] == "gradients compiled"
    assert compiled == pytest.approx(eager, rel=1e-4)
    assert compiled_gradients == gradients == 3


@pytest.mark.slow
def test_hessian_steps_are_eager_and_statistics_move_once_per_step() -> None:
    """A network with batch norm under an optimizer that evaluates twice and asks for products."""
    second_order = {
        "workload": Component(target="digits-resnet8"),
        "optimizer": Component(target="sassha", parameters={"lr": 0.1, "rho": 0.1, "lazy_hessian": 2}),
    }
    eager, _, gradients = final(spec(**second_order))
    compiled, environment, compiled_gradients = final(spec(execution=Execution(compile=True), **second_order))
    assert environment["compile"] == "gradients compiled, Hessian steps eager"
    assert compiled == pytest.approx(eager, rel=1e-3)
    assert compiled_gradients == gradients == 6


def test_what_cannot_be_compiled_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks_the_graph(batch: torch.Tensor) -> torch.Tensor:
        torch._dynamo.graph_break()
        return batch.sum()

    loss = CompiledLoss(breaks_the_graph)
    assert loss(torch.ones(3)).item() == 3.0
    assert "all eager (Unsupported:" in loss.account(hvps=0)


@pytest.mark.slow
def test_batches_of_too_many_shapes_end_compiling_aloud() -> None:
    loss = CompiledLoss(lambda batch: batch.sum())
    assert [loss(torch.ones(size)).item() for size in range(2, 14)] == list(range(2, 14))
    assert "all eager (FailOnRecompileLimitHit" in loss.account(hvps=0)


def test_an_error_of_the_model_is_not_mistaken_for_one_of_the_compiler() -> None:
    def broken(batch: torch.Tensor) -> torch.Tensor:
        return batch @ torch.ones(7)

    with pytest.raises(Exception, match=r"size|shape|mat"):
        CompiledLoss(broken)(torch.ones(3, 3))


def test_a_suite_asks_for_it(write_suite: Any) -> None:
    from benchbench.suite import load

    text = f"""
name: compiled
seeds: [0]
defaults: {{workloads: {{epochs: 1, batch_size: 8, compile: true}}}}
workloads: {{a: {{workload: "{STUBS}:line"}}, b: {{workload: "{STUBS}:line", compile: false}}}}
methods: {{SGD: {{optimizer: sgd}}}}
"""
    assert [one.execution.compile for one in load(write_suite(text)).specs] == [True, False]
