"""Searches for hyperparameters, and their records."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, JsonValue, model_validator

from benchbench.values.frozen import Documented
from benchbench.values.frozen import canonical_json as canonical_json  # noqa: PLC0414
from benchbench.values.prices import GradientUnit

Sampler = Literal["quasi-random", "random", "grid", "tpe"]
"""Source of the settings to try."""

Counted = Literal["gc", "seconds", "trials"]
"""Unit of a budget."""

MOST_SEARCHED = 32
"""Hyperparameters that one method can search."""

_LARGEST_SEED = 2**32 - 1

_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Integer = Annotated[int, Field(ge=-(2**53), le=2**53)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Seeds = Annotated[tuple[Annotated[int, Field(ge=0, le=_LARGEST_SEED)], ...], Field(min_length=1, max_length=100)]


class Space(Documented):
    """The values that a hyperparameter may take: exactly one of the four forms."""

    log_uniform: tuple[_Positive, _Positive] | None = None
    """Both ends of an interval whose logarithm is searched evenly."""
    uniform: tuple[_Finite, _Finite] | None = None
    """Both ends of an interval that is searched evenly."""
    integers: tuple[_Integer, _Integer] | None = None
    """The smallest and the largest of consecutive whole numbers."""
    choices: Annotated[tuple[JsonValue, ...], Field(min_length=1, max_length=1000)] | None = None
    """Values of any type."""
    when: dict[str, JsonValue] = {}
    """Choices of hyperparameters before this one with which it is used; otherwise it is left out."""

    @model_validator(mode="after")
    def _check(self) -> Space:
        forms = [name for name in _FORMS if getattr(self, name) is not None]
        if len(forms) != 1:
            raise ValueError(f"a search space has exactly one of {', '.join(_FORMS)}")
        for ends in (self.log_uniform, self.uniform, self.integers):
            if ends is not None and not ends[0] < ends[1]:
                raise ValueError("the first end must be smaller than the second")
        if self.uniform is not None and not math.isfinite(self.uniform[1] - self.uniform[0]):
            raise ValueError("the interval is too wide")
        written = [canonical_json(value) for value in self.choices or ()]
        if len(set(written)) < len(written):
            raise ValueError("a choice is listed twice")
        return self


_FORMS = ("log_uniform", "uniform", "integers", "choices")


class Budget(Documented):
    """Budget of every method on every workload: exactly one of the three."""

    gc: _Positive | None = None
    """Gradient computations of training; see cost.md."""
    unit: GradientUnit | None = None
    """Unit of `gc`: GC (FLOPs), the default, or GC (paper)."""
    seconds: _Positive | None = None
    """Seconds of training."""
    trials: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Number of trials."""

    @model_validator(mode="after")
    def _check(self) -> Budget:
        if sum(value is not None for value in (self.gc, self.seconds, self.trials)) != 1:
            raise ValueError("a budget has exactly one of gc, seconds, trials")
        if self.unit is not None and self.gc is None:
            raise ValueError("only a budget in gc has a unit")
        return self

    @property
    def counted_in(self) -> Counted:
        """Unit of the budget."""
        if self.gc is not None:
            return "gc"
        return "seconds" if self.seconds is not None else "trials"

    @property
    def amount(self) -> float:
        """Size of the budget, in its unit."""
        return float(self.gc or self.seconds or self.trials or 0)


class Finalists(Documented):
    """The best trials, which are trained again on other seeds."""

    count: Annotated[int, Field(ge=1, le=100)] = 3
    """Number of finalists."""
    seeds: _Seeds = (1001, 1002, 1003)
    """Seeds that each of them is trained with."""


class Tuning(Documented):
    """Settings of a search for hyperparameters."""

    budget: Budget
    """What every method may spend on every workload; finalists come on top of it."""
    sampler: Sampler = "quasi-random"
    """Source of the settings to try."""
    seed: Annotated[int, Field(ge=0, le=_LARGEST_SEED)] = 0
    """Root of the random numbers of the sampler."""
    seeds: _Seeds = (1000,)
    """Seeds of every trial."""
    finalists: Finalists = Finalists()
    """How many of the best trials are trained again, and with which seeds."""
    grid_points: Annotated[int, Field(ge=2, le=1000)] = 5
    """For the sampler `grid`: values of a hyperparameter that is searched in an interval."""

    @model_validator(mode="after")
    def _check(self) -> Tuning:
        every = (*self.seeds, *self.finalists.seeds)
        if len(set(every)) < len(every):
            raise ValueError("the seeds of trials and of finalists must all differ")
        return self

    @property
    def gradient_unit(self) -> GradientUnit:
        """The unit that gradient computations are counted in."""
        return self.budget.unit or "flops"


class Spent(Documented):
    """Cost of runs."""

    runs: Annotated[int, Field(ge=0)] = 0
    """Number of runs."""
    gc: _Amount = 0.0
    """Gradient computations of their training."""
    unit: GradientUnit | None = None
    """The unit that these are counted in; `None` where it was not recorded."""
    assumed: Annotated[int, Field(ge=0)] = 0
    """Runs whose products count as assumed, for their operations were not measured."""
    seconds: _Amount = 0.0
    """Seconds of their training."""


class Tuned(Documented):
    """Record of how the settings of a method on a workload were chosen."""

    budget: Budget
    """What it was allowed to spend."""
    trials: Spent
    """What the search has used."""
    broken: int = 0
    """Trials that diverged or broke."""
    finals: Spent = Spent()
    """What the finalists have used."""
    sampler: Sampler
    """Where the settings to try came from."""
    seed: int = 0
    """Root of the random numbers of the sampler."""
    seeds: tuple[int, ...] = ()
    """Seeds of every trial."""
    finalist_seeds: tuple[int, ...] = ()
    """Seeds of every finalist."""
    space: dict[str, Space] = {}
    """The values that each hyperparameter could take."""
    chosen: dict[str, JsonValue] = {}
    """The values that were chosen."""
    split: Literal["validation", "test"] = "validation"
    """The data that decided."""
    metric: str = ""
    """The metric that decided, after the final epoch."""
    value: _Finite | None = None
    """Its mean over the seeds of the winner."""
    version: str = ""
    """Version of benchbench."""
    date: Annotated[str, Field(pattern=r"^(\d{4}-\d{2}-\d{2})?$")] = ""
    """The day, as `YYYY-MM-DD`."""
