"""The share of a space that is near the best, against a formula written out and spaces whose share is known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchbench.stats.robustness import robustness

SCORES = st.lists(st.none() | st.floats(-100, 100), min_size=10, max_size=40).filter(any)


@settings(max_examples=50)
@given(SCORES, st.floats(0.1, 100))
def test_the_share_is_that_of_the_trials_within_so_many_percent_of_the_best(scores, within):
    found = robustness(scores, within)
    finished = [each for each in scores if each is not None]
    best = max(finished)
    near = sum(best - each <= within / 100 * abs(best) + 1e-12 * abs(best) for each in finished)
    assert (found.n, found.best) == (len(scores), best)
    assert found.share == pytest.approx(near / len(scores))
    if found.interval != "no spread":
        assert 0 <= found.interval.low <= found.share <= found.interval.high <= 1


@settings(max_examples=30)
@given(SCORES, st.randoms())
def test_the_order_of_trials_decides_nothing(scores, source):
    assert robustness(source.sample(scores, len(scores)), 5) == robustness(scores, 5)


def test_accuracies_count_from_below_and_losses_from_above_the_best():
    accuracies = [0.90, 0.86, 0.855, 0.854, *[0.1] * 6]
    assert robustness(accuracies, 5).share == 0.3
    losses = [0.20, 0.209, 0.21, 0.2101, *[2.3] * 6]
    assert robustness([-each for each in losses], 5).share == 0.3


def test_trials_that_broke_are_outside_even_where_all_others_are_near():
    assert robustness([0.9] * 10 + [None, math.nan, -math.inf, None], 5).share == pytest.approx(10 / 14)


def test_too_few_trials_or_none_that_finished_have_no_share():
    assert robustness([0.9] * 9, 5) == "n < 10"
    assert robustness([None] * 12, 5) == "not finite"


def test_where_all_hangs_on_one_trial_the_interval_says_so():
    found = robustness([1.0, *[0.5] * 19], 5)
    assert found.share == 0.05
    assert (found.interval.low, found.interval.high) == (pytest.approx(0.05), 1)


def test_where_all_trials_are_near_there_is_no_interval():
    found = robustness([0.9, *[0.89] * 9], 5)
    assert (found.share, found.interval) == (1, "no spread")


@pytest.mark.parametrize("share", [0.2, 0.6])
def test_the_interval_covers_the_share_of_a_space_about_as_often_as_it_says(share):
    """Scores fall linearly from 1 along a line, at so many percent of its length by 5 percent."""
    rng = np.random.default_rng(2)
    found = [robustness(1 - 0.05 / share * rng.random(60), 5) for _ in range(150)]
    assert np.mean([each.interval.low <= share <= each.interval.high for each in found]) > 0.88
