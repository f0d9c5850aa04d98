"""Comparisons over workloads, against scipy, formulas written out here, and numbers of the papers."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchbench.stats import (
    bayesian_signed_rank,
    compare_over_workloads,
    critical_difference,
    sign_test,
    signed_rank_test,
)
from tests.stats.shuffling import shuffled


def scores(values):
    """Name methods (columns) and workloads (rows) of a table."""
    return {f"m{j:02}": {f"w{i:02}": float(row[j]) for i, row in enumerate(values)} for j in range(len(values[0]))}


FEW = st.integers(0, 4).map(float)  # so few different values that many are equal
TABLES = st.tuples(st.integers(5, 9), st.integers(3, 6)).flatmap(
    lambda shape: st.lists(
        st.lists(FEW | st.floats(-1e6, 1e6), min_size=shape[1], max_size=shape[1]),
        min_size=shape[0],
        max_size=shape[0],
    )
)


@settings(max_examples=60)
@given(TABLES)
def test_friedman_is_that_of_scipy_with_the_correction_of_iman_and_davenport(values):
    found = compare_over_workloads(scores(values))
    n, k = np.shape(values)
    with np.errstate(all="ignore"):
        chi_squared = stats.friedmanchisquare(*np.transpose(values)).statistic
    if not math.isfinite(chi_squared):  # all methods are equal everywhere
        assert (found.chi_squared, found.p) == (0, 1)
        return
    assert found.chi_squared == pytest.approx(chi_squared, rel=1e-9, abs=1e-9)
    left = n * (k - 1) - chi_squared
    corrected = stats.f.sf((n - 1) * chi_squared / left, k - 1, (k - 1) * (n - 1)) if left > 1e-9 else 0
    assert found.p == pytest.approx(max(corrected, math.factorial(k) ** float(1 - n)), rel=1e-6)


def test_the_smallest_p_value_is_the_exact_one_of_workloads_that_all_agree():
    values = [[3, 2, 1]] * 5
    exact = np.mean(
        [
            len({tuple(order) for order in orders}) == 1
            for orders in itertools.product(itertools.permutations(range(3)), repeat=5)
        ]
    )
    assert compare_over_workloads(scores(values)).p == pytest.approx(exact)


def test_ranks_are_averages_where_the_best_is_first_and_equal_values_share_theirs():
    found = compare_over_workloads(scores([[0.9, 0.8, 0.7], [0.5, 0.5, 0.1], [0.2, 0.3, 0.3], [1, 1, 1]]))
    assert [(each.name, each.rank) for each in found.methods] == [
        ("m01", (2 + 1.5 + 1.5 + 2) / 4),
        ("m00", (1 + 1.5 + 3 + 2) / 4),
        ("m02", (3 + 3 + 1.5 + 2) / 4),
    ]


@pytest.mark.parametrize(
    ("methods", "q"),
    [(3, 2.343), (4, 2.569), (5, 2.728), (6, 2.850), (7, 2.949), (8, 3.031), (9, 3.102), (10, 3.164)],
)
def test_critical_differences_are_those_of_the_table_in_demsar_2006(methods, q):
    expected = q * math.sqrt(methods * (methods + 1) / (6 * 14))
    assert critical_difference(methods, 14) == pytest.approx(expected, rel=5e-4)


def test_the_critical_difference_of_the_example_in_demsar_2006():
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)


@settings(max_examples=60)
@given(TABLES)
def test_groups_are_the_largest_sets_within_the_critical_difference(values):
    found = compare_over_workloads(scores(values))
    ranks = {each.name: each.rank for each in found.methods}
    order = [each.name for each in found.methods]
    assert order == sorted(ranks, key=lambda name: (ranks[name], name))
    for one, other in itertools.combinations(order, 2):
        together = any({one, other} <= set(group) for group in found.groups)
        assert together == (abs(ranks[one] - ranks[other]) < found.critical_difference)
    assert not any(set(one) < set(other) for one in found.groups for other in found.groups)
    assert sorted(set().union(*found.groups)) == sorted(order)
    for each in found.methods:
        assert each.groups == tuple(i for i, group in enumerate(found.groups, 1) if each.name in group)


@settings(max_examples=40)
@given(TABLES, st.randoms())
def test_the_order_of_methods_and_workloads_decides_nothing(values, source):
    made = scores(values)
    permuted = shuffled({name: shuffled(of, source) for name, of in made.items()}, source)
    assert compare_over_workloads(permuted) == compare_over_workloads(made)


def test_fewer_than_five_workloads_or_three_methods_are_not_tested():
    few = compare_over_workloads(scores([[3, 2, 1]] * 4))
    assert (few.workloads, few.chi_squared, few.p, few.critical_difference) == (4, "n < 5", "n < 5", "n < 5")
    assert (few.groups, [each.groups for each in few.methods]) == ((), [()] * 3)
    two = compare_over_workloads(scores([[2, 1]] * 5))
    assert (two.chi_squared, two.p, two.critical_difference, two.groups) == ("k < 3", "k < 3", "k < 3", ())
    assert compare_over_workloads({}).methods == ()
    assert sign_test([1.0] * 4).p == signed_rank_test([1.0] * 4) == bayesian_signed_rank([1.0] * 4, 1) == "n < 5"
    assert sign_test([1.0, math.nan] * 3).p == bayesian_signed_rank([1.0, math.inf] * 3, 1) == "not finite"


@pytest.mark.parametrize("bad", [{"a": {"x": math.nan}}, {"a": {"x": 1.0}, "b": {"y": 1.0}}])
def test_methods_have_finite_values_on_the_same_workloads(bad):
    with pytest.raises(ValueError, match="finite value on each"):
        compare_over_workloads(bad)


@pytest.mark.parametrize("alpha", [0.0, 1.0, math.nan])
def test_alpha_is_a_probability(alpha):
    with pytest.raises(ValueError, match="between 0 and 1"):
        compare_over_workloads(scores([[3, 2, 1]] * 5), alpha)


@pytest.mark.parametrize(("n", "k"), [(5, 3), (6, 5), (10, 10)])
def test_equal_methods_are_rarely_told_apart(n, k):
    rng = np.random.default_rng(1)
    tables, alpha = 400, 0.05
    found = [compare_over_workloads(scores(rng.normal(size=(n, k))), alpha) for _ in range(tables)]
    most = tables * alpha + 3 * math.sqrt(tables * alpha * (1 - alpha))
    assert 0 < sum(each.p <= alpha for each in found) <= most
    assert sum(len(each.groups) > 1 for each in found) <= most


@given(st.lists(FEW.map(lambda value: value - 2), min_size=5, max_size=12))
def test_the_sign_test_is_the_binomial_one_without_equal_workloads(differences):
    found = sign_test(differences)
    assert found.better + found.equal + found.worse == len(differences)
    assert found.better == sum(each > 0 for each in differences)
    unequal = found.better + found.worse
    assert found.p == pytest.approx(stats.binomtest(found.better, unequal).pvalue if unequal else 1)


@settings(max_examples=60)
@given(st.lists(st.integers(-4, 4).map(float), min_size=5, max_size=9))
def test_the_signed_rank_test_counts_all_signs_with_equal_values_too(differences):
    sizes = [abs(each) for each in differences if each]
    ranks = stats.rankdata(sizes) if sizes else []
    sums = [sum(itertools.compress(ranks, signs)) for signs in itertools.product([0, 1], repeat=len(sizes))]
    observed = sum(rank for rank, each in zip(ranks, filter(None, differences), strict=True) if each > 0)
    tails = [np.mean([each <= observed for each in sums]), np.mean([each >= observed for each in sums])]
    assert signed_rank_test(differences) == pytest.approx(min(1, 2 * min(tails)))


@settings(max_examples=30)
@given(st.lists(st.floats(-10, 10), min_size=5, max_size=40, unique_by=abs))
def test_the_signed_rank_test_is_that_of_scipy(differences):
    differences = [each for each in np.round(differences, 3) if each]
    if len(differences) >= 5 and len({abs(each) for each in differences}) == len(differences):
        assert signed_rank_test(differences) == pytest.approx(stats.wilcoxon(differences, method="exact").pvalue)


def test_many_differences_are_tested_by_the_normal_approximation():
    differences = np.random.default_rng(0).normal(0.3, size=80)
    assert signed_rank_test(differences) == pytest.approx(stats.wilcoxon(differences, method="approx").pvalue)


def written_out(differences, rope, draws=20_000):
    """The test of Benavoli et al., one draw after the other, from other random numbers."""
    rng = np.random.default_rng(7)
    values = [0.0, *differences]
    won = np.zeros(3)
    for weights in rng.dirichlet([0.5] + [1.0] * len(differences), draws):
        shares = np.zeros(3)
        for (a, one), (b, other) in itertools.product(zip(weights, values, strict=True), repeat=2):
            middle = (one + other) / 2
            shares[0 if middle > rope else 2 if middle < -rope else 1] += a * b
        won[shares.argmax()] += 1
    return won / draws


@pytest.mark.parametrize("differences", [[2.0, -1, 3, -3, 1, 5], [0.4, 0.2, 0.9, 1.4, -0.3]])
def test_the_bayesian_test_is_that_of_the_formula(differences):
    found = bayesian_signed_rank(differences, 0.5)
    expected = written_out(differences, 0.5, draws=4_000)
    assert [found.better, found.equal, found.worse] == pytest.approx(expected, abs=0.03)
    assert (found.n, found.rope) == (len(differences), 0.5)


@settings(max_examples=15)
@given(st.lists(st.floats(-3, 3), min_size=5, max_size=12), st.floats(0, 1), st.randoms())
def test_changing_sides_or_the_order_changes_no_probability(differences, rope, source):
    found = bayesian_signed_rank(differences, rope)
    mirrored = bayesian_signed_rank([-each for each in differences], rope)
    assert (mirrored.better, mirrored.equal, mirrored.worse) == pytest.approx(
        (found.worse, found.equal, found.better), abs=1e-9
    )
    assert bayesian_signed_rank(source.sample(differences, len(differences)), rope) == found
    assert found.better + found.equal + found.worse == pytest.approx(1)


def test_the_limits_of_the_bayesian_test():
    inside = bayesian_signed_rank([0.9, -0.7, 1.0, -1.0, 0.0], 1.0)
    assert (inside.better, inside.equal, inside.worse) == (0, 1, 0)
    symmetric = bayesian_signed_rank([3, -3, 2, -2, 5, -5.0], 1.0)
    assert symmetric.better == pytest.approx(symmetric.worse, abs=1e-9)
    far = bayesian_signed_rank([50.0] * 20, 1.0)
    assert far.better == pytest.approx(1, abs=1e-4)
    with pytest.raises(ValueError, match="region of equivalence"):
        bayesian_signed_rank([1.0] * 5, -1)
