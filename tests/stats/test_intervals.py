import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchbench.stats import Interval, bootstrap_interval, mean, t_interval

VALUES = [0.912, 0.905, 0.921, 0.899, 0.917, 0.908]


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_the_t_interval_is_that_of_scipy(level):
    interval = t_interval(VALUES, level)
    expected = stats.ttest_1samp(VALUES, 0).confidence_interval(level)
    assert (interval.low, interval.high) == pytest.approx(tuple(expected), rel=1e-12)
    assert interval.level == level


def test_the_interval_of_two_values_is_wide_but_defined():
    # t(0.975; 1) = 12.706, std / sqrt(2) = 0.5: 0.5 +- 6.353
    interval = t_interval([0.0, 1.0])
    assert (interval.low, interval.high) == pytest.approx((0.5 - 6.353102, 0.5 + 6.353102), abs=1e-6)


@pytest.mark.parametrize(
    ("values", "t", "bootstrap"),
    [
        ([], "n < 2", "n < 5"),
        ([1.0], "n < 2", "n < 5"),
        ([1.0, math.nan, 1.0, 2.0, 3.0], "not finite", "not finite"),
        ([1.0, math.inf, 1.0, 2.0, 3.0], "not finite", "not finite"),
        ([0.3] * 5, Interval(low=0.3, high=0.3, level=0.95), Interval(low=0.3, high=0.3, level=0.95)),
    ],
)
def test_degenerate_samples_have_a_defined_interval(values, t, bootstrap):
    assert t_interval(values) == t
    assert bootstrap_interval(values) == bootstrap


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_the_bootstrap_interval_scales_with_the_values(scale):
    small, large = bootstrap_interval(VALUES), bootstrap_interval([scale * value for value in VALUES])
    assert (large.low, large.high) == pytest.approx((scale * small.low, scale * small.high), rel=1e-9)


def test_the_bootstrap_interval_is_near_that_of_scipy():
    expected = stats.bootstrap((VALUES,), np.mean, method="BCa", rng=np.random.default_rng(1)).confidence_interval
    interval = bootstrap_interval(VALUES)
    assert (interval.low, interval.high) == pytest.approx(tuple(expected), abs=2e-4)  # another seed: 2% of the width


@pytest.mark.parametrize("interval", [t_interval, bootstrap_interval])
@pytest.mark.parametrize("level", [0.0, 1.0, 95, math.nan])
def test_a_level_is_a_probability(interval, level):
    with pytest.raises(ValueError, match="between 0 and 1"):
        interval(VALUES, level)


def test_the_bootstrap_interval_lies_where_theory_says():
    # For a large symmetric sample BCa approaches mean +- 1.96 * std / sqrt(n).
    sample = list(stats.norm.ppf((np.arange(400) + 0.5) / 400))
    interval = bootstrap_interval(sample)
    half = 1.959964 * np.std(sample) / math.sqrt(400)
    assert (interval.low, interval.high) == pytest.approx((-half, half), abs=0.05 * half)


def test_the_bootstrap_interval_follows_skewness():
    skewed = [1.0, 1.1, 1.2, 1.2, 1.3, 1.4, 1.6, 2.0, 3.5, 7.0]
    interval = bootstrap_interval(skewed)
    assert interval.high - mean(skewed) > mean(skewed) - interval.low > 0


@settings(max_examples=15)
@given(st.lists(st.floats(-1e6, 1e6), min_size=5, max_size=8), st.randoms())
def test_the_order_of_the_values_changes_no_bit(values, source):
    permuted = values.copy()
    source.shuffle(permuted)
    assert t_interval(permuted) == t_interval(values)
    assert bootstrap_interval(permuted) == bootstrap_interval(values)


def test_the_t_interval_covers_the_mean_as_often_as_it_says():
    samples = np.random.default_rng(0).normal(0.7, 0.1, size=(2000, 5))
    intervals = [t_interval(sample, 0.9) for sample in samples]
    covered = sum(interval.low <= 0.7 <= interval.high for interval in intervals) / 2000
    assert abs(covered - 0.9) < 3 * math.sqrt(0.9 * 0.1 / 2000)
