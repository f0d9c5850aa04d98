"""Schedules of hyperparameters."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from benchbench.values.frozen import Frozen as Frozen  # noqa: PLC0414 - all other modules take both from here
from benchbench.values.frozen import canonical_json as canonical_json  # noqa: PLC0414


class _Schedule(Frozen):
    warmup_epochs: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Epochs of linear growth from zero to the base value, before the schedule proper begins."""


class Constant(_Schedule):
    """The base value, unchanged (apart from a warm-up)."""

    name: Literal["constant"] = "constant"


class MultiStep(_Schedule):
    """The base value times `gamma` for every milestone that has passed.

    Attributes:
        milestones: Epochs completed before each drop: with 6, epochs 1 to 6 run at the undropped value.
        gamma: Factor of each drop.
    """

    name: Literal["multistep"] = "multistep"
    milestones: Annotated[tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...], Field(min_length=1)]
    gamma: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1


class Piecewise(_Schedule):
    """The base value times a factor that holds from one milestone to the next.

    Attributes:
        milestones: Epochs completed before each change, increasing.
        factors: Factor up to the first milestone, from it to the second, and so on.
    """

    name: Literal["piecewise"] = "piecewise"
    milestones: Annotated[tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...], Field(min_length=1)]
    factors: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...]

    @model_validator(mode="after")
    def _check_counts(self) -> Piecewise:
        expected = len(self.milestones) + 1
        if len(self.factors) != expected:
            raise ValueError(f"factors must have {expected} entries, one more than milestones")
        if any(later <= earlier for earlier, later in pairwise(self.milestones)):
            raise ValueError("milestones must increase")
        return self


class Cosine(_Schedule):
    """Half a cosine, step by step, from the base value to `end_factor` times it at the end of the budget."""

    name: Literal["cosine"] = "cosine"
    end_factor: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


class Linear(_Schedule):
    """A straight line, step by step, from the base value to `end_factor` times it at the end of the budget."""

    name: Literal["linear"] = "linear"
    end_factor: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


class Polynomial(_Schedule):
    """From the base value to `end_factor` times it, step by step, with the remaining budget to the power of `power`."""

    name: Literal["polynomial"] = "polynomial"
    power: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2.0
    end_factor: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


class Plateau(_Schedule):
    """The base value times `gamma` for every time that the metric which chooses the best epoch has stopped improving.

    Attributes:
        gamma: Factor of each drop.
        patience: Epochs in a row without an improvement that are put up with; the next one brings the drop.
        threshold: Share of its best value by which the metric must have improved.
    """

    name: Literal["plateau"] = "plateau"
    gamma: Annotated[float, Field(gt=0, lt=1)] = 0.1
    patience: Annotated[int, Field(ge=0)] = 10
    threshold: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-4


Schedule = Annotated[
    Constant | MultiStep | Piecewise | Cosine | Linear | Polynomial | Plateau, Field(discriminator="name")
]
"""Schedule of a hyperparameter of the optimizer's parameter groups over a run."""
