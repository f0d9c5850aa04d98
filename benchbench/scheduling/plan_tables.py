"""A plan in words and numbers: what of a suite is left to run, and about what that costs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from benchbench.scheduling.plan import PlannedRun

if TYPE_CHECKING:
    from benchbench.training.estimate import RunEstimate

Estimates = Mapping[tuple[str, str], "RunEstimate"]
"""Estimate of one run by labels of workload and method."""

Values = dict[str, object]

_TO_RUN = ("to run", "stale")


def runs(planned: Sequence[PlannedRun]) -> list[Values]:
    """Return a line per run."""
    return [
        {
            "workload": item.spec.workload_label,
            "method": item.spec.method,
            "seed": item.spec.seed,
            "epochs": item.spec.epochs,
            "state": item.state,
            "last outcome": item.result.outcome if item.result else "",
            "key": item.spec.key,
        }
        for item in planned
    ]


def status_rows(planned: Sequence[PlannedRun]) -> list[Values]:
    """Return a line per run: whether it is done, in a queue, at work or to be run, and its epochs so far.

    Raises:
        EngineError: The system that has runs in its queue does not answer.
    """
    from benchbench.engines import submissions

    states = submissions.states([item.folder for item in planned])
    waiting = {folder for folder, state in states.items() if not submissions.is_over(state)}
    return [_status_row(item, states.get(item.folder), item.folder in waiting) for item in planned]


def _status_row(item: PlannedRun, state: str | None, is_waiting: bool) -> Values:
    # A run that is done can be in a queue to be run again.
    submission = item.folder.submission() if state else None
    is_done = item.state == "done" and not is_waiting
    done = item.result.epochs if is_done and item.result else len(item.folder.records())
    outcome = item.result.outcome if item.result else ""
    if is_done:
        state = outcome
    elif item.state == "stale":
        state = f"{outcome}, stale"
    elif item.state == "on disk":
        state = f"{outcome}, to be collected"
    return {
        "workload": item.spec.workload_label,
        "method": item.spec.method,
        "seed": item.spec.seed,
        "state": state or outcome or "to run",
        "epochs": f"{done}/{item.spec.epochs}",
        "job": submission.job if submission else "",
        "key": item.spec.key,
    }


def pairs(planned: Sequence[PlannedRun], estimates: Estimates) -> list[Values]:
    """Return a line per workload and method: its runs, those left, and what these cost.

    Gradients, products and operations are whole numbers, `hours` are hours of one device; they are `None` where there
    is no estimate. `sharpness hours` are the most that measuring sharpness takes, where it is asked for; `parts` say
    how many parameters each part of an optimizer gets that treats them by role.
    """
    asked = any("sharpness" in item.spec.measure for item in planned)
    places: dict[tuple[str, str], list[PlannedRun]] = defaultdict(list)
    for item in planned:
        places[item.spec.workload_label, item.spec.method].append(item)
    lines = []
    for place, items in places.items():
        estimate, left = estimates.get(place), sum(item.state in _TO_RUN for item in items)
        line = {"workload": place[0], "method": place[1], "runs": len(items), "to run": left, **_cost(estimate, left)}
        if asked:
            states = [item.state for item in items if "sharpness" in item.spec.measure]
            count = sum(state in (*_TO_RUN, "to measure") for state in states)
            seconds = 0.0 if count == 0 else estimate.sharpness_seconds if estimate else None
            line["sharpness hours"] = None if seconds is None else count * seconds / 3600
        if estimate and estimate.parts:
            line["parts"] = dict(estimate.parts)
        lines.append(line)
    return lines


def table(planned: Sequence[PlannedRun], estimates: Estimates) -> list[Values]:
    """Return the lines of `pairs` with numbers of few digits and times in fitting units, for people."""
    return [
        {
            **{name: _short(value) for name, value in line.items() if not name.endswith("hours") and name != "parts"},
            "time": _duration(line["hours"]),
            **({"sharpness": _at_most(line["sharpness hours"])} if "sharpness hours" in line else {}),
        }
        for line in pairs(planned, estimates)
    ]


def part_lines(planned: Sequence[PlannedRun], estimates: Estimates) -> list[str]:
    """Return how many parameters each part of an optimizer gets, a line for each pair of workload and method."""
    places = dict.fromkeys((item.spec.workload_label, item.spec.method) for item in planned)
    return [
        f"{place[1]} on {place[0]}: {', '.join(f'{part} {size:,}' for part, size in made.parts.items())} parameters"
        for place in places
        if (made := estimates.get(place)) is not None and made.parts
    ]


def summary(planned: Sequence[PlannedRun], estimates: Estimates) -> str:
    """Return how many runs there are, how many are left, and about how long these take on one device."""
    left = [item for item in planned if item.state in _TO_RUN]
    text = f"{len(planned)} runs, {len(left)} to run"
    if stale := sum(item.state == "stale" for item in planned):
        text += f" ({stale} of them again: other code than now)"
    if to_measure := sum(item.state == "to measure" for item in planned):
        text += f", {to_measure} to measure"
    known = [estimates.get((item.spec.workload_label, item.spec.method)) for item in left]
    hours = sum(each.cost.train_seconds for each in known if each) / 3600
    if not estimates or not left:
        return text
    at_least = "at least " if None in known else "about "
    return f"{text}: {at_least}{_duration(hours)} of a device like this machine's{_sharpness(planned, estimates)}"


def _sharpness(planned: Sequence[PlannedRun], estimates: Estimates) -> str:
    """Return what measuring sharpness adds, or an empty text where nothing is to be measured."""
    hours = [line.get("sharpness hours", 0.0) for line in pairs(planned, estimates)]
    known = [each for each in hours if isinstance(each, float)]
    if not any(each != 0.0 for each in hours):
        return ""
    if len(known) < len(hours):
        return ", and what measuring sharpness takes, which is not known of all runs"
    return f", and at most {_duration(sum(known))} for measuring sharpness"


def _at_most(hours: object) -> str:
    return "–" if hours == 0 else "?" if hours is None else f"≤ {_duration(hours)}"


def _cost(estimate: RunEstimate | None, count: int) -> Values:
    if estimate is None:
        return dict.fromkeys(("gradients", "HVPs", "FLOPs", "hours"))
    return {
        "gradients": count * estimate.cost.gradients,
        "HVPs": count * estimate.cost.hvps,
        "FLOPs": count * estimate.flops,
        "hours": count * estimate.cost.train_seconds / 3600,
    }


def _short(value: object) -> str:
    if value is None:
        return "?"
    if isinstance(value, int | float):
        return f"{value:,.0f}" if value < 1e6 else f"{value:.2g}"
    return str(value)


def _duration(hours: object) -> str:
    if not isinstance(hours, int | float):
        return "?"
    if hours < 1 / 60:
        return f"{3600 * hours:.2g} s"
    return f"{60 * hours:.2g} min" if hours < 1 else f"{hours:,.0f} h" if hours >= 10 else f"{hours:.1f} h"
