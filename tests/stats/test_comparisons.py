import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchbench.stats import Pairs, holm, mean, pair_by_seed, paired_t, welch_t, wilcoxon, z_against_target
from tests.stats.shuffling import shuffled

# Student (1908), hours of additional sleep with two drugs for the same ten patients; as `sleep` in R.
SLEEP_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SLEEP_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
# Hollander and Wolfe (1973), depression before and after; the example of R's `wilcox.test`.
BEFORE = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
AFTER = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]


def pairs(first, second):
    return pair_by_seed(dict(enumerate(first)), dict(enumerate(second)))


def test_pairs_are_the_shared_seeds():
    found = pair_by_seed({3: 0.3, 1: 0.1, 7: 0.7}, {9: 1.9, 3: 1.3, 1: 1.1, 8: 1.8})
    assert found == Pairs(seeds=(1, 3), first=(0.1, 0.3), second=(1.1, 1.3))
    assert found.differences == pytest.approx((-1.0, -1.0))


def test_a_difference_that_is_the_rounding_of_a_subtraction_is_zero():
    assert pairs([0.1 + 0.2], [0.3]).differences == (0.0,)


def test_paired_t_on_the_sleep_data():
    found = paired_t(pairs(SLEEP_1, SLEEP_2))
    assert found.test == "paired t"
    assert found.n == (10, 10)
    assert found.difference == pytest.approx(-1.58)
    assert found.statistic == pytest.approx(-4.0621, abs=5e-5)
    assert found.p == pytest.approx(0.002833, abs=5e-7)


def test_welch_on_the_sleep_data():
    found = welch_t(SLEEP_1, SLEEP_2)
    assert found.statistic == pytest.approx(-1.8608, abs=5e-5)
    assert found.p == pytest.approx(0.07939, abs=5e-6)


def test_wilcoxon_on_the_depression_data():
    found = wilcoxon(pairs(BEFORE, AFTER))
    assert found.statistic == 5  # 45 ranks in all, V = 40 on the other side
    assert found.p == pytest.approx(0.03906, abs=5e-6)


def test_tests_agree_with_scipy_on_samples():
    rng = np.random.default_rng(3)
    one, two = rng.normal(size=12), rng.normal(0.5, 2.0, size=12)
    assert paired_t(pairs(one, two)).p == pytest.approx(stats.ttest_rel(one, two).pvalue, rel=1e-12)
    assert wilcoxon(pairs(one, two)).p == pytest.approx(stats.wilcoxon(one, two).pvalue, rel=1e-12)
    unpaired = stats.ttest_ind(one, two[:7], equal_var=False)
    found = welch_t(one, two[:7])
    assert (found.statistic, found.p) == pytest.approx((unpaired.statistic, unpaired.pvalue), rel=1e-12)


def test_wilcoxon_is_exact_with_ties_and_zeros():
    # In hundredths. As floats some of the tied differences differ in their last bits: p would be 0.171875.
    first, second = [93, 86, 89, 92, 88, 86, 89, 87, 90], [97, 86, 87, 95, 85, 95, 87, 94, 93]
    found = wilcoxon(pairs([v / 100 for v in first], [v / 100 for v in second]))
    differences = [a - b for a, b in zip(first, second, strict=True) if a != b]
    ranks = stats.rankdata(np.abs(differences))
    sums = [
        sum(r for r, sign in zip(ranks, signs, strict=True) if sign) for signs in product([0, 1], repeat=len(ranks))
    ]
    observed = sum(r for r, d in zip(ranks, differences, strict=True) if d > 0)
    center = sum(ranks) / 2
    extreme = sum(abs(s - center) >= abs(observed - center) for s in sums)
    assert found.p == pytest.approx(extreme / len(sums))


@pytest.mark.parametrize("n", [0, 1, 2, 4])
def test_below_five_values_there_is_no_p_value(n):
    first, second = [1.0, 2.0, 3.0, 4.5][:n], [2.0, 3.5, 4.0, 5.0][:n]
    for found in (paired_t(pairs(first, second)), wilcoxon(pairs(first, second)), welch_t(first, [*second, 1, 2, 3])):
        assert found.p == found.statistic == "n < 5"
    assert (paired_t(pairs(first, second)).difference is None) == (n == 0)


def test_five_pairs_cannot_give_wilcoxon_a_small_p_value():
    assert wilcoxon(pairs([1, 2, 3, 4, 5], [0, 0, 0, 0, 0])).p == 2**-4


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_divergence_is_no_number_to_test(bad):
    first, second = [1.0, 2.0, bad, 4.0, 5.0, 7.0], [2.0, 1.0, 3.0, 3.5, 9.0, 8.0]
    for found in (paired_t(pairs(first, second)), wilcoxon(pairs(first, second)), welch_t(first, second)):
        assert found.p == found.statistic == "not finite"


@pytest.mark.parametrize("values", [[0.0] * 5, [0.97] * 6])
def test_equal_methods_do_not_differ(values):
    for found in (paired_t(pairs(values, values)), wilcoxon(pairs(values, values)), welch_t(values, values)):
        assert (found.statistic, found.p, found.difference) == (0.0, 1.0, 0.0)


def test_a_constant_difference_is_no_evidence_of_chance():
    first = [0.9, 0.8, 0.7, 0.95, 0.85]
    second = [value - 0.01 for value in first]  # constant but for rounding
    assert paired_t(pairs(first, second)).p == "no spread"
    assert welch_t([1.0] * 5, [2.0] * 5).p == "no spread"
    assert wilcoxon(pairs(first, second)).p == 2**-4  # ranks ask only for the signs


@pytest.mark.filterwarnings("ignore:Precision loss:RuntimeWarning")  # scipy's, about the constant side
def test_one_side_without_spread_is_enough_for_welch():
    one, two = [1.0] * 5, [1.0, 2.0, 3.0, 4.0, 5.0]
    expected = stats.ttest_ind(one, two, equal_var=False)
    assert welch_t(one, two).p == pytest.approx(expected.pvalue, rel=1e-12)


def test_the_rule_of_the_speedrun():
    # Its track for optimizers asks for (3.28 - mean) * sqrt(n) >= 0.004 with sigma = 0.0013: z >= 3.0769, p <= 0.00105.
    at_the_limit = z_against_target([3.278] * 4, 3.28, 0.0013, lower_is_better=True)  # 0.002 * 2
    assert at_the_limit.z == pytest.approx(0.004 / 0.0013)
    assert at_the_limit.p == "n < 5"
    nine = z_against_target([3.28 - 0.004 / 3] * 9, 3.28, 0.0013, lower_is_better=True)
    assert nine.p == pytest.approx(0.001046, abs=1e-6)


def test_the_z_test_knows_the_direction():
    values = [0.94, 0.95, 0.96, 0.95, 0.95]
    assert z_against_target(values, 0.94, 0.01, lower_is_better=False).p == pytest.approx(0.012674, abs=1e-6)
    assert z_against_target(values, 0.94, 0.01, lower_is_better=True).p == pytest.approx(1 - 0.012674, abs=1e-6)


def test_the_z_test_says_what_it_cannot():
    diverged = z_against_target([3.2, math.nan], 3.28, 0.0013, lower_is_better=True)
    assert diverged.z == diverged.p == "not finite"
    for sigma in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="positive"):
            z_against_target([3.2], 3.28, sigma, lower_is_better=True)
    with pytest.raises(ValueError, match="at least one"):
        z_against_target([], 3.28, 0.0013, lower_is_better=True)


def test_holm_by_hand():
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1: 0.02, 0.03, 0.06, 0.04; the last must not fall below the third.
    corrected = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert corrected == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}
    assert holm({"a": 0.02, "b": 0.02}) == pytest.approx({"a": 0.04, "b": 0.04})
    assert holm({}) == {}


def test_a_family_does_not_count_what_too_few_seeds_withheld():
    assert holm({"a": 0.01, "b": "n < 5"}) == {"a": 0.01, "b": "n < 5"}
    assert holm({"a": 0.01, "b": "no spread", "c": "not finite"})["a"] == pytest.approx(0.03)


SAMPLES = st.dictionaries(st.integers(0, 9), st.floats(), max_size=10)


@settings(max_examples=40)
@given(SAMPLES, SAMPLES, st.randoms())
def test_the_order_of_seeds_changes_no_bit(first, second, source):
    other_first, other_second = shuffled(first, source), shuffled(second, source)
    one, two = pair_by_seed(first, second), pair_by_seed(other_first, other_second)
    for test in (paired_t, wilcoxon):
        assert repr(test(one)) == repr(test(two))
    assert repr(welch_t(first.values(), second.values())) == repr(welch_t(other_first.values(), other_second.values()))


@given(SAMPLES, SAMPLES)
def test_a_p_value_is_a_probability_or_withheld(first, second):
    shared = pair_by_seed(first, second)
    for found in (paired_t(shared), wilcoxon(shared), welch_t(first.values(), second.values())):
        assert isinstance(found.p, str) or 0 <= found.p <= 1
        assert isinstance(found.p, str) == isinstance(found.statistic, str)


@given(st.dictionaries(st.integers(), st.floats(0, 1) | st.sampled_from(["n < 5", "no spread"])), st.randoms())
def test_the_order_of_a_family_changes_no_bit(family, source):
    assert holm(shuffled(family, source)) == holm(family)


def test_results_survive_json():
    for found in (paired_t(pairs(SLEEP_1, SLEEP_2)), welch_t([1.0], [2.0]), paired_t(pairs([], []))):
        assert type(found).model_validate_json(found.model_dump_json()) == found


def test_the_paired_t_test_keeps_its_level():
    rng = np.random.default_rng(1)
    differences = rng.normal(size=(2000, 6))
    rejected = sum(paired_t(pairs(sample, [0.0] * 6)).p <= 0.05 for sample in differences)
    assert abs(rejected / 2000 - 0.05) < 3 * math.sqrt(0.05 * 0.95 / 2000)


def test_the_difference_is_that_of_the_means():
    assert welch_t(SLEEP_1, SLEEP_2[:5]).difference == mean(SLEEP_1) - mean(SLEEP_2[:5])


@pytest.mark.parametrize("scale", [1e-290, 1e290])
def test_no_test_depends_on_the_unit(scale):
    one, two = [scale * value for value in SLEEP_1], [scale * value for value in SLEEP_2]
    assert paired_t(pairs(one, two)).p == pytest.approx(paired_t(pairs(SLEEP_1, SLEEP_2)).p)
    assert wilcoxon(pairs(one, two)).p == wilcoxon(pairs(SLEEP_1, SLEEP_2)).p
    assert welch_t(one, two).p == pytest.approx(welch_t(SLEEP_1, SLEEP_2).p)


def test_numbers_too_small_to_have_digits_are_zero():
    tiny = [5e-324, 0.0, 0.0, 0.0, 0.0]
    for found in (paired_t(pairs(tiny, [0.0] * 5)), welch_t(tiny, [0.0] * 5), wilcoxon(pairs(tiny, [0.0] * 5))):
        assert found.p == 1.0
