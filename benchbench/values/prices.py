"""Cost of training in gradient computations (GC), in two units whose names are shown with every number."""

from __future__ import annotations

from typing import Literal

from benchbench.values.frozen import Frozen
from benchbench.values.results import Cost

GradientUnit = Literal["paper", "flops"]
"""`paper`: a Hessian-vector product counts 3 gradients, as in Table 4 of the SASSHA paper. `flops`: floating-point
operations in units of one gradient, as measured; where they were not, a product is assumed at 2 gradients."""

PAPER_PER_HVP = 3
"""Price of a Hessian-vector product in the unit `paper`."""

ASSUMED_PER_HVP = 2.0
"""Price of a product in the unit `flops` where operations were not measured: what it takes on most networks."""

ASSUMPTION = f"a Hessian-vector product assumed at {ASSUMED_PER_HVP:g}"


def unit_name(unit: GradientUnit | None) -> str:
    """Return what a unit is called in tables; `None` for numbers of which it was not recorded."""
    return {"paper": "GC (paper)", "flops": "GC (FLOPs)", None: "GC (unit not recorded)"}[unit]


class GradientCost(Frozen):
    """A cost in gradient computations.

    Attributes:
        amount: How many.
        unit: How Hessian-vector products count.
        assumed: Whether they count `ASSUMED_PER_HVP`, for operations were not measured.
    """

    amount: float
    unit: GradientUnit
    assumed: bool = False


def counted(gradients: float, hvps: float, unit: GradientUnit) -> GradientCost:
    """Return what gradients and Hessian-vector products cost of which only the numbers are known."""
    if unit == "paper":
        return GradientCost(amount=gradients + PAPER_PER_HVP * hvps, unit=unit)
    return GradientCost(amount=gradients + ASSUMED_PER_HVP * hvps, unit=unit, assumed=hvps > 0)


def priced(cost: Cost, unit: GradientUnit, gc_measured: float | None = None) -> GradientCost:
    """Return what a run's training cost.

    Args:
        cost: What it used.
        unit: The unit.
        gc_measured: Measured operations per step in units of one gradient, if they are known.
    """
    if unit == "flops" and gc_measured is not None:
        return GradientCost(amount=cost.steps * gc_measured, unit=unit)
    return counted(cost.gradients, cost.hvps, unit)
