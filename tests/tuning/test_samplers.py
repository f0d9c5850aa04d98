"""Samplers on functions whose optimum is known."""

from __future__ import annotations

import math
from statistics import mean, median

import numpy as np
import pytest

from benchbench.tuning import samplers
from benchbench.tuning.samplers import propose
from benchbench.values import Space, Tuning
from tests.tuning.simulated_search import result, search, study

SPACE = {"lr": {"log_uniform": [1e-4, 1]}, "beta": {"uniform": [0, 1]}}
BEST = (0.03, 0.7)


def distance(values: dict) -> float:
    """Largest difference from the optimum in shares of the space."""
    return max(abs(math.log10(values["lr"] / BEST[0])) / 4, abs(values["beta"] - BEST[1]))


def best_of(sampler: str, seed: int, trials: int) -> float:
    """How near a search has come to the optimum."""
    tuning = {"budget": {"trials": trials}, "sampler": sampler, "seed": seed, "finalists": {"count": 1, "seeds": [1]}}
    tuning["grid_points"] = 6
    end, _ = search(study(SPACE, tuning), lambda spec: result(spec, 1 - distance(spec.optimizer.parameters)))
    assert len(end.trials) == trials
    return min(distance(trial.values) for trial in end.trials)


def test_random_search_hits_a_region_as_often_as_its_volume_says():
    """P(hit a region of volume v in n trials) = 1 - (1 - v)^n; 300 searches, four standard errors."""
    v, n, searches = 0.04, 20, 300
    space = {name: Space.model_validate(each) for name, each in SPACE.items()}

    def hits(seed: int) -> bool:
        tuning = Tuning(budget={"trials": n}, sampler="random", seed=seed)
        return any(distance(propose(tuning, space, i)) < 0.1 for i in range(n))

    expected = 1 - (1 - v) ** n
    assert abs(mean(map(hits, range(searches))) - expected) < 4 * math.sqrt(expected * (1 - expected) / searches)


@pytest.mark.parametrize("seed", range(20))
def test_a_quasi_random_search_misses_no_box_of_its_net(seed):
    """The first 64 points of a scrambled Sobol' sequence put exactly one into each of 64 boxes, in any one coordinate,
    and in the first two coordinates exactly four into each square of a 4 by 4 grid (a (0, m, 2)-net in base 2).
    """
    points = samplers._sobol(seed, 64)
    assert all(len(set(np.floor(64 * column))) == 64 for column in points.T)
    squares = np.floor(4 * points[:, :2]).astype(int)
    assert {tuple(each): 4 for each in squares} == {
        tuple(square): int((squares == square).all(axis=1).sum()) for square in squares
    }
    # So the optimum is never further away than the side of a square, which random search does not promise.
    assert best_of("quasi-random", seed, 16) <= 0.25 + 1e-3


def test_a_grid_finds_the_optimum_within_half_a_step():
    """With p points an end to end interval has no value further than half of 1 / (p - 1) from a point."""
    assert best_of("grid", 0, 36) <= 0.5 / 5 + 1e-3


def test_a_part_of_a_grid_lies_all_over_the_space():
    one = study(SPACE, {"budget": {"trials": 12}, "sampler": "grid", "grid_points": 6})
    end, _ = search(one, lambda spec: result(spec, 0.5))
    assert len({trial.values["lr"] for trial in end.trials}) >= 4
    assert len({trial.values["beta"] for trial in end.trials}) >= 4


def test_tpe_beats_random_search_in_the_median():
    """In 40 trials, by the median of 11 searches; its first eight trials are quasi-random."""
    near = {sampler: median(best_of(sampler, seed, 40) for seed in range(11)) for sampler in ("random", "tpe")}
    assert near["tpe"] < near["random"]


def test_tpe_learns_from_the_first_proposal_after_the_quasi_random_ones():
    space = {name: Space.model_validate(each) for name, each in SPACE.items()}
    tpe, plain = (Tuning(budget={"trials": 20}, sampler=name) for name in ("tpe", "quasi-random"))
    points = [propose(plain, space, i) for i in range(20)]
    low, high = ([samplers.Tried(point, sign * point["beta"]) for point in points] for sign in (-1, 1))
    differ = [propose(tpe, space, i, low[:i]) != propose(tpe, space, i, high[:i]) for i in range(20)]
    assert differ.index(True) == samplers.STARTUP
    assert [propose(tpe, space, i) for i in range(samplers.STARTUP)] == points[: samplers.STARTUP]


def test_tpe_learns_from_conditional_hyperparameters_and_from_trials_that_broke():
    space = {
        "kind": {"choices": [["a"], {"b": 1}]},
        "lr": {"log_uniform": [1e-4, 1], "when": {"kind": {"b": 1}}},
        "n": {"integers": [1, 9]},
    }
    one = study(space, {"budget": {"trials": 30}, "sampler": "tpe"})

    def answer(spec):
        values = spec.optimizer.parameters
        if values["kind"] == ["a"]:
            return result(spec, math.nan, outcome="diverged")
        return result(spec, 1 - abs(math.log10(values["lr"] / 0.01)) / 4 - abs(values["n"] - 5) / 9)

    end, _ = search(one, answer)
    late = end.trials[15:]
    assert sum(trial.values["kind"] == {"b": 1} for trial in late) > len(late) / 2
    assert end.winner.values["kind"] == {"b": 1}
    assert all(("lr" in trial.values) == (trial.values["kind"] == {"b": 1}) for trial in end.trials)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_trial_that_diverged_counts_as_much_as_the_worst_that_did_not(sign):
    """Scores are negative where lower is better: a diverged trial is not the best of them."""
    space = {name: Space.model_validate(each) for name, each in SPACE.items()}
    tpe, plain = (Tuning(budget={"trials": 30}, sampler=name) for name in ("tpe", "quasi-random"))
    points = [propose(plain, space, i) for i in range(20)]
    scores = [sign * (1 + distance(point)) for point in points]

    def next_after(broken: float | None) -> list[object]:
        tried = [samplers.Tried(point, broken if i % 4 == 1 else scores[i]) for i, point in enumerate(points)]
        return [propose(tpe, space, i, tried[:i]) for i in range(12, 21)]

    worst = [min(score for i, score in enumerate(scores[:n]) if i % 4 != 1) for n in range(12, 21)]
    told = [
        propose(tpe, space, n, [samplers.Tried(p, low if i % 4 == 1 else scores[i]) for i, p in enumerate(points[:n])])
        for n, low in zip(range(12, 21), worst, strict=True)
    ]
    assert next_after(None) == told
    assert next_after(None) != next_after(3.0)  # as the best


@pytest.mark.parametrize("sampler", ["quasi-random", "random", "grid", "tpe"])
def test_the_same_seed_proposes_the_same_whatever_ran_in_between(sampler):
    tuning = {"budget": {"trials": 14}, "sampler": sampler, "seed": 3}

    def answer(spec):
        return result(spec, 1 - distance(spec.optimizer.parameters))

    one, _ = search(study(SPACE, tuning), answer)
    two, _ = search(study(SPACE, tuning), answer, at_a_time=1)
    assert one == two
    other, _ = search(study(SPACE, tuning | {"seed": 4}), answer)
    assert [trial.values for trial in other.trials] != [trial.values for trial in one.trials]


@pytest.mark.parametrize("sampler", ["quasi-random", "random"])
def test_methods_try_the_same_shares_of_what_they_share(sampler):
    tuning = Tuning(budget={"trials": 1}, sampler=sampler)
    few, many = {"lr": Space(uniform=(0, 1))}, {"lr": Space(uniform=(0, 10)), "rho": Space(uniform=(0, 1))}
    for i in range(100):
        a, b = propose(tuning, few, i)["lr"], propose(tuning, many, i)["lr"]
        assert math.isclose(10 * a, b, rel_tol=1e-3, abs_tol=1e-3)
