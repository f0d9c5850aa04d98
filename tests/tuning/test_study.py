"""Budgets, finalists and winners, on made-up results."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchbench.tuning.study import status_of
from tests.tuning.simulated_search import METRIC, result, search, study

SPACE = {"lr": {"uniform": [0, 1]}}


def value(spec) -> float:
    return spec.optimizer.parameters["lr"]


@given(st.integers(40, 500), st.integers(150, 1500), st.integers(1, 9), st.sampled_from(["gc", "seconds"]))
def test_the_budget_is_kept_to_within_half_a_trial(cost, budget, at_a_time, unit):
    amount = budget if unit == "gc" else budget / 50
    one = study(SPACE, {"budget": {unit: amount}})
    end, made = search(one, lambda spec: result(spec, value(spec), cost), at_a_time)
    spent = cost * len(end.trials)
    assert len(end.trials) == 1 or abs(spent - budget) <= cost / 2 + 1e-6
    finals = {spec.key for trial in end.finalists for spec in trial.specs}
    assert {spec.key for spec in made} - finals == {spec.key for trial in end.trials for spec in trial.specs}


@given(st.lists(st.integers(40, 400), min_size=40, max_size=40), st.integers(400, 1500))
def test_the_budget_is_kept_to_within_one_run_where_costs_differ(costs, budget):
    one = study(SPACE, {"budget": {"gc": budget}})
    end, _ = search(one, lambda spec: result(spec, value(spec), costs[int(spec.method.partition("#")[2]) % 40]))
    spent = sum(trial.spent.gc for trial in end.trials)
    assert abs(spent - budget) <= max(costs)


def test_measured_operations_come_before_the_price_of_a_product():
    one = study(SPACE, {"budget": {"gc": 3000}})
    end, _ = search(one, lambda spec: result(spec, value(spec), gc_measured=3.0))
    assert [trial.spent.gc for trial in end.trials] == [300.0] * 10


def test_the_winner_is_the_best_on_other_seeds_not_the_luckiest_trial():
    one = study(SPACE, {"budget": {"trials": 8}, "seeds": [10], "finalists": {"count": 3, "seeds": [11, 12]}})

    def answer(spec):
        lucky = spec.seed == 10
        return result(spec, value(spec) if lucky else 1 - value(spec))

    end, made = search(one, answer)
    best = sorted((trial.values["lr"] for trial in end.trials), reverse=True)[:3]
    assert [trial.values["lr"] for trial in end.finalists] == best
    assert end.winner.values["lr"] == min(best)
    assert {spec.seed for spec in made} == {10, 11, 12}
    assert sum(spec.seed == 10 for spec in made) == 8
    assert all(not spec.reads_test and spec.protocol == "holdout" for spec in made)


def test_of_equally_good_trials_the_cheaper_one_wins():
    one = study(SPACE, {"budget": {"trials": 6}})
    end, _ = search(one, lambda spec: result(spec, 0.5, 100 * value(spec) + 10))
    assert end.winner.spent.gc == min(trial.spent.gc for trial in end.finalists)


def test_where_lower_is_better_the_lowest_wins():
    one = study(SPACE, {"budget": {"trials": 6}})
    end, _ = search(one, lambda spec: result(spec, value(spec), higher_is_better=False))
    assert end.winner.values["lr"] == min(trial.values["lr"] for trial in end.trials)
    assert end.sign == -1
    assert end.winner.value == pytest.approx(end.winner.values["lr"])


def test_a_finalist_that_diverges_on_one_seed_does_not_win():
    one = study(SPACE, {"budget": {"trials": 6}, "finalists": {"count": 2, "seeds": [1, 2]}})

    def answer(spec):
        diverges = spec.seed == 2 and value(spec) > 0.8
        return result(spec, math.nan if diverges else value(spec), outcome="diverged" if diverges else "finished")

    end, _ = search(one, answer)
    assert max(trial.values["lr"] for trial in end.finalists) > 0.8
    assert end.winner.values["lr"] <= 0.8


def test_trials_that_diverge_cost_what_they_cost_and_count():
    one = study(SPACE, {"budget": {"gc": 1000}})

    def answer(spec):
        diverges = value(spec) > 0.5
        return result(spec, math.nan if diverges else 0.1, 100, outcome="diverged" if diverges else "finished")

    end, _ = search(one, answer)
    assert len(end.trials) == 10
    assert end.broken == sum(trial.values["lr"] > 0.5 for trial in end.trials) > 0


@pytest.mark.parametrize(("budget", "trials"), [({"gc": 1000}, 3), ({"seconds": 20}, 3), ({"trials": 10}, 10)])
def test_a_method_of_which_every_trial_breaks_ends_without_a_winner(budget, trials):
    end, made = search(study(SPACE, {"budget": budget}), lambda spec: result(spec, 0.5, outcome="failed"))
    assert end.winner is None
    assert len(made) == trials


def test_trials_that_break_use_up_the_budget_as_if_they_had_not():
    def answer(spec):
        return result(spec, value(spec), outcome="failed" if value(spec) > 0.5 else "finished")

    end, _ = search(study(SPACE, {"budget": {"gc": 1000}}), answer)
    assert len(end.trials) == 10


def test_a_small_space_is_searched_once():
    one = study({"n": {"integers": [1, 4]}}, {"budget": {"trials": 100}})
    end, _ = search(one, lambda spec: result(spec, 0.5))
    assert sorted(trial.values["n"] for trial in end.trials) == [1, 2, 3, 4]


def test_a_trial_on_several_seeds_has_the_mean_of_them():
    one = study(SPACE, {"budget": {"trials": 2}, "seeds": [4, 8], "finalists": {"count": 1, "seeds": [1]}})
    end, _ = search(one, lambda spec: result(spec, spec.seed / 10))
    assert [trial.value for trial in end.trials] == pytest.approx([0.6, 0.6])
    assert [trial.spent.runs for trial in end.trials] == [2, 2]


def test_nothing_is_pending_twice_and_trials_wait_for_the_first_cost():
    one = study(SPACE, {"budget": {"gc": 1000}})
    first = status_of(one, {})
    assert len(first.pending) == 1
    known = {first.pending[0].key: result(first.pending[0], 0.5)}
    assert len(status_of(one, known).pending) == 9
    assert status_of(one, known).trials[0].metric == METRIC


def test_a_broken_trial_scores_as_the_worst_of_the_others():
    one = study(SPACE, {"budget": {"trials": 12}})
    end, _ = search(
        one, lambda spec: result(spec, value(spec), outcome="diverged" if value(spec) > 0.6 else "finished")
    )
    finished = [trial.value for trial in end.trials if trial.value is not None]
    assert 1 < len(finished) < len(end.trials)
    assert sorted(end.scores) == sorted([*finished, *[min(finished)] * end.broken])


def test_there_is_no_winner_before_every_finalist_has_run_on_every_seed():
    one = study(SPACE, {"budget": {"trials": 4}, "finalists": {"count": 2, "seeds": [1, 2]}})
    end, made = search(one, lambda spec: result(spec, value(spec)))
    assert end.winner is not None
    known = {spec.key: result(spec, value(spec)) for spec in made[:-1]}
    before = status_of(one, known)
    assert (before.winner, [spec.key for spec in before.pending]) == (None, [made[-1].key])


def test_where_costs_differ_the_next_trial_waits_for_those_under_way():
    one = study(SPACE, {"budget": {"gc": 1000}})
    known = {}
    for cost in (50, 150):
        [first, *_] = status_of(one, known).pending
        known[first.key] = result(first, value(first), cost)
    assert len(status_of(one, known).pending) == 1  # it may cost anything, and leave no room for another one
    even = {
        key: found.model_copy(update={"cost": found.cost.model_copy(update={"gradients": 100})})
        for key, found in known.items()
    }
    assert len(status_of(one, even).pending) == 8
