"""Performance profiles and the score of the AlgoPerf benchmark.

Sources: Dolan and Moré, "Benchmarking optimization software with performance profiles", Math. Program. 91 (2002);
Dahl et al., "Benchmarking neural network training algorithms", arXiv:2306.07179 (2023). Where AlgoPerf's text and its
published scores differ, the rule here is the one of the published scores: a study is represented by the trial with the
lowest evaluation index, not by the one with the smallest time.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence

from benchbench.stats.targets import Hit
from benchbench.values import Frozen

Trial = tuple[str, str, int, int]
"""Submission, workload, study, trial."""

Times = dict[str, dict[str, float]]
"""Seconds (or any other cost) by submission and workload; infinite if the target was missed."""

SLOWEST = 4.0
"""A time beyond this multiple of the best one on the workload counts as infinite; also where the profile ends."""

PROFILE_POINTS = 100
"""Number of equally spaced tau between 1 and `SLOWEST`."""


class Score(Frozen):
    """Score of a submission.

    Attributes:
        submission: Its name.
        score: Area under its profile, divided by the width: between 0 and 1.
        times: Its time by base workload, after all rules; infinite if it counts as unsolved.
        profile: Share of the base workloads solved within tau times the best time, for each tau.
    """

    submission: str
    score: float
    times: dict[str, float]
    profile: tuple[float, ...]


def score(hits: Mapping[Trial, Hit | None], held_out: Mapping[str, str]) -> tuple[Score, ...]:
    """Return the scores of submissions on a set of workloads.

    In this order:

    1. The time of a study is that of its trial with the lowest evaluation index; of equal indices, the smaller time.
       Without a hit it is infinite.
    2. The time of a workload is the median over the studies that were logged; of an even number, the mean of the two in
       the middle, which is infinite if one of them is. Without any study it is infinite.
    3. The time of a held-out variant is infinite if that of its base workload is.
    4. A time above 4 times the best one on its workload becomes infinite, on held-out variants too.
    5. The time of a base workload becomes infinite if that of one of its held-out variants is.
    6. The profile at tau is the share of the base workloads on which the time is within tau times the best one. A
       workload that no method solves counts against everybody. tau runs over 100 equally spaced points from 1 to 4.
    7. The score is the area under the profile (trapezoids) divided by 3.

    Args:
        hits: When each trial reached its target, `None` for a miss. The base workloads are those that occur here or as
            a base in `held_out`; every submission is scored on all of them.
        held_out: Base workload by held-out variant; empty if there are no held-out workloads.

    Returns:
        The scores, highest first, then by name.

    Raises:
        ValueError: A hit's cost is not positive and finite, or a held-out variant is itself the base of another.
    """
    import numpy as np
    from scipy import integrate

    _check(hits, held_out)
    bases = sorted(({workload for _, workload, _, _ in hits} | set(held_out.values())) - held_out.keys())
    times = _workload_times(hits, [*bases, *held_out])
    for variant, base in held_out.items():
        for here in times.values():
            here[variant] = here[variant] if math.isfinite(here[base]) else math.inf
    times = _without_slow(times)
    for variant, base in held_out.items():
        for here in times.values():
            here[base] = here[base] if math.isfinite(here[variant]) else math.inf
    final = {name: {base: here[base] for base in bases} for name, here in times.items()}
    taus = np.linspace(1.0, SLOWEST, PROFILE_POINTS).tolist()
    profiles = performance_profile(final, taus)
    areas = {name: float(integrate.trapezoid(profile, taus)) / (SLOWEST - 1.0) for name, profile in profiles.items()}
    scores = [
        Score(submission=name, score=areas[name], times=here, profile=profiles[name]) for name, here in final.items()
    ]
    return tuple(sorted(scores, key=lambda found: (-found.score, found.submission)))


def performance_profile(
    times: Mapping[str, Mapping[str, float]], taus: Sequence[float]
) -> dict[str, tuple[float, ...]]:
    """Return the share of the workloads that each submission solves within tau times the best time.

    Args:
        times: Positive time by submission and workload, infinite for a miss. All workloads that occur count for all.
        taus: Factors, at least 1.

    Returns:
        For each submission its profile, one share per tau.
    """
    workloads = sorted({workload for here in times.values() for workload in here})
    best = _best(times)
    # The ratio on a workload that no method solves is inf / inf = NaN, which is within no factor.
    ratios = {
        name: [here.get(workload, math.inf) / best[workload] for workload in workloads] for name, here in times.items()
    }
    return {
        name: tuple(sum(ratio <= tau for ratio in each) / len(each) for tau in taus) for name, each in ratios.items()
    }


def _check(hits: Mapping[Trial, Hit | None], held_out: Mapping[str, str]) -> None:
    for trial, hit in sorted(hits.items()):
        if hit is not None and not 0 < hit.cost < math.inf:
            raise ValueError(f"the cost of a hit is positive and finite (got {hit.cost!r} for {trial})")
    for variant, base in sorted(held_out.items()):
        if base in held_out:
            raise ValueError(f"{base!r}, the base of {variant!r}, is itself a held-out variant of {held_out[base]!r}")


def _workload_times(hits: Mapping[Trial, Hit | None], workloads: Sequence[str]) -> Times:
    """Return the median time over studies, by submission and workload (rules 1 and 2)."""
    studies: defaultdict[tuple[str, str, int], list[Hit]] = defaultdict(list)
    for (submission, workload, study, _), hit in hits.items():
        studies[submission, workload, study] += [hit] if hit else []
    times: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for (submission, workload, _), found in studies.items():
        first = min(((hit.index, hit.cost) for hit in found), default=(0, math.inf))
        times[submission, workload].append(first[1])
    return {
        submission: {
            workload: statistics.median(times.get((submission, workload), [math.inf])) for workload in workloads
        }
        for submission in sorted({submission for submission, *_ in hits})
    }


def _without_slow(times: Times) -> Times:
    """Return the times with those above `SLOWEST` times the best one on their workload infinite (rule 4)."""
    best = _best(times)
    return {
        name: {workload: time if time <= SLOWEST * best[workload] else math.inf for workload, time in here.items()}
        for name, here in times.items()
    }


def _best(times: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    best: dict[str, float] = {}
    for here in times.values():
        for workload, time in here.items():
            best[workload] = min(time, best.get(workload, math.inf))
    return best
