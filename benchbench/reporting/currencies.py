"""Currencies that training is counted in, and the curves of runs over them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from benchbench.reporting.runs import Runs
from benchbench.stats import Evaluation
from benchbench.values import Cost, EpochRecord
from benchbench.values.prices import PAPER_PER_HVP, priced, unit_name

Currency = Literal["epochs", "steps", "seconds", "gradients", "gc", "flops"]
"""Currencies of training.

`gc`: gradient computations in the unit of the paper. `flops`: floating-point operations in units of one gradient, only
where a probe measured them.
"""

GC_PAPER, GC_FLOPS = unit_name("paper"), unit_name("flops")
"""Names of the two units of gradient computations."""

LABELS: Mapping[Currency, str] = {
    "epochs": "epochs",
    "steps": "steps",
    "gradients": "gradients",
    "gc": GC_PAPER,
    "flops": GC_FLOPS,
    "seconds": "seconds",
}
"""Name of each currency, in the order in which tables show them."""

UNITS_NOTE = f"{GC_PAPER}: a gradient counts 1, a Hessian-vector product {PAPER_PER_HVP}."
"""Note on numbers in the unit of the paper."""


def spent(cost: Cost, currency: Currency, gc_measured: float | None = None) -> float:
    """Return a cost in a currency other than epochs, NaN where it was not measured in that one.

    Args:
        cost: What was used.
        currency: What to count it in.
        gc_measured: Gradient equivalents per step, for `flops`; NaN without them.
    """
    if currency in ("gc", "gradients") and not cost.is_counted:
        return math.nan
    if currency == "seconds" and cost.steps and not cost.steady_seconds:
        return math.nan
    if currency == "gc":
        return priced(cost, "paper").amount
    if currency == "flops":
        return math.nan if gc_measured is None else priced(cost, "flops", gc_measured).amount
    return cost.steady_seconds if currency == "seconds" else float(getattr(cost, currency))


def position(record: EpochRecord, currency: Currency, gc_measured: float | None = None) -> float:
    """Return where an epoch stands on the axis of a currency; arguments as in `spent`."""
    return float(record.epoch) if currency == "epochs" else spent(record.cost, currency, gc_measured)


def curves(runs: Runs, name: str, currency: Currency) -> list[list[Evaluation]] | None:
    """Return a metric over cost for each run of a method, or `None` if cost was not measured in that currency.

    Args:
        runs: The runs of the method: operations per step are measured in one of them.
        name: The metric.
        currency: What cost is counted in.
    """
    measured = next((run.gc_measured for run in runs.results if run.gc_measured is not None), None)
    if currency == "flops" and measured is None:
        return None
    if currency == "epochs" and any(
        records and not run.epochs for run, records in zip(runs.results, runs.records, strict=True)
    ):
        return None
    found = [
        [
            Evaluation(index=record.epoch, cost=position(record, currency, measured), metric=record.metrics[name])
            for record in records
            if name in record.metrics
        ]
        for records in runs.records
    ]
    is_measured = all(math.isfinite(point.cost) for points in found for point in points)
    return found if is_measured else None
