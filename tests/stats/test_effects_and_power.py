import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchbench.stats import (
    cohens_dz,
    hedges_g,
    pair_by_seed,
    paired_power,
    paired_seeds_needed,
    unpaired_power,
    unpaired_seeds_needed,
)
from tests.stats.shuffling import shuffled


def dz(first, second):
    return cohens_dz(pair_by_seed(dict(enumerate(first)), dict(enumerate(second))))


def test_effect_sizes_by_hand():
    # Differences 1, 2, 3: mean 2, std 1.
    assert dz([2.0, 4.0, 6.0], [1.0, 2.0, 3.0]) == pytest.approx(2.0)
    # Means 2 and 5, both variances 1, so that the pooled std is 1; 4 degrees: J = Gamma(2) / (sqrt(2) * Gamma(1.5)),
    # and Gamma(1.5) = sqrt(pi) / 2, so that J = sqrt(2 / pi).
    assert hedges_g([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]) == pytest.approx(-3 * math.sqrt(2 / math.pi))


def test_the_correction_for_eighteen_degrees_of_freedom():
    one, two = np.arange(10.0), np.arange(10.0) + 4
    d = -4 / np.std(one, ddof=1)
    # Gamma(9) = 40320, and Gamma(8.5) = 15!! / 2^8 * sqrt(pi) with 15!! = 2027025.
    correction = 40320 / (3 * 2027025 / 256 * math.sqrt(math.pi))
    assert hedges_g(one, two) == pytest.approx(correction * d)


@pytest.mark.parametrize("effect", [dz, hedges_g])
def test_degenerate_samples_have_a_defined_effect(effect):
    assert effect([1.0], [2.0]) == "n < 2"
    assert effect([1.0, math.nan], [2.0, 3.0]) == "not finite"
    assert effect([1.0, 1.0], [1.0, 1.0]) == 0.0
    assert effect([2.0, 2.0], [1.0, 1.0]) == "no spread"


@given(st.dictionaries(st.integers(0, 9), st.floats(), max_size=8), st.randoms())
def test_the_order_of_seeds_changes_no_bit(values, source):
    other = {seed: value**2 if abs(value) < 1e100 else value for seed, value in values.items()}
    a, b = shuffled(values, source), shuffled(other, source)
    assert repr(cohens_dz(pair_by_seed(a, b))) == repr(cohens_dz(pair_by_seed(values, other)))
    assert repr(hedges_g(a.values(), b.values())) == repr(hedges_g(values.values(), other.values()))


# Cohen (1988), tables 2.3 and 2.4, and G*Power 3.
@pytest.mark.parametrize(("effect", "n"), [(0.2, 394), (0.5, 64), (0.8, 26)])
def test_unpaired_numbers_of_the_literature(effect, n):
    assert unpaired_seeds_needed(effect) == n
    assert unpaired_seeds_needed(-effect) == n


def test_power_of_the_literature():
    assert unpaired_power(0.5, 64) == pytest.approx(0.8014596, abs=1e-7)
    assert paired_seeds_needed(0.5) == 34
    assert paired_power(0.5, 34) == pytest.approx(0.8077775, abs=1e-7)


def test_without_an_effect_the_power_is_the_level():
    assert paired_power(0.0, 8, alpha=0.01) == pytest.approx(0.01)
    assert paired_seeds_needed(0.0) is None
    assert unpaired_seeds_needed(1e-9) is None


@pytest.mark.parametrize("effect", [3.0, 1e3, 1e9, 1e300])
def test_a_large_effect_is_found(effect):
    for n in (10, 1000):
        assert paired_power(effect, n) == pytest.approx(1.0, abs=1e-4)
        assert unpaired_power(effect, n) == pytest.approx(1.0, abs=1e-4)


def test_no_number_of_seeds_below_five_is_enough():
    assert paired_power(100.0, 4) == unpaired_power(100.0, 4) == 0.0
    assert paired_seeds_needed(1e6) == unpaired_seeds_needed(1e6) == 5


@given(st.floats(0.05, 5), st.floats(0.5, 0.99))
def test_the_number_found_is_the_fewest(effect, power):
    n = paired_seeds_needed(effect, power=power)
    assert paired_power(effect, n) >= power
    assert n == 5 or paired_power(effect, n - 1) < power


def test_power_agrees_with_a_simulation():
    samples = np.random.default_rng(2).normal(1.0, 1.0, size=(20_000, 8))
    t = samples.mean(axis=1) / (samples.std(axis=1, ddof=1) / math.sqrt(8))
    rejected = np.mean(np.abs(t) > 2.364624)  # t(0.975; 7)
    assert abs(rejected - paired_power(1.0, 8)) < 3 * math.sqrt(0.25 / 20_000)


@pytest.mark.parametrize("bad", [{"power": 1.0}, {"power": 0.0}, {"alpha": 0.0}, {"alpha": math.nan}])
def test_probabilities_are_probabilities(bad):
    with pytest.raises(ValueError, match="between 0 and 1"):
        paired_seeds_needed(0.5, **bad)
    with pytest.raises(ValueError, match="finite"):
        paired_power(math.inf, 5)
