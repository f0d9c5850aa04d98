"""The expected best of k trials, against all sets of k of them."""

from itertools import combinations, pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from benchbench.stats.best_of import expected_best

values = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=9)


@given(values)
def test_the_expectation_is_the_mean_over_all_sets(trials):
    found = [point.expected for point in expected_best(trials)]
    naive = [np.mean([max(each) for each in combinations(trials, k)]) for k in range(1, len(trials) + 1)]
    np.testing.assert_allclose(found, naive, rtol=1e-9, atol=1e-9)


@given(values, st.randoms())
def test_the_order_of_trials_decides_nothing(trials, random):
    assert expected_best(random.sample(trials, len(trials))) == expected_best(trials)


@given(values)
def test_more_trials_are_never_worse_and_the_ends_are_in_order(trials):
    found = expected_best(trials)
    expected = [point.expected for point in found]
    assert all(later >= earlier - 1e-9 for earlier, later in pairwise(expected))
    assert all(min(trials) - 1e-9 <= point.low <= point.high <= max(trials) + 1e-9 for point in found)


def test_the_interval_of_a_mean_covers_it_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = [
        point.low <= 0.5 <= point.high for _ in range(300) for point in expected_best(rng.random(30))[:1]
    ]  # fmt: skip
    assert 0.88 < np.mean(covered) < 0.99


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution_where_trials_are_many():
    trials = np.linspace(0, 1, 60)
    (mean, *_) = expected_best(trials)
    half = 1.96 * trials.std() / np.sqrt(len(trials))
    np.testing.assert_allclose([mean.low, mean.high], [0.5 - half, 0.5 + half], atol=0.1 * half)


def test_many_trials_do_not_overflow():
    found = expected_best(np.arange(2000.0))
    assert np.isclose(found[-1].expected, 1999)
    assert np.isclose(found[0].expected, 999.5)


def test_no_trials_have_no_curve():
    assert expected_best([]) == []
