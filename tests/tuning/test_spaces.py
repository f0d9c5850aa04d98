"""Search spaces: bounds, conditions, grids."""

import math

from hypothesis import given
from hypothesis import strategies as st

from benchbench.tuning import spaces
from benchbench.values import Space

shares = st.floats(0, 1, exclude_max=True)
ends = st.tuples(st.floats(-1e12, 1e12), st.floats(-1e12, 1e12)).filter(lambda pair: pair[0] < pair[1])
positive_ends = st.tuples(st.floats(1e-300, 1e300), st.floats(1e-300, 1e300)).filter(lambda pair: pair[0] < pair[1])
whole_ends = st.tuples(st.integers(-(2**40), 2**40), st.integers(0, 2**40)).map(lambda pair: (pair[0], sum(pair) + 1))


@given(ends, shares)
def test_an_interval_is_never_left(pair, u):
    assert pair[0] <= spaces.value_at(Space(uniform=pair), u) <= pair[1]


@given(positive_ends, shares)
def test_a_logarithmic_interval_is_never_left(pair, u):
    assert pair[0] <= spaces.value_at(Space(log_uniform=pair), u) <= pair[1]


@given(whole_ends, shares)
def test_whole_numbers_stay_whole_and_inside(pair, u):
    value = spaces.value_at(Space(integers=pair), u)
    assert isinstance(value, int)
    assert pair[0] <= value <= pair[1]


@given(st.lists(st.integers() | st.text(max_size=5), min_size=1, max_size=9, unique=True), shares)
def test_a_choice_is_one_of_them(choices, u):
    assert spaces.value_at(Space(choices=tuple(choices)), u) in choices


def test_every_share_of_a_space_has_its_value():
    log = Space(log_uniform=(1e-4, 1))
    assert [spaces.value_at(log, u) for u in (0, 0.25, 0.5, 0.75)] == [1e-4, 1e-3, 1e-2, 1e-1]
    assert [spaces.value_at(Space(integers=(3, 6)), u) for u in (0, 0.25, 0.5, 0.999)] == [3, 4, 5, 6]
    assert math.isclose(spaces.value_at(Space(uniform=(-1, 1)), 0.75), 0.5)


CONDITIONAL = {
    "base": Space(choices=("a", "b", 1, True)),
    "inner": Space(choices=("x", "y"), when={"base": "a"}),
    "deep": Space(uniform=(0, 1), when={"inner": "y"}),
    "strict": Space(uniform=(0, 1), when={"base": True}),
}


@given(st.tuples(shares, shares, shares, shares))
def test_a_hyperparameter_is_there_exactly_when_its_condition_holds(point):
    values = spaces.at(CONDITIONAL, point)
    assert ("inner" in values) == (values["base"] == "a")
    assert ("deep" in values) == (values.get("inner") == "y")
    assert ("strict" in values) == (values["base"] is True)


@given(st.tuples(shares, shares, shares))
def test_what_a_condition_leaves_out_moves_no_other_coordinate(point):
    conditional = {"first": Space(choices=("a", "b")), "second": Space(uniform=(0, 1), when={"first": "a"})}
    conditional["third"] = Space(uniform=(0, 1))
    assert spaces.at(conditional, point)["third"] == spaces.value_at(conditional["third"], point[2])


def test_a_grid_has_both_ends_and_each_combination_once():
    found = spaces.grid({"lr": Space(log_uniform=(0.01, 1)), "n": Space(integers=(1, 2)), **CONDITIONAL}, 3)
    assert sorted({each["lr"] for each in found}) == [0.01, 0.1, 1]
    assert {each["n"] for each in found} == {1, 2}
    assert len(found) == 3 * 2 * (1 + 3 + 1 + 1 + 3)  # a-x, a-y with three depths, b, 1, true with three
    assert len({str(each) for each in found}) == len(found)


def test_the_extremes_have_both_ends_and_every_choice():
    found = spaces.extremes({"lr": Space(uniform=(1, 2)), **CONDITIONAL})
    assert {each["lr"] for each in found} == {1, 2}
    assert {str(each["base"]) for each in found} == {"a", "b", "1", "True"}
