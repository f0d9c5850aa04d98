import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchbench.stats import Ranking, UnrankedMethod, holm, pair_by_seed, paired_t, rank, welch_t
from tests.stats.shuffling import shuffled

PATTERN = [-1.0, -0.5, 0.0, 0.5, 1.0]


def around(center, spread=1.0, first_seed=0):
    return {first_seed + index: center + spread * offset for index, offset in enumerate(PATTERN)}


def places(ranking):
    return {method.name: (method.first_place, method.last_place) for method in ranking.methods}


def test_separated_methods_are_ordered():
    values = {"low": around(0, first_seed=0), "high": around(20, first_seed=10), "middle": around(10, first_seed=20)}
    ranking = rank(values, lower_is_better=False)
    assert [method.name for method in ranking.methods] == ["high", "middle", "low"]
    assert places(ranking) == {"high": (1, 1), "middle": (2, 2), "low": (3, 3)}
    assert ranking.groups == (("high",), ("middle",), ("low",))
    assert [method.mean for method in ranking.methods] == [20.0, 10.0, 0.0]


def test_the_direction_turns_the_order():
    values = {"low": around(0, first_seed=0), "high": around(20, first_seed=10)}
    assert [method.name for method in rank(values, lower_is_better=True).methods] == ["low", "high"]


def test_ties_that_are_not_transitive_make_overlapping_groups():
    # Welch: neighbours differ by t = 1 / (0.7906 * sqrt(2 / 5)) = 2 (8 degrees, p = 0.08), the outer ones by t = 4
    # (p = 0.004, times 3 for Holm 0.012).
    values = {"a": around(0, first_seed=0), "b": around(1, first_seed=10), "c": around(2, first_seed=20)}
    ranking = rank(values, lower_is_better=True)
    assert ranking.groups == (("a", "b"), ("b", "c"))
    assert places(ranking) == {"a": (1, 2), "b": (1, 3), "c": (2, 3)}
    assert [method.groups for method in ranking.methods] == [(1,), (1, 2), (2,)]


def test_what_is_not_separated_is_listed_by_name_and_not_by_mean():
    values = {"b": around(0.0, first_seed=0), "a": around(0.1, first_seed=10), "c": around(0.05, first_seed=20)}
    ranking = rank(values, lower_is_better=True)
    assert [method.name for method in ranking.methods] == ["a", "b", "c"]
    assert ranking.groups == (("a", "b", "c"),)
    assert set(places(ranking).values()) == {(1, 3)}


def test_with_the_same_seeds_the_test_is_paired():
    seeds = {0: 5.0, 1: 9.0, 2: 1.0, 3: 7.0, 4: 3.0}  # far larger than the differences between the methods
    offsets = [0.10, 0.11, 0.09, 0.12, 0.08]
    values = {"a": seeds, "b": {seed: value + offsets[seed] for seed, value in seeds.items()}}
    (pair,) = rank(values, lower_is_better=True).pairs
    assert pair.comparison == paired_t(pair_by_seed(values["a"], values["b"]))
    assert pair.better == "a"
    del values["b"][4]
    values["b"][5] = 3.1
    (pair,) = rank(values, lower_is_better=True).pairs
    assert pair.comparison == welch_t(values["a"].values(), values["b"].values())
    assert pair.better is None


@pytest.mark.parametrize("bad", [None, math.nan, math.inf])
def test_a_method_with_a_failed_seed_is_listed_apart_with_its_counts(bad):
    values = {"good": around(1), "better": around(20), "broken": {**around(40), 3: bad}, "absent": {}}
    ranking = rank(values, lower_is_better=False)
    assert [method.name for method in ranking.methods] == ["better", "good"]
    assert ranking.unranked == (
        UnrankedMethod(name="absent", finite=0, failed=0),
        UnrankedMethod(name="broken", finite=4, failed=1),
    )
    assert len(ranking.pairs) == 1


@pytest.mark.parametrize("n", [1, 4])
def test_below_five_seeds_nothing_is_separated(n):
    values = {"a": dict(list(around(0).items())[:n]), "b": dict(list(around(100).items())[:n])}
    ranking = rank(values, lower_is_better=True)
    assert ranking.groups == (("a", "b"),)
    assert ranking.pairs[0].corrected_p == "n < 5"


def test_what_follows_from_two_separations_is_taken_as_found():
    # Without any spread, "best" and "worst" have no test of their own, but both are separated from "middle".
    values = {"best": dict.fromkeys(range(5), 2.0), "worst": dict.fromkeys(range(5), 0.0), "middle": around(1, 0.1)}
    ranking = rank(values, lower_is_better=False)
    found = {(pair.first, pair.second): pair for pair in ranking.pairs}
    assert found["best", "worst"].corrected_p == "no spread"
    assert found["best", "worst"].better is None
    assert places(ranking) == {"best": (1, 1), "middle": (2, 2), "worst": (3, 3)}


def test_few_methods():
    assert rank({}, lower_is_better=True) == Ranking(
        methods=(), unranked=(), groups=(), pairs=(), alpha=0.05, lower_is_better=True
    )
    assert rank({"only": {0: 1.0}}, lower_is_better=True).groups == (("only",),)


@pytest.mark.parametrize("alpha", [0.0, 1.0, math.nan])
def test_alpha_is_a_probability(alpha):
    with pytest.raises(ValueError, match="between 0 and 1"):
        rank({}, lower_is_better=True, alpha=alpha)


FINITE = st.floats(-1e9, 1e9)
METHODS = st.dictionaries(
    st.sampled_from("abcdef"), st.dictionaries(st.integers(0, 7), FINITE | st.none(), max_size=8), max_size=6
)
SEPARABLE = st.dictionaries(
    st.sampled_from("abcdef"), st.tuples(st.integers(0, 9), st.integers(0, 3), st.integers(5, 6)), max_size=6
).map(
    lambda drawn: {
        name: {seed: center + spread * (seed % 3) * (1 + seed / 7) for seed in range(n)}
        for name, (center, spread, n) in drawn.items()
    }
)


@settings(max_examples=60)
@given(METHODS | SEPARABLE, st.booleans(), st.randoms())
def test_no_listing_order_changes_a_ranking(values, lower_is_better, source):
    permuted = shuffled({name: shuffled(by_seed, source) for name, by_seed in values.items()}, source)
    assert rank(permuted, lower_is_better=lower_is_better) == rank(values, lower_is_better=lower_is_better)


@settings(max_examples=60)
@given(SEPARABLE, st.booleans())
def test_groups_and_places_say_what_the_tests_say(values, lower_is_better):
    ranking = rank(values, lower_is_better=lower_is_better)
    found = places(ranking)
    better = {(p.better, p.second if p.better == p.first else p.first) for p in ranking.pairs if p.better}
    for middle in values:  # Warshall's closure, written out
        better |= {(a, b) for a in values for b in values if {(a, middle), (middle, b)} <= better}
    for one, two in combinations(values, 2):
        together = any({one, two} <= set(group) for group in ranking.groups)
        assert together == ((one, two) not in better and (two, one) not in better)
    for name in values:
        assert found[name][0] == 1 + sum(worse == name for _, worse in better)
        assert found[name][1] == len(values) - sum(best == name for best, _ in better)
    order = [method.name for method in ranking.methods]
    assert all(order.index(one) < order.index(two) for one, two in better)
    groups = [set(group) for group in ranking.groups]
    assert not any(one < two for one in groups for two in groups)


def test_separations_are_those_of_the_corrected_p_values():
    values = {"a": around(0, first_seed=0), "b": around(1, first_seed=10), "c": around(2, first_seed=20)}
    ranking = rank(values, lower_is_better=True)
    raw = {(pair.first, pair.second): pair.comparison.p for pair in ranking.pairs}
    assert {(pair.first, pair.second): pair.corrected_p for pair in ranking.pairs} == holm(raw)
    assert [pair.better for pair in ranking.pairs] == [None, "a", None]


@pytest.mark.parametrize("paired", [True, False])
def test_equal_methods_are_rarely_separated(paired):
    """The chance of any false separation among four equal methods is at most alpha."""
    rng = np.random.default_rng(4)
    tables, alpha = 300, 0.05
    false = 0
    for _ in range(tables):
        common = rng.normal(size=6)
        seeds = {name: range(6) if paired else range(6 * index, 6 * index + 6) for index, name in enumerate("abcd")}
        values = {
            name: dict(zip(here, common + 0.5 * rng.normal(size=6), strict=True))
            if paired
            else dict(zip(here, rng.normal(size=6), strict=True))
            for name, here in seeds.items()
        }
        false += any(pair.better for pair in rank(values, lower_is_better=True, alpha=alpha).pairs)
    assert 0 < false <= tables * alpha + 3 * math.sqrt(tables * alpha * (1 - alpha))


def test_a_ranking_survives_json():
    ranking = rank({"a": around(0), "b": around(9), "c": {0: None}}, lower_is_better=True)
    assert Ranking.model_validate_json(ranking.model_dump_json()) == ranking


def test_a_p_value_just_above_alpha_separates_nobody() -> None:
    differences = [-0.303, 0.697, 1.697, 2.697, 3.697]  # t = 2.4 with four degrees of freedom: p = 0.074
    values = {"one": dict(enumerate(differences)), "other": dict.fromkeys(range(5), 0.0)}
    [tied] = rank(values, lower_is_better=False, alpha=0.05).pairs
    assert tied.better is None
    assert tied.corrected_p == pytest.approx(0.07436, abs=1e-5)
    [apart] = rank(values, lower_is_better=False, alpha=0.08).pairs
    assert apart.better == "one"
