import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchbench.stats import Evaluation, Hit, metric_within, pareto_front, time_to_target
from tests.stats.shuffling import shuffled


def curve(*metrics, cost_per_evaluation=10.0):
    return [
        Evaluation(index=index, cost=cost_per_evaluation * index, metric=metric)
        for index, metric in enumerate(metrics, start=1)
    ]


def test_the_first_evaluation_at_the_target_counts():
    falling = curve(3.0, 2.0, 1.0, 2.5, 0.5)
    assert time_to_target(falling, 1.0, lower_is_better=True) == Hit(index=3, cost=30.0)
    assert time_to_target(falling, 0.1, lower_is_better=True) is None
    assert time_to_target(curve(0.5, 0.8, 0.9), 0.8, lower_is_better=False) == Hit(index=2, cost=20.0)
    assert time_to_target([], 1.0, lower_is_better=True) is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_reaches_nothing(bad):
    for lower_is_better in (True, False):
        assert time_to_target(curve(bad), 0.0, lower_is_better=lower_is_better) is None


def test_a_later_divergence_does_not_undo_a_hit():
    assert time_to_target(curve(3.0, 1.0, math.nan), 1.0, lower_is_better=True) == Hit(index=2, cost=20.0)


def test_the_metric_at_equal_cost():
    points = curve(0.5, 0.9, 0.7, 0.95)
    assert metric_within(points, 30.0, pick="best", lower_is_better=False).metric == 0.9
    assert metric_within(points, 30.0, pick="last", lower_is_better=False).metric == 0.7
    assert metric_within(points, 35.0, pick="best", lower_is_better=True) == points[0]
    assert metric_within(points, 9.0, pick="best", lower_is_better=True) is None
    assert metric_within(points, 9.0, pick="last", lower_is_better=True) is None


def test_of_equal_metrics_the_earliest_is_the_best():
    points = curve(0.9, 0.9)
    for lower_is_better in (True, False):
        assert metric_within(points, 99.0, pick="best", lower_is_better=lower_is_better) == points[0]


def test_a_diverged_run_shows_as_such_at_the_end():
    points = curve(0.9, math.nan)
    assert math.isnan(metric_within(points, 20.0, pick="last", lower_is_better=False).metric)
    assert metric_within(points, 20.0, pick="best", lower_is_better=False) == points[0]
    assert metric_within(curve(math.nan), 20.0, pick="best", lower_is_better=False) is None


def test_a_curve_that_makes_no_sense_is_refused():
    twice = [Evaluation(index=1, cost=1.0, metric=0.5), Evaluation(index=1, cost=2.0, metric=0.6)]
    with pytest.raises(ValueError, match="evaluation 1 occurs twice"):
        time_to_target(twice, 0.5, lower_is_better=True)
    with pytest.raises(ValueError, match="cost of evaluation 3"):
        metric_within([Evaluation(index=3, cost=math.nan, metric=1.0)], 1.0, pick="last", lower_is_better=True)
    with pytest.raises(ValueError, match="target is finite"):
        time_to_target([], math.nan, lower_is_better=True)


def test_the_front_holds_what_nothing_dominates():
    points = {
        "cheap": (1.0, 0.8),
        "good": (3.0, 0.95),
        "between": (2.0, 0.9),
        "beaten": (2.0, 0.85),
        "late": (4.0, 0.95),
    }
    assert pareto_front(points, lower_is_better=False) == ("cheap", "between", "good")
    assert pareto_front(points, lower_is_better=True) == ("cheap",)


def test_equal_points_are_on_the_front_together():
    assert pareto_front({"b": (1.0, 0.9), "a": (1.0, 0.9), "c": (1.0, 0.8)}, lower_is_better=False) == ("a", "b")


def test_what_is_not_finite_is_never_on_the_front_and_dominates_nothing():
    points = {"nan": (0.5, math.nan), "inf": (0.1, math.inf), "free": (-math.inf, 1.0), "fine": (1.0, 0.1)}
    assert pareto_front(points, lower_is_better=False) == ("fine",)
    assert pareto_front({"nan": (math.nan, 1.0)}, lower_is_better=False) == ()


FEW = st.integers(0, 4).map(float) | st.sampled_from([math.nan, math.inf])
CURVES = st.dictionaries(st.integers(0, 9), st.tuples(st.floats(0, 9), FEW)).map(
    lambda drawn: [Evaluation(index=index, cost=cost, metric=metric) for index, (cost, metric) in drawn.items()]
)


@given(CURVES, FEW.filter(math.isfinite), st.booleans(), st.randoms())
def test_the_order_of_evaluations_changes_nothing(points, target, lower_is_better, source):
    permuted = points.copy()
    source.shuffle(permuted)
    assert time_to_target(permuted, target, lower_is_better=lower_is_better) == time_to_target(
        points, target, lower_is_better=lower_is_better
    )
    for pick in ("best", "last"):
        here = metric_within(points, 5.0, pick=pick, lower_is_better=lower_is_better)
        assert repr(metric_within(permuted, 5.0, pick=pick, lower_is_better=lower_is_better)) == repr(here)


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.tuples(FEW, FEW)), st.booleans(), st.randoms())
def test_the_front_is_the_set_of_points_that_nothing_dominates(points, lower_is_better, source):
    front = pareto_front(points, lower_is_better=lower_is_better)
    assert pareto_front(shuffled(points, source), lower_is_better=lower_is_better) == front
    finite = {name: point for name, point in points.items() if all(map(math.isfinite, point))}

    def dominated(name):
        cost, quality = finite[name]
        for other_cost, other_quality in finite.values():
            gain = quality - other_quality if lower_is_better else other_quality - quality
            if (other_cost < cost and gain >= 0) or (other_cost == cost and gain > 0):
                return True
        return False

    assert set(front) == {name for name in finite if not dominated(name)}
