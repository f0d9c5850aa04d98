"""Proposals of settings: each is a function of seed, index and, for some samplers, of the results before it.

So there is no state to keep: a search that was killed makes the same proposals again, and its runs are there already.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import JsonValue

from benchbench.distribution import installing
from benchbench.problems import BadInputError, Problem
from benchbench.tuning import spaces
from benchbench.tuning.spaces import Values
from benchbench.values import Space, Tuning, canonical_json
from benchbench.values.tuning import MOST_SEARCHED

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, Trial

STARTUP = 8
"""Proposals of `tpe` that are quasi-random, for it learns from results."""

LARGEST_GRID = 100_000


@dataclass(frozen=True)
class Tried:
    """A trial that has ended.

    Attributes:
        values: What was tried.
        score: What came of it, the higher the better; `None` where the run diverged or broke.
    """

    values: Values
    score: float | None


def learns(tuning: Tuning, index: int) -> bool:
    """Return whether the proposal with this index (from 0) depends on the results of those before it."""
    return tuning.sampler == "tpe" and index >= STARTUP


def propose(tuning: Tuning, space: Mapping[str, Space], index: int, before: Sequence[Tried] = ()) -> Values | None:
    """Return what to try, or `None` when a grid has come to its end.

    Args:
        tuning: The sampler and its settings.
        space: The search space, in the order of its coordinates.
        index: Number of the proposal, from 0.
        before: For a proposal that learns: the trials before it, in their order.

    Raises:
        BadInputError: The sampler needs a package that is not installed.
    """
    if tuning.sampler == "grid":
        order = spaces.grid(space, tuning.grid_points)
        random.Random(tuning.seed).shuffle(order)  # so that a part of it lies all over the space
        return order[index] if index < len(order) else None
    if learns(tuning, index):
        return _tpe(space, (tuning.seed + index) % 2**32, before)
    if tuning.sampler == "random":
        return spaces.at(space, np.random.default_rng([tuning.seed, index]).random(MOST_SEARCHED).tolist())
    size = 1 << max(index, 63).bit_length()
    return spaces.at(space, _sobol(tuning.seed, size)[index].tolist())


@cache
def _sobol(seed: int, size: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the beginning of a scrambled Sobol' sequence (Owen 1998) in as many dimensions as can be searched.

    The number of dimensions is always the same, because it is part of what the scrambling is drawn from: only so the
    coordinates of a method do not depend on how many hyperparameters it has.
    """
    from scipy.stats import qmc

    points: np.ndarray[Any, np.dtype[np.float64]] = qmc.Sobol(MOST_SEARCHED, scramble=True, rng=seed).random(size)
    return points


def _tpe(space: Mapping[str, Space], seed: int, before: Sequence[Tried]) -> Values:
    """Return the proposal of a tree-structured Parzen estimator (Bergstra et al. 2011), as optuna has it.

    Raises:
        BadInputError: It is not installed.
    """
    try:
        import optuna
    except ModuleNotFoundError:
        message = f"the sampler tpe needs optuna: {installing('tune')}"
        raise BadInputError([Problem(message, field="tuning.sampler", value="tpe")]) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=0)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.add_trials([_told(space, tried, before) for tried in before])
        trial = study.ask()
        values: Values = {}
        for name, one in space.items():
            if spaces.is_used(one, values):
                values[name] = _asked(trial, name, one)
    return values


def _told(space: Mapping[str, Space], tried: Tried, before: Sequence[Tried]) -> FrozenTrial:
    """Return a trial in optuna's form; one that diverged or broke counts as much as the worst that did not."""
    import optuna

    worst = min((each.score for each in before if each.score is not None), default=0.0)
    return optuna.trial.create_trial(
        params={name: _coded(space[name], value) for name, value in tried.values.items()},
        distributions={name: _distribution(space[name]) for name in tried.values},
        value=worst if tried.score is None else tried.score,
    )


def _distribution(one: Space) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if one.choices is not None:  # optuna's choices are plain values, ours may be lists
        return CategoricalDistribution(range(len(one.choices)))
    if one.integers is not None:
        return IntDistribution(*one.integers)
    if one.log_uniform is not None:
        return FloatDistribution(*one.log_uniform, log=True)
    assert one.uniform is not None
    return FloatDistribution(*one.uniform)


def _coded(one: Space, value: JsonValue) -> JsonValue:
    return value if one.choices is None else [canonical_json(each) for each in one.choices].index(canonical_json(value))


def _asked(trial: Trial, name: str, one: Space) -> JsonValue:
    if one.choices is not None:
        return one.choices[int(trial.suggest_categorical(name, range(len(one.choices))))]
    if one.integers is not None:
        return int(trial.suggest_int(name, *one.integers))
    low, high = one.log_uniform or one.uniform or (0.0, 1.0)
    value = spaces.rounded(trial.suggest_float(name, low, high, log=one.log_uniform is not None))
    return min(max(value, low), high)
