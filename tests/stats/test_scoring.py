import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchbench.stats import Hit, Score, performance_profile, score
from tests.stats.shuffling import shuffled


def hit(index, cost):
    return Hit(index=index, cost=cost)


def studies(submission, workload, *times):
    """One trial per study; `None` for a miss."""
    return {
        (submission, workload, study, 0): None if time is None else hit(1, time) for study, time in enumerate(times)
    }


def times(hits, held_out=None):
    return {found.submission: found.times for found in score(hits, held_out or {})}


def scores(hits, held_out=None):
    return {found.submission: found.score for found in score(hits, held_out or {})}


def test_rule_1_a_study_is_its_trial_with_the_lowest_evaluation_index():
    hits = {("s", "w", 0, 0): hit(7, 50.0), ("s", "w", 0, 1): hit(6, 90.0), ("s", "w", 0, 2): None}
    assert times(hits) == {"s": {"w": 90.0}}  # not 50, which was faster but needed more evaluations


def test_rule_1_of_equal_indices_the_smaller_time():
    hits = {("s", "w", 0, 0): hit(6, 90.0), ("s", "w", 0, 1): hit(6, 80.0)}
    assert times(hits) == {"s": {"w": 80.0}}


def test_rule_1_without_a_hit_a_study_is_infinite():
    assert times({("s", "w", 0, 0): None, ("s", "w", 0, 1): None}) == {"s": {"w": math.inf}}


@pytest.mark.parametrize(
    ("logged", "median"),
    [
        ([5.0, 1.0, 3.0], 3.0),
        ([5.0, 1.0, None], 5.0),
        ([5.0, None, None], math.inf),
        ([1.0, 3.0], 2.0),
        ([1.0, None], math.inf),  # the mean of 1 and infinity
        ([None, 1.0, 3.0, 2.0], 2.5),  # the mean of 2 and 3
    ],
)
def test_rule_2_a_workload_is_the_median_over_its_logged_studies(logged, median):
    assert times(studies("s", "w", *logged)) == {"s": {"w": median}}


def test_rule_2_a_workload_without_logs_is_infinite():
    hits = studies("s", "w", 1.0) | studies("t", "v", 1.0)
    assert times(hits) == {"s": {"v": math.inf, "w": 1.0}, "t": {"v": 1.0, "w": math.inf}}


def test_rule_3_a_variant_without_its_base_sets_no_best_time():
    # s solves the variant in 1 but not its base, so that 1 is no time of the variant. The best one is t's 5: it stands,
    # and with it t's base. Were 1 the best, t's 5 > 4 * 1 would fall, and its base with it.
    hits = studies("s", "w", None) | studies("s", "w2", 1.0) | studies("t", "w", 10.0) | studies("t", "w2", 5.0)
    assert times(hits, {"w2": "w"}) == {"s": {"w": math.inf}, "t": {"w": 10.0}}


def test_rule_4_beyond_four_times_the_best_is_unsolved():
    hits = studies("s", "w", 1.0) | studies("t", "w", 4.0) | studies("u", "w", 4.01)
    assert times(hits) == {"s": {"w": 1.0}, "t": {"w": 4.0}, "u": {"w": math.inf}}


def test_rules_4_and_5_a_slow_variant_takes_its_base_with_it():
    hits = studies("s", "w", 10.0) | studies("s", "w2", 1.0) | studies("t", "w", 10.0) | studies("t", "w2", 4.5)
    assert times(hits, {"w2": "w"}) == {"s": {"w": 10.0}, "t": {"w": math.inf}}


def test_rule_5_an_unsolved_or_missing_variant_takes_its_base_with_it():
    hits = studies("s", "w", 10.0) | studies("s", "w2", None) | studies("t", "w", 10.0)
    assert times(hits, {"w2": "w"}) == {"s": {"w": math.inf}, "t": {"w": math.inf}}


def test_rule_6_the_best_time_of_the_profile_is_that_of_the_times_that_stand():
    # s has the best time on w, 1, but loses it by its variant. t's 3 is the best that stands: its profile is 1 at once.
    hits = studies("s", "w", 1.0) | studies("s", "w2", None) | studies("t", "w", 3.0) | studies("t", "w2", 1.0)
    assert scores(hits, {"w2": "w"}) == pytest.approx({"s": 0.0, "t": 1.0})


def test_rule_6_a_workload_that_nobody_solves_counts_against_everybody():
    hits = studies("s", "w", 1.0) | studies("s", "hard", None)
    assert scores(hits) == pytest.approx({"s": 0.5})


def test_rules_6_and_7_by_hand():
    # tau = 1 + k / 33, k = 0..99. On w, t takes 2.5 times the best time: within tau from k = 50 on (49.5 is no k).
    # Its profile is 0 up to k = 49 and 1 from k = 50: half a step and 49 whole ones, 49.5 / 33 = 1.5; over 3: 0.5.
    hits = studies("s", "w", 2.0) | studies("t", "w", 5.0)
    assert scores(hits) == pytest.approx({"s": 1.0, "t": 0.5})
    first, second = score(hits, {})
    assert (first.submission, second.submission) == ("s", "t")
    assert len(second.profile) == 100
    assert (second.profile[49], second.profile[50]) == (0.0, 1.0)


def test_the_example_of_the_documentation():
    # Same workload w as above (1 and 0.5); on v, t is the best and s takes 7 / 4 = 1.75 times as long: k >= 24.75, so
    # that s has half a step and 74 whole ones, 74.5 / 33 / 3 = 0.7525. Scores: (1 + 0.7525) / 2 and (0.5 + 1) / 2.
    hits = studies("s", "w", 2.0) | studies("t", "w", 5.0) | studies("s", "v", 7.0) | studies("t", "v", 4.0)
    assert scores(hits) == pytest.approx({"s": (1 + 74.5 / 99) / 2, "t": 0.75})


def test_a_time_exactly_at_the_end_of_the_profile_counts_in_its_last_point():
    hits = studies("s", "w", 3.0) | studies("t", "w", 12.0)
    # 1 at k = 99 only: half a step, 0.5 / 33 / 3.
    assert scores(hits)["t"] == pytest.approx(0.5 / 99)


def test_equal_scores_are_listed_by_name():
    hits = studies("b", "w", 1.0) | studies("a", "w", 1.0)
    assert [found.submission for found in score(hits, {})] == ["a", "b"]


def test_no_submissions_have_no_scores():
    assert score({}, {}) == ()


@pytest.mark.parametrize("cost", [0.0, -1.0, math.nan, math.inf])
def test_a_hit_has_a_positive_cost(cost):
    with pytest.raises(ValueError, match="positive and finite"):
        score({("s", "w", 0, 0): hit(1, cost)}, {})


def test_a_variant_has_no_variants():
    with pytest.raises(ValueError, match="'w2', the base of 'w3', is itself a held-out variant of 'w'"):
        score(studies("s", "w", 1.0), {"w2": "w", "w3": "w2"})


def test_profiles_of_other_factors():
    found = performance_profile({"s": {"w": 1.0, "v": 8.0}, "t": {"w": 10.0, "v": math.inf}}, [1, 10, 100])
    assert found == {"s": (1.0, 1.0, 1.0), "t": (0.0, 0.5, 0.5)}


def reference_scores(hits, held_out):
    """The same rule, written as sums over ratios instead of profiles, with times in one flat table."""
    submissions = {key[0] for key in hits}
    workloads = {key[1] for key in hits} | set(held_out) | set(held_out.values())
    table = {}
    for submission in submissions:
        for workload in workloads:
            numbers = []
            for study in {key[2] for key in hits if key[:2] == (submission, workload)}:
                trials = [found for key, found in hits.items() if key[:3] == (submission, workload, study) and found]
                earliest = min([found.index for found in trials], default=None)
                numbers.append(min([found.cost for found in trials if found.index == earliest], default=math.inf))
            numbers.sort()
            half = len(numbers) // 2
            odd = len(numbers) % 2
            table[submission, workload] = (
                math.inf if not numbers else numbers[half] if odd else (numbers[half - 1] + numbers[half]) / 2
            )
    for submission in submissions:
        for variant in held_out:
            if table[submission, held_out[variant]] == math.inf:
                table[submission, variant] = math.inf
    limits = {workload: 4 * min(table[s, workload] for s in submissions) for workload in workloads}
    table = {key: math.inf if time > limits[key[1]] else time for key, time in table.items()}
    for submission in submissions:
        for variant in held_out:
            if table[submission, variant] == math.inf:
                table[submission, held_out[variant]] = math.inf
    bases = workloads - set(held_out)
    result = {}
    for submission in submissions:
        total = 0.0
        for base in bases:
            best = min(table[s, base] for s in submissions)
            if table[submission, base] < math.inf:
                # A step at point k has an area of 99 - k whole intervals, and half of the one before it, if any.
                k = sum(table[submission, base] / best > 1 + point / 33 for point in range(100))
                total += (99 - k + (0.5 if k else 0.0)) / 99
        result[submission] = total / len(bases)
    return result


# Ratios of these costs lie away from the points of the profile, where rounding decides.
COSTS = st.sampled_from([1.0, 1.37, 2.213, 3.117, 4.73, 9.41])
HITS = st.dictionaries(
    st.tuples(
        st.sampled_from("stu"),
        st.sampled_from(["v", "v held out", "w", "w held out"]),
        st.integers(0, 2),
        st.integers(0, 1),
    ),
    st.none() | st.builds(Hit, index=st.integers(1, 3), cost=COSTS),
    min_size=1,
    max_size=40,
)
LINKS = st.sampled_from([{}, {"w held out": "w"}, {"v held out": "v", "w held out": "w"}])


def dense_hits(seed):
    """A full table of few misses, so that scores are not mostly zero."""
    rng = random.Random(seed)
    keys = [
        (s, w, study, trial) for s in "stu" for w in ("v", "v held out", "w") for study in range(3) for trial in (0, 1)
    ]
    costs = [1.0, 1.37, 2.213, 3.117, 4.73]
    return {key: hit(rng.randint(1, 3), rng.choice(costs)) if rng.random() < 0.9 else None for key in keys}


@given(HITS | st.integers(0, 10**6).map(dense_hits), LINKS)
def test_scores_are_those_of_a_second_implementation(hits, held_out):
    assert scores(hits, held_out) == pytest.approx(reference_scores(hits, held_out), abs=1e-12)


@given(HITS | st.integers(0, 10**6).map(dense_hits), LINKS, st.randoms())
def test_no_listing_order_changes_a_score(hits, held_out, source):
    assert score(shuffled(hits, source), shuffled(held_out, source)) == score(hits, held_out)


def test_the_second_implementation_is_asked_for_more_than_zeros():
    found = [value for seed in range(20) for value in scores(dense_hits(seed), {"v held out": "v"}).values()]
    assert len({round(value, 6) for value in found}) > 20


def test_a_score_survives_json():
    (found,) = score(studies("s", "w", 1.0) | studies("s", "v", None), {})
    assert Score.model_validate_json(found.model_dump_json()) == found
