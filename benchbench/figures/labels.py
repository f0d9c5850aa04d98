"""What metrics and currencies are called on an axis, and how axes are divided."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from benchbench.figures.values import Axis
from benchbench.reporting.cost import GC_PER_HVP
from benchbench.reporting.metrics import METRICS, Metric, describe
from benchbench.values import Cost, EpochRecord

Currency = Literal["epochs", "steps", "seconds", "gradients", "gc"]
"""What training is counted in: `gc` are gradient computations, with a Hessian-vector product at its price."""

CURRENCIES: Mapping[Currency, str] = {
    "epochs": "Epochs",
    "steps": "Optimizer steps",
    "seconds": "Training time (s)",
    "gradients": "Gradients",
    "gc": f"Gradients (HVP = {GC_PER_HVP})",
}
"""Label of each currency."""

DIAGNOSTICS = {
    "update_norm": "Update norm ‖Δx‖₂",
    "gradient_norm": "Gradient norm ‖g‖₂",
    "perturbation_norm": "Perturbation norm ‖ε‖₂",
    "update_cosine": "Cosine with the previous update",
    "distance_from_start": "Distance from the start ‖x − x₀‖₂",
    "curvature_change": "Local curvature change",
}
_SPLITS = {"train": "Training", "validation": "Validation", "test": "Test"}
_DECADES = 1.5
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def spent(cost: Cost, currency: Currency) -> float:
    """Return a cost in a currency other than epochs."""
    if currency == "gc":
        return float(cost.gradients + GC_PER_HVP * cost.hvps)
    return cost.train_seconds if currency == "seconds" else float(getattr(cost, currency))


def position(record: EpochRecord, currency: Currency) -> float:
    """Return where an epoch stands on the axis of a currency."""
    return float(record.epoch) if currency == "epochs" else spent(record.cost, currency)


def metric(name: str) -> Metric:
    """Return how a metric is shown; what is known of a test metric holds for those of the other splits."""
    split, _, rest = name.partition("/")
    known = METRICS.get(f"test/{rest}")
    if split not in _SPLITS or name in METRICS or known is None:
        return describe(name).model_copy(update={"title": _title(name)})
    title = known.title.replace("the test data", f"the {_SPLITS[split].lower()} data").replace("Test", _SPLITS[split])
    return known.model_copy(update={"title": title})


def axis(name: str, values: Iterable[float]) -> Axis:
    """Return the axis of a metric or a diagnostic, logarithmic if its (shown) values span decades."""
    shown = metric(name)
    scale: Literal["log", "linear"] = "log" if shown.unit != "%" and spans_decades(values) else "linear"
    return Axis(label=shown.full_title, scale=scale)


def spans_decades(values: Iterable[float], decades: float = _DECADES) -> bool:
    """Return whether all finite values are positive and the largest is `decades` powers of ten above the smallest."""
    finite = [value for value in values if math.isfinite(value)]
    return bool(finite) and min(finite) > 0 and math.log10(max(finite) / min(finite)) >= decades


def number(value: float) -> str:
    """Return a number in four significant digits at most."""
    return f"{value:.4g}"


def power_of_ten(exponent: int, *, negative: bool = False) -> str:
    """Return a power of ten as text, without markup."""
    return f"{'−' if negative else ''}10{str(exponent).translate(_RAISED)}"


def scaled(name: str) -> Callable[[float], float]:
    """Return the function that brings values of a metric into the unit of its axis."""
    factor = metric(name).scale
    return lambda value: factor * value


def _title(name: str) -> str:
    if name in METRICS:
        return METRICS[name].title
    return DIAGNOSTICS.get(name) or name
