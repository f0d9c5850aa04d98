"""Schedules of hyperparameters."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from benchbench.values.frozen import Documented
from benchbench.values.frozen import canonical_json as canonical_json  # noqa: PLC0414

_NAME = Field(description="Which schedule this is.")


class _Schedule(Documented):
    warmup_epochs: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Epochs of linear growth before the schedule proper begins: step `i` of `w` has `i / w` of the base value."""


class Constant(_Schedule):
    """The base value, unchanged (apart from a warm-up)."""

    name: Annotated[Literal["constant"], _NAME] = "constant"


class MultiStep(_Schedule):
    """The base value times `gamma` for every milestone that has passed."""

    name: Annotated[Literal["multistep"], _NAME] = "multistep"
    milestones: Annotated[tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...], Field(min_length=1)]
    """Epochs completed before each drop: with 6, epochs 1 to 6 run at the undropped value."""
    gamma: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1
    """Factor of each drop."""


class Piecewise(_Schedule):
    """The base value times a factor that holds from one milestone to the next. The first can be 0."""

    name: Annotated[Literal["piecewise"], _NAME] = "piecewise"
    milestones: Annotated[tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...], Field(min_length=1)]
    """Epochs completed before each change, increasing."""
    factors: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...]
    """Factor up to the first milestone, from it to the second, and so on."""

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

    name: Annotated[Literal["cosine"], _NAME] = "cosine"
    end_factor: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Share of the base value at the end."""


class Linear(_Schedule):
    """A straight line, step by step, from the base value to `end_factor` times it at the end of the budget."""

    name: Annotated[Literal["linear"], _NAME] = "linear"
    end_factor: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Share of the base value at the end."""


class Polynomial(_Schedule):
    """From the base value to `end_factor` times it, step by step, with the remaining budget to the power of `power`."""

    name: Annotated[Literal["polynomial"], _NAME] = "polynomial"
    power: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2.0
    """Power of the share of the budget that remains."""
    end_factor: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Share of the base value at the end."""


class WarmupStableDecay(_Schedule):
    """A warm-up, the base value, and a decay to `end_factor` times it at the end of the budget.

    The decay is a line, or steep at first as 1 minus the root of the share of it that has passed (Hägele et al. 2024,
    "Scaling laws and compute-optimal training beyond fixed training durations").
    """

    name: Annotated[Literal["wsd"], _NAME] = "wsd"
    decay: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Share of the budget that the decay takes, at its end."""
    shape: Literal["linear", "1-sqrt"] = "linear"
    """Shape of the decay."""
    end_factor: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Share of the base value at the end."""


class Plateau(_Schedule):
    """The base value times `gamma` for each time that the metric which chooses the best epoch stopped improving."""

    name: Annotated[Literal["plateau"], _NAME] = "plateau"
    gamma: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Factor of each drop."""
    patience: Annotated[int, Field(ge=0)] = 10
    """Epochs in a row without an improvement that are put up with; the next one brings the drop."""
    threshold: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-4
    """Share of its best value by which the metric must have improved."""


_Kinds = Constant | MultiStep | Piecewise | Cosine | Linear | Polynomial | WarmupStableDecay | Plateau

SCHEDULES = tuple(str(kind.model_fields["name"].default) for kind in get_args(_Kinds))
"""Names of the schedules."""

Schedule = Annotated[_Kinds, Field(discriminator="name")]
"""Schedule of a hyperparameter of the optimizer's parameter groups over a run."""
