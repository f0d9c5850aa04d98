"""What can be wrong with search spaces, and what is said about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchbench import suite as suites

SUITE = """name: s
seeds: [0, 1]
tuning: {budget: {gc: 100}}
workloads:
  w: {workload: digits-mlp, epochs: 1, batch_size: 8}
methods:
  m:
    optimizer: sgd
    search:
      kind: {choices: [a, b]}
      lr: {log_uniform: [0.001, 1], when: {kind: a}}
"""

LR = "lr: {log_uniform: [0.001, 1], when: {kind: a}}"
BUDGET = "budget: {gc: 100}"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (LR, "lr: {log_unifrm: [1, 2]}", "11: methods.m.search.lr.log_unifrm: unknown key; allowed: log_uniform"),
        (LR, "lr: {log_unifrm: [1, 2]}", "did you mean 'log_uniform'?"),
        (LR, "lr: {}", "11: methods.m.search.lr: a search space has exactly one of log_uniform"),
        (LR, "lr: {uniform: [0, 1], integers: [1, 2]}", "a search space has exactly one of"),
        (LR, "lr: {uniform: [1, 1]}", "the first end must be smaller than the second"),
        (LR, "lr: {uniform: [-1e308, 1e308]}", "the interval is too wide"),
        (LR, "lr: {uniform: [0, .inf]}", "11: methods.m.search.lr.uniform.1: must be a finite number"),
        (LR, "lr: {log_uniform: [0, 1]}", "11: methods.m.search.lr.log_uniform.0: must be greater than 0 (got 0)"),
        (LR, "lr: {uniform: [0]}", "methods.m.search.lr.uniform.1: is required"),
        (LR, "lr: {integers: [1.5, 2]}", "11: methods.m.search.lr.integers.0: must be a whole number"),
        (LR, "lr: {choices: []}", "11: methods.m.search.lr.choices: must not be empty"),
        (LR, "lr: {choices: [1, 2, 1]}", "a choice is listed twice"),
        (LR, "lr: 0.1", "11: methods.m.search.lr: must be a mapping"),
        ("when: {kind: a}", "when: {kinds: a}", "11: methods.m.search.lr.when.kinds: must be a hyperparameter with"),
        ("when: {kind: a}", "when: {kinds: a}", "did you mean 'kind'?"),
        ("when: {kind: a}", "when: {kind: c}", 'is no choice of kind; allowed: "a", "b" (got "c")'),
        ("when: {kind: a}", "when: {lr: 1}", "that stands before lr; allowed: kind"),
        (LR, LR + "\n      epochs: {integers: [1, 9]}", "12: methods.m.search.epochs: is a key of the suite"),
        ("    search:", "    sweep: {lr: [1]}\n    search:", "10: methods.m.search: a method is either swept or"),
        (BUDGET, "budget: {}", "3: tuning.budget: a budget has exactly one of gc, seconds, trials"),
        (BUDGET, "budget: {gc: 1, trials: 2}", "3: tuning.budget: a budget has exactly one of"),
        (BUDGET, "budget: {gcs: 1}", "3: tuning.budget.gcs: unknown key; allowed: gc, unit, seconds, trials"),
        (BUDGET, "budget: {gc: -1}", "3: tuning.budget.gc: must be greater than 0"),
        (BUDGET, "seed: 1", "3: tuning.budget: is required"),
        (BUDGET, BUDGET + ", sampler: tep", "3: tuning.sampler: must be 'quasi-random', 'random', 'grid' or 'tpe'"),
        (BUDGET, BUDGET + ", sampler: tep", "did you mean 'tpe'?"),
        (BUDGET, BUDGET + ", seeds: [1]", "3: tuning.seeds: the winner is trained on fresh seeds"),
        (BUDGET, BUDGET + ", finalists: {seeds: [0]}", "3: tuning.finalists.seeds: the winner is trained"),
        (BUDGET, BUDGET + ", seeds: [1001]", "3: tuning: the seeds of trials and of finalists must all differ"),
        ("    search:", "    tuned_on: tset\n    search:", "9: methods.m.tuned_on: must be 'validation' or 'test'"),
        ("    search:", "    tuned: {w: {}}\n    search:", "9: methods.m.tuned.w.budget: is required"),
    ],
)  # fmt: skip
def test_one_thing_is_wrong(write_suite: Callable[..., Path], old: str, new: str, said: str) -> None:
    assert old in SUITE
    _, problems = suites.read(write_suite(SUITE.replace(old, new)))
    assert said in "\n".join(map(str, problems))


def test_a_good_suite_has_no_problems(write_suite: Callable[..., Path]) -> None:
    suite, problems = suites.read(write_suite(SUITE))
    assert problems == []
    assert suite is not None
    assert list(suite.spaces["w"]["m"]) == ["kind", "lr"]


def test_an_override_comes_first_and_a_fixed_value_is_not_searched(write_suite: Callable[..., Path]) -> None:
    more = "    overrides:\n      v: {search: {lr: {uniform: [0, 1]}}}\n      u: {lr: 0.1}\n"
    workloads = (
        "  v: {workload: digits-mlp, epochs: 1, batch_size: 8}\n  u: {workload: digits-mlp, epochs: 1, batch_size: 8}\n"
    )
    suite = suites.load(write_suite(SUITE.replace("methods:", workloads + "methods:") + more))
    assert suite.spaces["v"]["m"]["lr"].uniform == (0, 1)
    assert suite.spaces["w"]["m"]["lr"].log_uniform == (0.001, 1)
    assert list(suite.spaces["u"]["m"]) == ["kind"]


@pytest.mark.parametrize(("fixed", "left"), [("a", ["lr"]), ("b", [])])
def test_a_condition_on_a_value_that_is_fixed_is_decided(
    write_suite: Callable[..., Path], fixed: str, left: list[str]
) -> None:
    suite = suites.load(write_suite(SUITE + f"    overrides:\n      w: {{kind: {fixed}}}\n"))
    space = suite.spaces.get("w", {}).get("m", {})
    assert list(space) == left
    assert all(one.when == {} for one in space.values())


def test_the_schema_knows_search_spaces() -> None:
    definitions = suites.json_schema()["$defs"]
    assert {"Space", "Tuning", "Budget", "Tuned"} <= definitions.keys()
