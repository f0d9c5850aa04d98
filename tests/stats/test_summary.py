import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchbench.stats import Summary, mean, sample_std, summarize


def test_the_standard_deviation_is_that_of_a_sample():
    assert summarize([1.0, 2.0, 4.0]) == Summary(n=3, mean=7 / 3, std=statistics.stdev([1, 2, 4]))
    assert sample_std([1.0, 3.0]) == math.sqrt(2)  # the population's would be 1


def test_a_single_value_has_no_spread():
    assert summarize([0.5]) == Summary(n=1, mean=0.5, std=None)
    assert sample_std([]) is None


def test_without_values_there_is_no_mean():
    with pytest.raises(statistics.StatisticsError):
        mean([])


@pytest.mark.parametrize("bad", [[math.nan, 1.0], [math.inf, -math.inf]])
def test_what_is_not_a_number_is_not_averaged_away(bad):
    assert math.isnan(mean(bad))
    assert math.isnan(sample_std(bad))


def test_infinity_stays_infinite():
    assert mean([1.0, math.inf]) == math.inf


def test_large_values_do_not_overflow():
    assert mean([1.7e308, 1.7e308]) == 1.7e308


@given(st.lists(st.floats(), min_size=1), st.randoms())
def test_the_order_of_the_values_changes_no_bit(values, random):
    shuffled = values.copy()
    random.shuffle(shuffled)
    assert repr(summarize(shuffled)) == repr(summarize(values))  # as text, so that NaN equals NaN


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(2, 9))
def test_equal_values_have_exactly_their_mean_and_no_spread(value, n):
    assert summarize([value] * n) == Summary(n=n, mean=value, std=0.0)


def test_a_summary_survives_json():
    summary = summarize([math.inf, 1.0])
    assert repr(Summary.model_validate_json(summary.model_dump_json())) == repr(summary)
