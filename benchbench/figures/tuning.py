"""Figures of searches: the best of k trials, and the score of each value that was tried."""

from __future__ import annotations

from collections.abc import Sequence

from benchbench.figures.labels import axis, scale, scaled
from benchbench.figures.sweeps import LOG_FROM, is_numeric, text
from benchbench.figures.values import Axis, LineFigure, Panel, Series
from benchbench.stats.best_of import expected_best
from benchbench.tuning.study import StudyStatus, Trial
from benchbench.values import canonical_json
from benchbench.values.prices import unit_name

UNITS = {"gc": "Gradients of training", "seconds": "Training time (s)", "trials": "Trials"}
"""Labels of what a budget is counted in."""


def tuning_figures(statuses: Sequence[StudyStatus]) -> list[LineFigure]:
    """Return the figures of searches: for each workload the best of k trials, then a figure per hyperparameter."""
    labels = list(dict.fromkeys(each.study.method for each in statuses))
    made = []
    for workload in dict.fromkeys(each.study.workload for each in statuses):
        searches = [each for each in statuses if each.study.workload == workload]
        here = [each for each in searches if each.metric]
        if not here:
            continue
        made.append(_best_of(workload, labels, here, [each.study.method for each in searches if not each.metric]))
        names = dict.fromkeys(name for each in here for name in each.study.space)
        made += [_sensitivity(workload, labels, here, name) for name in names]
    return made


def _best_of(workload: str, labels: Sequence[str], here: Sequence[StudyStatus], lost: Sequence[str]) -> LineFigure:
    unit = here[0].study.tuning.budget.counted_in
    label = f"{UNITS[unit]}, {unit_name(here[0].study.tuning.gradient_unit)}" if unit == "gc" else UNITS[unit]
    by_trials = tuple(_curve(labels, each, 1.0) for each in here)
    panels = [_panel("Trials", here[0].metric, by_trials)]
    if unit != "trials":
        ended = [max(sum(trial.ended for trial in each.trials), 1) for each in here]
        spent = [each.spent.gc if unit == "gc" else each.spent.seconds for each in here]
        by_cost = tuple(_curve(labels, each, of / n) for each, of, n in zip(here, spent, ended, strict=True))
        panels.append(_panel(label, here[0].metric, by_cost))
    return LineFigure(
        kind="best-of",
        workload=workload,
        title=f"Best of k trials, {workload}",
        panels=tuple(panels),
        notes=(
            "Line: expected best of so many trials; band: its 95 % interval (bootstrap over trials).",
            "A trial that diverged or broke counts as the worst of its method.",
            *([f"No trial has come to a value: {', '.join(lost)}."] if lost else []),
        ),
    )


def _curve(labels: Sequence[str], status: StudyStatus, cost: float) -> Series:
    shown, direction = scaled(status.metric), status.sign
    points = expected_best(status.scores)
    ends = [sorted((shown(direction * point.low), shown(direction * point.high))) for point in points]
    return Series(
        style=labels.index(status.study.method),
        label=status.study.method,
        x=tuple(cost * point.k for point in points),
        y=tuple(shown(direction * point.expected) for point in points),
        low=tuple(low for low, _ in ends),
        high=tuple(high for _, high in ends),
        n=tuple(len(points) for _ in points),
    )


def _panel(label: str, metric: str, series: tuple[Series, ...]) -> Panel:
    values = [value for each in series for value in each.y]
    return Panel(x=Axis(label=label), y=axis(metric, values), series=series, form="band")


def _sensitivity(workload: str, labels: Sequence[str], here: Sequence[StudyStatus], name: str) -> LineFigure:
    searching = [each for each in here if name in each.study.space]
    tried = [trial.values[name] for each in searching for trial in each.trials if name in trial.values]
    numeric = is_numeric(tried)
    words = [] if numeric else list({canonical_json(value): text(value) for value in tried}.items())
    series = tuple(_points(labels, each, name, [word for word, _ in words]) for each in searching)
    places = [place for each in series for place in (*each.x, *each.lost)]
    ticks = tuple((float(i), shown) for i, (_, shown) in enumerate(words))
    return LineFigure(
        kind="sensitivity",
        name=name,
        workload=workload,
        title=f"Trials by {name}, {workload}",
        panels=(
            Panel(
                x=Axis(label=name, scale="linear" if words else scale(places, LOG_FROM), ticks=ticks),
                y=axis(searching[0].metric, [value for each in series for value in each.y]),
                series=series,
                form="points",
            ),
        ),
        notes=("A point per trial, whatever its other hyperparameters; ×: diverged or broke.",),
    )


def _points(labels: Sequence[str], status: StudyStatus, name: str, words: Sequence[str]) -> Series:
    shown = scaled(status.metric)
    trials = [trial for trial in status.trials if trial.ended and name in trial.values]

    def place(trial: Trial) -> float:
        value = trial.values[name]
        return float(words.index(canonical_json(value))) if words else float(str(value))

    found = sorted((place(trial), shown(trial.value)) for trial in trials if trial.value is not None)
    y = tuple(value for _, value in found)
    return Series(
        style=labels.index(status.study.method),
        label=status.study.method,
        x=tuple(x for x, _ in found),
        y=y,
        low=y,
        high=y,
        n=(1,) * len(y),
        lost=tuple(place(trial) for trial in trials if trial.value is None),
    )
