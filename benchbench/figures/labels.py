"""Labels of metrics and currencies on an axis, and its ticks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from benchbench.figures.values import Axis, Scale, Series
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
    return Axis(label=shown.full_title, scale="linear" if shown.unit == "%" else scale(values))


def scale(values: Iterable[float], decades: float = 1.5) -> Scale:
    """Return `log` if all finite values are positive and the largest is `decades` powers of ten above the smallest."""
    finite = [value for value in values if math.isfinite(value)]
    wide = finite and min(finite) > 0 and math.log10(max(finite) / min(finite)) >= decades
    return "log" if wide else "linear"


def ends(series: Iterable[Series]) -> list[float]:
    """Return the lower and upper ends of all points."""
    return [value for each in series for value in (*each.low, *each.high)]


def number(value: float) -> str:
    """Return a number in four significant digits at most."""
    return f"{value:.4g}"


def scaled(name: str) -> Callable[[float], float]:
    """Return the function that brings values of a metric into the unit of its axis."""
    factor = metric(name).scale
    return lambda value: factor * value
