"""What metrics and currencies are called on an axis, and how axes are divided."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from benchbench.figures.values import Axis
from benchbench.reporting.currencies import GC_PAPER, Currency
from benchbench.reporting.metrics import Metric, describe

CURRENCIES: Mapping[Currency, str] = {
    "epochs": "Epochs",
    "steps": "Optimizer steps",
    "seconds": "Training time (s)",
    "gradients": "Gradients",
    "gc": f"Gradients, {GC_PAPER}",
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
_DECADES = 1.5
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


_OF_STATE = {
    "min": "Smallest entry",
    "q05": "5 % quantile",
    "median": "Median",
    "q95": "95 % quantile",
    "max": "Largest entry",
    "negative_share": "Share of negative entries",
    "zero_share": "Share of zero entries",
    "relative_change": "Relative change",
}


def metric(name: str) -> Metric:
    """Return how a metric or a diagnostic is shown."""
    shown = describe(name)
    if name in DIAGNOSTICS:
        return shown.model_copy(update={"title": DIAGNOSTICS[name]})
    kind, _, rest = name.partition("/")
    tensor, _, what = rest.rpartition("/")
    if kind == "state" and what in _OF_STATE:
        return shown.model_copy(update={"title": f"{_OF_STATE[what]} of {tensor}"})
    return shown


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
