import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchbench.stats import Interval, bootstrap_interval, bounded_interval, mean, t_interval

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


def test_the_interval_of_a_proportion_by_hand():
    # m = 0.95, std = 0.05, n = 3, t(0.975; 2) = 4.302653: every mu with
    # (0.95 - mu)^2 <= 4.302653^2 * 0.05^2 / (0.95 * 0.05) / 3 * mu * (1 - mu)
    found = bounded_interval([0.9, 0.95, 1.0], 0.0, 1.0)
    c = 4.302653**2 * 0.05**2 / (0.95 * 0.05) / 3
    for mu in (found.low, found.high):
        assert (0.95 - mu) ** 2 == pytest.approx(c * mu * (1 - mu), rel=1e-5)
    assert found.low < 0.95 < found.high < 1.0 < t_interval([0.9, 0.95, 1.0]).high


@pytest.mark.parametrize(("lowest", "highest"), [(0.0, 1.0), (-1.0, 1.0), (0.0, math.inf)])
def test_far_from_its_bounds_it_is_the_t_interval(lowest, highest):
    values = [0.5, 0.5001, 0.5003]
    found, expected = bounded_interval(values, lowest, highest), t_interval(values)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_with_a_lower_bound_alone_it_is_that_of_the_logarithm():
    # Distances from 1 of 1, 3, 5: mean 3, std 2, half = 4.302653 * 2 / sqrt(3).
    found = bounded_interval([2.0, 4.0, 6.0], 1.0)
    factor = math.exp(4.302653 * 2 / math.sqrt(3) / 3)
    assert (found.low, found.high) == pytest.approx((1 + 3 / factor, 1 + 3 * factor), rel=1e-5)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([], "n < 2"),
        ([1.0], "n < 2"),
        ([1.0, math.nan], "not finite"),
        ([1.0, 1.0, 1.0], "no spread"),
        ([0.0, 0.0], "no spread"),
        ([0.97, 0.97, 0.97], "no spread"),
        ([0.9, 1.01], "out of bounds"),
        ([0.9, -0.01], "out of bounds"),
        ([4.78, 4.78, 4.78], "out of bounds"),
    ],
)
def test_where_an_interval_of_a_proportion_says_nothing(values, why):
    assert bounded_interval(values, 0.0, 1.0) == why


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=30),
    st.sampled_from([(0.0, 1.0), (-1.0, 1.0), (-7.0, math.inf)]),
    st.randoms(),
)
def test_it_lies_inside_the_bounds_around_the_mean_in_any_order(values, bounds, source):
    found = bounded_interval(values, *bounds)
    if not isinstance(found, str):
        assert bounds[0] <= found.low <= mean(values) + 1e-12
        assert mean(values) - 1e-12 <= found.high <= bounds[1]
    permuted = values.copy()
    source.shuffle(permuted)
    assert bounded_interval(permuted, *bounds) == found


@given(st.lists(st.floats(0, 1), min_size=2, max_size=10))
def test_an_error_rate_has_the_mirrored_interval_of_its_accuracy(values):
    found, mirrored = bounded_interval(values, 0.0, 1.0), bounded_interval([1 - value for value in values], 0.0, 1.0)
    if not isinstance(found, str) and not isinstance(mirrored, str):
        assert (1 - found.high, 1 - found.low) == pytest.approx((mirrored.low, mirrored.high), abs=1e-9)


@pytest.mark.parametrize("n", [3, 5, 30])
@pytest.mark.parametrize(("p", "std"), [(0.5, 0.1), (0.95, 0.03), (0.99, 0.003)])
def test_it_covers_the_mean_of_a_proportion_as_often_as_it_says(n, p, std):
    concentration = p * (1 - p) / std**2 - 1
    drawn = np.random.default_rng(n).beta(p * concentration, (1 - p) * concentration, size=(4000, n))
    intervals = [bounded_interval(sample, 0.0, 1.0) for sample in drawn]
    covered = sum(found.low <= p <= found.high for found in intervals) / len(intervals)
    assert abs(covered - 0.95) < 3 * math.sqrt(0.95 * 0.05 / len(intervals))
