"""Measures of sharpness, as plain values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from benchbench.values.frozen import Frozen
from benchbench.values.prices import GradientCost, counted
from benchbench.values.results import Metrics, RunResult
from benchbench.values.sharpness.settings import Settings, SharpnessSettings

PREFIX = "sharpness/"
"""Prefix of the names of all measures of sharpness."""

_RISES = tuple(f"{PREFIX}{name}" for name in ("gradient_rise", "average_rise", "average_rise_error"))
"""Measures at the radius that tables show."""


class SurfaceFacts(Frozen):
    """State of a surface when it was last evaluated.

    Attributes:
        parameters: Number of trainable weights: the dimension of gradients and Hessian.
        dtype: Their type: `float64` or `float32`.
        batch_norm: Mode of the modules with running statistics: `eval` (the running ones), `train` (those of each
            batch), `mixed`, or `none` where there are no such modules.
        examples: Examples in the mean, over all data-parallel ranks.
        batches: Batches that they came in, on this rank.
    """

    parameters: int
    dtype: str
    batch_norm: Literal["eval", "train", "mixed", "none"]
    examples: int
    batches: int


class Estimate(Frozen):
    """The mean of independent samples.

    Attributes:
        mean: Their mean.
        standard_error: Sample standard deviation (ddof = 1) over the root of their number; `None` for one sample.
        samples: Their number.
    """

    mean: float
    standard_error: float | None
    samples: int


class LossDifference(Frozen):
    """Rise of the loss at one distance.

    Attributes:
        radius: The distance rho, in the Euclidean norm of all trainable parameters.
        gradient: L(x + rho g / ||g||) - L(x) with the gradient g of L; NaN where the
            gradient is zero or its norm infinite.
        average: L(x + rho u / ||u||) - L(x) with Gaussian u, averaged over draws.
    """

    radius: float
    gradient: float
    average: Estimate


class LossDifferences(Frozen):
    """Rise of the loss nearby.

    Attributes:
        loss: L(x).
        gradient_norm: ||g||, the Euclidean norm of the gradient.
        at: The differences per radius.
    """

    loss: float
    gradient_norm: float
    at: tuple[LossDifference, ...]


class Eigenvalue(Frozen):
    """An approximate eigenvalue.

    Attributes:
        value: The eigenvalue; NaN where a product was not finite.
        error_bound: || H v - value v || with its unit vector v, measured by a product: H has an eigenvalue within this
            distance of `value`.
        residual: The same relative to |value|; infinite where the value is zero and the bound is not.
        converged: Whether the method's own rule was met, see there.
    """

    value: float
    error_bound: float
    residual: float
    converged: bool


class ExtremeEigenvalues(Frozen):
    """The ends of a spectrum, as far as a method finds them.

    Attributes:
        method: How they were found.
        largest: The largest eigenvalue; by power iteration the one that is largest in magnitude, be it negative.
        smallest: The smallest eigenvalue (the most negative one, if there is one); `None` by power iteration.
        iterations: Iterations made.
        products: Hessian-vector products over the whole data set, those that measure residuals included.
    """

    method: Literal["lanczos", "power"]
    largest: Eigenvalue
    smallest: Eigenvalue | None
    iterations: int
    products: int


class TraceEstimate(Frozen):
    """An unbiased estimate of a trace.

    Attributes:
        method: How it was estimated.
        value: The estimate; NaN where a product was not finite.
        standard_error: Standard error of its random part; `None` for a single sample, zero where nothing was random.
        samples: Random samples in that part.
        products: Hessian-vector products over the whole data set.
    """

    method: Literal["hutchinson", "hutch++"]
    value: float
    standard_error: float | None
    samples: int
    products: int


class Quadrature(Frozen):
    """Quadrature of the spectrum by one probe: the mean of f over all eigenvalues is about the sum of weight f(node).

    Attributes:
        nodes: Ritz values, ascending.
        weights: Their weights, which add up to 1.
    """

    nodes: tuple[float, ...]
    weights: tuple[float, ...]


class SpectralDensity(Frozen):
    """The density of the eigenvalues.

    Attributes:
        probes: The quadratures, one per probe; the estimate is their mean.
        width: Standard deviation of the Gaussians that replace the nodes.
        grid: Points at which the smoothed density is given, evenly spaced.
        values: The smoothed density there; its integral over the grid (trapezoidal rule) is 1. All NaN where a product
            was not finite.
        products: Hessian-vector products over the whole data set.
    """

    probes: tuple[Quadrature, ...]
    width: float
    grid: tuple[float, ...]
    values: tuple[float, ...]
    products: int


class Landscape(Frozen):
    """Losses on a grid.

    Attributes:
        seed: Seed of the directions.
        x: Coordinates along the first direction.
        y: Coordinates along the second one; `(0.0,)` for a line.
        losses: One row per entry of `y`, with one loss per entry of `x`.
    """

    seed: int
    x: tuple[float, ...]
    y: tuple[float, ...]
    losses: tuple[tuple[float, ...], ...]


class Evaluations(Frozen):
    """Cost of a measurement, on one rank: each count is over batches, not over the data set.

    Attributes:
        forwards: Evaluations of the loss, those of gradients and products included.
        gradients: Gradients.
        hvps: Hessian-vector products.
    """

    forwards: int
    gradients: int
    hvps: int

    @property
    def gradient_cost(self) -> GradientCost:
        """All of it in gradients on a batch, by operations, products as assumed: a loss alone counts a third."""
        derivatives = counted(self.gradients, self.hvps, "flops")
        return derivatives.model_copy(
            update={"amount": derivatives.amount + (self.forwards - self.gradients) / 3, "assumed": True}
        )


class Sharpness(Frozen):
    """The sharpness of a solution.

    Attributes:
        settings: What decided the numbers.
        surface: What they were measured on.
        differences: The loss, its gradient's norm, and how much the loss rises nearby.
        eigenvalues: The ends of the spectrum.
        trace: The trace of the Hessian.
        density: The density of its spectrum, if it was asked for.
        landscape: The loss on a line or a plane, if it was asked for.
        cost: What all of this cost.
    """

    settings: Settings
    surface: SurfaceFacts
    differences: LossDifferences
    eigenvalues: ExtremeEigenvalues
    trace: TraceEstimate
    density: SpectralDensity | None
    landscape: Landscape | None
    cost: Evaluations


class SharpnessSummary(Frozen):
    """Additions to a run's result by a measurement.

    Attributes:
        settings: Digest of the settings.
        metrics: The numbers by the names of metrics; none where nothing could be measured.
        missing: Why nothing could be measured, or empty.
    """

    settings: str
    metrics: Metrics = {}
    missing: str = ""


class RunSharpness(Sharpness):
    """The sharpness of the solution that a run has found, by some settings; a file of its own in the run's folder.

    Attributes:
        settings: What decided the numbers.
        key: The run's key.
        data: Which examples the surface averages over, in words.
        seconds: Wall-clock time of the measurement, without setting up data and model.
        epochs: Its cost in epochs of the run's training, had that computed one gradient per step: GC (FLOPs) over the
            batches of an epoch.
    """

    settings: SharpnessSettings
    key: str
    data: str
    seconds: float
    epochs: float

    @property
    def summary(self) -> SharpnessSummary:
        """The numbers by the names of metrics; names of rises end with their radius, those for tables do not."""
        largest, smallest = self.eigenvalues.largest, self.eigenvalues.smallest
        found: dict[str, float | None] = {
            "lambda_max": largest.value,
            "lambda_max_residual": largest.residual,
            "lambda_min": smallest.value if smallest else None,
            "lambda_min_residual": smallest.residual if smallest else None,
            "trace": self.trace.value,
            "trace_error": self.trace.standard_error,
            "loss": self.differences.loss,
            "gradient_norm": self.differences.gradient_norm,
            "cost_gradients": float(self.cost.gradients),
            "cost_hvps": float(self.cost.hvps),
            "cost_epochs": self.epochs,
            "cost_seconds": self.seconds,
        }
        for each in self.differences.at:
            rises = {
                "gradient_rise": each.gradient,
                "average_rise": each.average.mean,
                "average_rise_error": each.average.standard_error,
            }
            found |= {f"{name}/{each.radius:g}": value for name, value in rises.items()}
            if each.radius == self.settings.shown_radius:
                found |= rises
        metrics = {f"{PREFIX}{name}": value for name, value in found.items() if value is not None}
        return SharpnessSummary(settings=self.settings.digest, metrics=metrics)


def with_sharpness(result: RunResult, settings: SharpnessSettings, measured: Iterable[SharpnessSummary]) -> RunResult:
    """Return a run's result with its sharpness among the final metrics, or with the reason why that is missing.

    Args:
        result: The result; what sharpness it has counts among what was measured. Earlier versions kept it there.
        settings: What is asked for. Where nothing else was measured, other settings have to do.
        measured: What is known of the run.
    """
    final = {name: value for name, value in result.final.items() if not name.startswith(PREFIX)}
    here = {name: value for name, value in result.final.items() if name not in final}
    own = SharpnessSummary(settings=result.sharpness_settings, metrics=here)
    known = sorted((*([own] if here else ()), *measured), key=lambda each: each.settings)
    asked = [each for each in known if settings.is_met_by(each.settings)]
    chosen = next((each for each in (*asked, *known) if each.metrics), own)
    metrics = dict(chosen.metrics)
    for name in _RISES:
        if (at := f"{name}/{settings.shown_radius:g}") in metrics:
            metrics[name] = metrics[at]
    is_met = chosen in asked
    missing = "" if is_met else next((each.missing for each in asked if each.missing), result.sharpness_missing)
    update = {
        "final": {**final, **metrics},
        "sharpness_settings": settings.digest if is_met else chosen.settings,
        "sharpness_missing": missing,
    }
    return result.model_copy(update=update)
