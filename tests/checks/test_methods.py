"""What can be known of a method before its first run."""

from __future__ import annotations

import warnings

import pytest
import torch

from tests.checks.suite_with_code import Write, problems


@pytest.mark.parametrize(
    ("method", "problem"),
    [
        ("optimizer: adamv", "6: methods.A.optimizer: unknown optimizer 'adamv'; allowed: adadelta, "),
        (
            "optimizer: 'no.where:One'",
            "6: methods.A.optimizer: module no.where cannot be imported: ModuleNotFound",
        ),
        ("optimizer: code.py:Nedy", "has no attribute 'Nedy'; did you mean 'Needy'?"),
        (
            "optimizer: adamw, lrr: 1",
            "6: methods.A.lrr: unknown parameter of adamw; allowed: lr, betas, eps, ",
        ),
        ("optimizer: adamw, lrr: 1", "; did you mean 'lr'?"),
        ("optimizer: adamw, categry: x", "; did you mean 'category'?"),
        ("optimizer: adamw, shedule: {}", "; did you mean 'schedule'?"),
        ("optimizer: adamw, seed: 1", "6: methods.A.seed: unknown parameter of adamw"),
        ("optimizer: adamw, lr: '0.1'", '6: methods.A.lr: must be float | torch.Tensor (got "0.1")'),
        ("optimizer: adamw, lr: true", "6: methods.A.lr: must be float | torch.Tensor (got true)"),
        ("optimizer: adamw, lr: null", "6: methods.A.lr: must be float | torch.Tensor (got null)"),
        (
            "optimizer: adamw, betas: [0.9]",
            "6: methods.A.betas: must be tuple[float | torch.Tensor, float | torch",
        ),
        ("optimizer: adamw, amsgrad: 1", "6: methods.A.amsgrad: must be bool (got 1)"),
        (
            "optimizer: adamw, lr: -0.1",
            "6: methods.A.lr: adamw cannot be constructed: ValueError: Invalid learning",
        ),
        (
            "optimizer: adamw, betas: [0.9, 1.5]",
            "6: methods.A.betas: adamw cannot be constructed: ValueError: ",
        ),
        (
            "optimizer: adamw, weight_decay: -1",
            "6: methods.A.weight_decay: adamw cannot be constructed: ValueErr",
        ),
        (
            "optimizer: sgd, nesterov: true",
            "6: methods.A: sgd cannot be constructed: ValueError: Nesterov momentum",
        ),
        ("optimizer: code.py:Needy", "6: methods.A: /code.py:Needy needs the parameter 'needed'"),
        (
            "optimizer: code.py:exits",
            "6: methods.A: /code.py:exits cannot be constructed: SystemExit: enough",
        ),
        ("optimizer: code.py:raises", "6: methods.A: /code.py:raises cannot be constructed: Odd: first"),
        (
            "optimizer: code.py:not_one",
            "6: methods.A.optimizer: /code.py:not_one gives no torch.optim.Optimizer",
        ),
        ("optimizer: code.py:Wrapper", "6: methods.A: /code.py:Wrapper needs the parameter 'base'"),
        ("optimizer: code.py:Wrapper, base: sgdd", "6: methods.A.base: unknown optimizer 'sgdd'; allowed"),
        (
            "optimizer: code.py:Wrapper, base: 3",
            "6: methods.A.base: must be the name of an optimizer (got 3)",
        ),
        (
            "optimizer: code.py:Wrapper, base: sgd, betas: 3",
            "6: methods.A.betas: unknown parameter of /code.py:Wr",
        ),
        (
            "optimizer: code.py:Wrapper, base: sgd, lr: a",
            '6: methods.A.lr: must be float | torch.Tensor (got "a")',
        ),
        (
            "optimizer: code.py:Wrapper, base: sgd, rho: -0.5",
            "6: methods.A.rho: /code.py:Wrapper cannot be constr",
        ),
        (
            "optimizer: adamw, schedule: {rho: {name: linear}}",
            "6: methods.A.schedule.rho: adamw has no such number",
        ),
        ("optimizer: adamw, schedule: {betas: {name: linear}}", "allowed: lr, eps, weight_decay"),
        ("optimizer: adamw, schedule: {weight: {name: linear}}", "did you mean 'weight_decay'?"),
        (
            "optimizer: adamw, sweep: {lr: [1, -1]}",
            "6: methods.A.sweep.lr.1: adamw cannot be constructed: Value",
        ),
        (
            "optimizer: adamw, overrides: {w: {lr: -1}}",
            "6: methods.A.overrides.w.lr: adamw cannot be constructed",
        ),
    ],
)
def test_a_method_that_cannot_be_set_up(write: Write, method: str, problem: str) -> None:
    (found,) = problems(write("optimizer: adamw", method))
    assert problem in found


@pytest.mark.parametrize(
    ("method", "schedule"),
    [
        ("optimizer: code.py:Open, anything: 3", ""),
        ("optimizer: code.py:Wrapper, base: adamw, betas: [0, 0]", "rho"),
    ],
)
def test_what_a_factory_passes_on_is_allowed(write: Write, method: str, schedule: str) -> None:
    text = f"{method}, schedule: {{{schedule}: {{name: linear}}}}" if schedule else method
    assert problems(write("optimizer: adamw", text)) == []


@pytest.mark.parametrize(
    ("method", "problem"),
    [
        (
            "code.py:Flagged",
            "6: methods.A: /code.py:Flagged cannot be constructed: ValueError: every group needs a flag",
        ),
        ("code.py:Curious", "6: methods.A.optimizer: /code.py:Curious differentiates gradients itself: set `create_gr"),
        ("code.py:Curious, create_graph: true", None),
        ("code.py:Wrapper, base: code.py:Matrices", None),
        ("code.py:OfModel, lr: 0.3", None),
    ],
)
def test_what_an_optimizer_wants_is_found_out_by_trying(write: Write, method: str, problem: str | None) -> None:
    found = problems(write("optimizer: adamw", f"optimizer: {method}"))
    assert not found if problem is None else problem in found[0]


@pytest.mark.parametrize(("workload", "refused"), [("matrices", False), ("mixed", True), ("simple", False)])
def test_only_a_choosy_optimizer_is_tried_on_the_workload(write: Write, workload: str, refused: bool) -> None:
    path = write("optimizer: adamw", "optimizer: code.py:Matrices")
    path.write_text(path.read_text().replace("code.py:simple", f"code.py:{workload}"))
    found = problems(path)
    expected = "6: methods.A.optimizer: /code.py:Matrices refuses the parameters of w: ValueError: matrices only"
    assert expected in found[0] if refused else not found


def test_warnings_and_random_numbers_of_a_constructor_stay_inside(write: Write) -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert problems(write("optimizer: adamw", "optimizer: code.py:warns")) == []
    assert torch.equal(torch.rand(1), expected)


def test_an_interrupt_ends_the_checks(write: Write) -> None:
    with pytest.raises(KeyboardInterrupt):
        problems(write("optimizer: adamw", "optimizer: code.py:interrupted"))


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            "workload: code.py:simple",
            "workload: code.py:simple, accumulate: 9",
            "4: workloads.w.accumulate: a batch of 8 examples has no 9 parts (got 9)",
        ),
        (
            "optimizer: adamw",
            "optimizer: adamw, overrides: {w: {accumulate: 9}}",
            "6: methods.A.overrides.w.accumulate: a batch of 8 examples has no 9 parts (got 9)",
        ),
        (
            "optimizer: adamw",
            "optimizer: adamw, ranks: 2, accumulate: 5",
            "6: methods.A.ranks: a batch of 8 examples has no 5 parts for each of 2 ranks (got 2)",
        ),
        (
            "optimizer: adamw",
            "optimizer: code.py:Curious, create_graph: true, ranks: 2",
            "6: methods.A.ranks: gradients that are summed over ranks have no graph, which `create_graph` asks for",
        ),
        (
            "workload: code.py:simple",
            "workload: code.py:simple, batch_norm: synchronised",
            "4: workloads.w.batch_norm: with one rank there is nothing to synchronise: leave it out, or",
        ),
        (
            "optimizer: adamw",
            "optimizer: adamw, autocast_evaluation: true",
            "6: methods.A.autocast_evaluation: there is no autocast to evaluate under: leave it out, or set",
        ),
        (
            "optimizer: adamw",
            "optimizer: adamw, deterministic: true, cudnn_benchmark: true",
            "6: methods.A.cudnn_benchmark: deterministic algorithms leave cuDNN no choice: leave out one of the two",
        ),
    ],
)
def test_gradients_that_cannot_be_computed_so(write: Write, old: str, new: str, problem: str) -> None:
    (found,) = problems(write(old, new))
    assert found.startswith(problem)


def test_gradients_can_be_computed_in_all_other_ways(write: Write) -> None:
    said = "accumulate: 2, clip_norm: 1, autocast: fp16, channels_last: true, tf32: true, ranks: 2"
    for more in ("deterministic: true", "cudnn_benchmark: true, autocast_evaluation: true"):
        assert problems(write("optimizer: adamw", f"optimizer: adamw, {said}, {more}")) == []


def test_a_schedule_of_the_workload_must_fit_every_method(write: Write) -> None:
    path = write("batch_size: 8", "batch_size: 8, schedule: {momentum: {name: linear}}")
    message = "adamw has no such number to schedule; allowed: lr, eps, weight_decay"
    assert problems(path) == [f"4: workloads.w.schedule.momentum: {message}"]
