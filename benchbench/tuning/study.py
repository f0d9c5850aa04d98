"""The search of one method on one workload, worked out from the results that are known.

A study has no state. What has been tried, what it has cost and what comes next is found by going through the proposals
in their order, each time from the first; so a search that was killed goes on where it was, and two at once agree.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from benchbench.reporting.metrics import better
from benchbench.tuning.samplers import Tried, learns, propose
from benchbench.tuning.spaces import Values
from benchbench.values import Component, Method, RunResult, RunSpec, Space, Spent, Tuning, canonical_json
from benchbench.values.prices import GradientUnit, priced
from benchbench.values.specs import unfolded

Known = Mapping[str, RunResult]
"""Results of the runs that have ended, however they did, by key."""

_GIVE_UP = 3
"""Trials that have to break before a study ends in which none has ended."""

_REPETITIONS = 1000
"""Proposals in a row that repeat earlier ones, after which a space counts as searched."""


@dataclass(frozen=True)
class Study:
    """The search of one method on one workload.

    Attributes:
        template: A run of the method on the workload, without the values that are searched.
        space: The search space.
        tuning: Budget, sampler and seeds.
        proposed: Proposals that took time to find, by what decides them, so that each is found once.
    """

    template: RunSpec
    space: Mapping[str, Space]
    tuning: Tuning
    proposed: dict[str, Values | None] = field(default_factory=dict, compare=False, repr=False)

    @property
    def method(self) -> str:
        """Label of the method."""
        return self.template.method

    @property
    def workload(self) -> str:
        """Label of the workload."""
        return self.template.workload_label

    def proposal(self, index: int, trials: Sequence[Trial]) -> Values | None:
        """Return what to try, as `propose` does, which is told what came of the trials before."""
        if not learns(self.tuning, index):
            return propose(self.tuning, self.space, index)
        before = [Tried(trial.values, trial.score) for trial in trials]
        key = canonical_json([index, [[tried.values, tried.score] for tried in before]])
        if key not in self.proposed:
            self.proposed[key] = propose(self.tuning, self.space, index, before)
        return self.proposed[key]

    def specs(self, number: int, values: Values, seeds: Sequence[int]) -> tuple[RunSpec, ...]:
        """Return the runs that try some values.

        A part of the training data is held out and decides; the test data are not read.
        """
        optimizer = self.template.optimizer
        tried = Component(
            target=optimizer.target, parameters=unfolded({**optimizer.parameters, **values}), digest=optimizer.digest
        )
        changes = {
            "suite": f"{self.template.suite} tuning",
            "method": f"{self.method} #{number}",
            "optimizer": tried,
            "protocol": "holdout",
            "reads_test": False,
            "measure": tuple(name for name in self.template.measure if name == "flops"),
        }
        return tuple(self.template.model_copy(update={**changes, "seed": seed}) for seed in seeds)


@dataclass(frozen=True)
class Trial:
    """Values, and what came of them.

    Attributes:
        number: Position among the trials, from 1.
        values: What is tried.
        specs: Its runs, one per seed.
        results: Their results, as far as they have ended.
        unit: The unit that gradient computations are counted in.
    """

    number: int
    values: Values
    specs: tuple[RunSpec, ...]
    results: tuple[RunResult, ...]
    unit: GradientUnit

    @property
    def ended(self) -> bool:
        """True if all its runs have ended."""
        return len(self.results) == len(self.specs)

    @property
    def metric(self) -> str:
        """The metric that decides, or empty where no run got so far."""
        return next((result.selection_metric for result in self.results if result.selection_metric), "")

    @property
    def value(self) -> float | None:
        """Mean over the seeds of the metric that decides, after the final epoch; `None` where a run did not finish."""
        values = [
            result.final.get(result.selection_metric, math.nan) if result.outcome == "finished" else math.nan
            for result in self.results
        ]
        mean = sum(values) / len(values) if values else math.nan
        return mean if math.isfinite(mean) else None

    @property
    def score(self) -> float | None:
        """The value, with its sign changed where lower is better; `None` where it is not known which way is."""
        direction = better(self.metric, self.results)
        if self.value is None or direction is None:
            return None
        return self.value if direction == "higher" else -self.value

    @property
    def spent(self) -> Spent:
        """Cost of its runs."""
        return total(self.results, self.unit)

    @property
    def merit(self) -> tuple[float, float, int]:
        """Sorting key of trials, the best one first: score, then cost, then position."""
        return (math.inf if self.score is None else -self.score, self.spent.gc, self.number)


def total(results: Sequence[RunResult], unit: GradientUnit) -> Spent:
    """Return what runs have used, gradient computations in a unit."""
    costs = [priced(result.cost, unit, result.gc_measured) for result in results]
    return Spent(
        runs=len(results),
        gc=sum(cost.amount for cost in costs),
        unit=unit,
        assumed=sum(cost.assumed for cost in costs),
        seconds=sum(result.cost.steady_seconds for result in results),
    )


@dataclass(frozen=True)
class StudyStatus:
    """Status of a study.

    Attributes:
        study: The study.
        trials: The trials that belong to the budget, in their order, those that are to be run included.
        finalists: The best of them with their runs on other seeds; none before the search is over.
        pending: Runs that are to be made next.
    """

    study: Study
    trials: tuple[Trial, ...]
    finalists: tuple[Trial, ...]
    pending: tuple[RunSpec, ...]

    @property
    def winner(self) -> Trial | None:
        """The finalist that did best; `None` before the end, or where no trial has come to a value."""
        if self.pending or not self.finalists:
            return None
        best = min(self.finalists, key=lambda trial: trial.merit)
        return None if best.score is None else best

    @property
    def metric(self) -> str:
        """The metric that decides, or empty where no trial has come to a value."""
        return next((trial.metric for trial in self.trials if trial.value is not None), "")

    @property
    def sign(self) -> int:
        """Factor from a score to a value: -1 where lower values are better."""
        return next((1 if each.score == each.value else -1 for each in self.trials if each.value is not None), 1)

    @property
    def scores(self) -> list[float]:
        """Score of each ended trial, the higher the better; a broken one counts as the worst of the others."""
        found = [trial.score for trial in self.trials if trial.ended]
        worst = min((score for score in found if score is not None), default=0.0)
        return [worst if score is None else score for score in found]

    @property
    def spent(self) -> Spent:
        """Cost of its trials, without the finalists."""
        return total([result for trial in self.trials for result in trial.results], self.study.tuning.gradient_unit)

    @property
    def finals(self) -> Spent:
        """Cost of its finalists."""
        return total([result for trial in self.finalists for result in trial.results], self.study.tuning.gradient_unit)

    @property
    def broken(self) -> int:
        """Number of trials that have ended without a value."""
        return sum(trial.ended and trial.value is None for trial in self.trials)


def status_of(study: Study, known: Known) -> StudyStatus:
    """Return how far a study is, given the results that are known."""
    trials = tuple(_trials(study, known))
    if any(not trial.ended for trial in trials):
        return StudyStatus(study, trials, (), _missing(trials, known))
    finalists = tuple(_finalists(study, trials, known))
    return StudyStatus(study, trials, finalists, _missing(finalists, known))


def _missing(trials: Sequence[Trial], known: Known) -> tuple[RunSpec, ...]:
    return tuple(spec for trial in trials for spec in trial.specs if spec.key not in known)


def _trials(study: Study, known: Known) -> Iterator[Trial]:
    """Yield the trials that fit into the budget, up to those whose cost has to be known first."""
    account = _Account(study.tuning)
    trials: list[Trial] = []
    for values in _distinct(study, trials):
        if not account.has_room():
            return
        number = len(trials) + 1
        specs = study.specs(number, values, study.tuning.seeds)
        ended = tuple(known[spec.key] for spec in specs if spec.key in known)
        trial = Trial(number, values, specs, ended, study.tuning.gradient_unit)
        yield trial
        account.add(trial)
        trials.append(trial)


def _distinct(study: Study, trials: Sequence[Trial]) -> Iterator[Values]:
    """Yield what is proposed and has not been before, while `trials` grows with what came of it."""
    seen: set[str] = set()
    index = repeated = 0
    while repeated < _REPETITIONS:
        if learns(study.tuning, index) and not all(trial.ended for trial in trials):
            return
        values = study.proposal(index, trials)
        if values is None:
            return
        content = canonical_json(values)
        repeated = repeated + 1 if content in seen else 0
        if content not in seen:
            seen.add(content)
            yield values
        index += 1


class _Account:
    """The used part of a budget.

    A trial fits if it brings the total nearer to the budget; so the total ends within half a trial of it, as near for
    a method whose trials are expensive as for one whose trials are cheap.
    """

    def __init__(self, tuning: Tuning) -> None:
        self._tuning = tuning
        self._costs: list[float] = []
        self._waiting = 0
        self._broken = 0

    def has_room(self) -> bool:
        """Return whether another trial may be started now."""
        ended = len(self._costs)
        if self._tuning.budget.counted_in == "trials":
            return ended + self._broken + self._waiting < self._tuning.budget.amount
        if not ended:  # what a trial costs is still to be found out
            return not self._waiting and self._broken < _GIVE_UP
        if self._waiting and max(self._costs) > min(self._costs):  # what is under way may cost anything
            return False
        usual = sum(self._costs) / ended
        return usual * (ended + self._broken + self._waiting + 0.5) <= self._tuning.budget.amount

    def add(self, trial: Trial) -> None:
        """Take a trial into account: what it has cost, or that it is under way."""
        if not trial.ended:
            self._waiting += 1
        elif all(result.conclusive for result in trial.results):
            amounts = {"gc": trial.spent.gc, "seconds": trial.spent.seconds, "trials": 1.0}
            self._costs.append(amounts[self._tuning.budget.counted_in])
        else:  # what it has cost was lost with it: it counts as much as the others
            self._broken += 1


def _finalists(study: Study, trials: Sequence[Trial], known: Known) -> Iterator[Trial]:
    """Yield the best trials with runs on other seeds."""
    best = sorted((trial for trial in trials if trial.score is not None), key=lambda trial: trial.merit)
    for trial in best[: study.tuning.finalists.count]:
        specs = study.specs(trial.number, trial.values, study.tuning.finalists.seeds)
        ended = tuple(known[spec.key] for spec in specs if spec.key in known)
        yield Trial(trial.number, trial.values, specs, ended, trial.unit)


def method_of(study: Study, trial: Trial) -> Method:
    """Return a trial as a row of a suite."""
    return Method(label=f"{study.method} #{trial.number}", base=study.method, swept=trial.values)
