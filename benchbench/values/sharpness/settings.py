"""Settings of measurements of sharpness."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from pydantic import Field, model_validator

from benchbench.values.frozen import Frozen, canonical_json

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=1, le=2**31 - 1)]

USUAL_RADIUS = 0.1
"""The radius that tables show, where it is among those measured and no other one is asked for."""


class EigenvalueSettings(Frozen):
    """Settings of the search for the ends of the spectrum.

    Attributes:
        method: By Lanczos' iteration, or by power iteration as PyHessian does.
        tolerance: Relative residual (Lanczos) or relative change (power iteration) at which it stops.
        max_iterations: Limit of iterations.
    """

    method: Literal["lanczos", "power"] = "lanczos"
    tolerance: _Positive = 1e-3
    max_iterations: _Count = 100


class TraceSettings(Frozen):
    """Settings of the estimate of the trace.

    Attributes:
        method: By Hutchinson's estimator or by Hutch++.
        products: Hessian-vector products spent on it.
    """

    method: Literal["hutchinson", "hutch++"] = "hutchinson"
    products: Annotated[int, Field(ge=3, le=2**31 - 1)] = 100


class DensitySettings(Frozen):
    """Settings of the estimate of the spectrum's density.

    Attributes:
        probes: Random probes.
        steps: Iterations of Lanczos from each.
        bandwidth: Width of the smoothing Gaussian, as a fraction of the spectrum's range.
        points: Points of the grid.
    """

    probes: _Count = 3
    steps: _Count = 80
    bandwidth: _Positive = 0.01
    points: Annotated[int, Field(ge=2, le=2**20)] = 512


class LandscapeSettings(Frozen):
    """Points along filter-normalised random directions at which the loss is evaluated.

    Attributes:
        dimensions: A line (1) or a plane (2).
        extent: The grid goes from minus this to this; 1 is as far as each filter is long.
        points: Points of the grid in each dimension.
    """

    dimensions: Literal[1, 2] = 2
    extent: _Positive = 1.0
    points: Annotated[int, Field(ge=2, le=1001)] = 21


class Settings(Frozen):
    """Settings that decide the numbers, apart from the surface.

    Attributes:
        seed: Root of all random vectors.
        products_per_pass: How many Hessian-vector products share a pass over the data: cost and memory.
        eigenvalues: How the ends of the spectrum are found.
        trace: How the trace is estimated.
        radii: Distances from the solution at which the loss's rise is measured.
        draws: Random directions for the average rise.
        density: How the density of the spectrum is estimated; `None` to leave it out.
        landscape: Where the loss is evaluated on a line or a plane; `None` to leave it out.
    """

    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    products_per_pass: _Count = 5
    eigenvalues: EigenvalueSettings = EigenvalueSettings()
    trace: TraceSettings = TraceSettings()
    radii: Annotated[tuple[_Positive, ...], Field(min_length=1)] = (0.05, 0.1, 0.5)
    draws: _Count = 10
    density: DensitySettings | None = None
    landscape: LandscapeSettings | None = None

    @property
    def most_passes(self) -> tuple[int, int, int]:
        """The most passes over the data for losses alone and for gradients, and the most Hessian-vector products.

        Searches for eigenvalues may end sooner. Each pass with products has a gradient too.
        """
        together, trace = self.products_per_pass, self.trace.products
        losses = 1 + len(self.radii) * (1 + self.draws)
        if self.landscape is not None:
            losses += self.landscape.points**self.landscape.dimensions
        eigenvalues, residuals = self.eigenvalues.max_iterations, 2 if self.eigenvalues.method == "lanczos" else 0
        gradients = 1 + eigenvalues + (residuals > 0) + -(-trace // together) + 3
        products = eigenvalues + residuals + trace
        if self.density is not None:
            gradients += self.density.steps * -(-self.density.probes // together)
            products += self.density.steps * self.density.probes
        return losses, gradients, products


class SharpnessSettings(Settings):
    """Measurements of a finished run.

    Attributes:
        examples: Training examples that the surface averages over, the same ones in every run; `None`: all of them.
        batch_size: Examples per batch; `None`: as many as in training.
        dtype: Type that all is computed in.
        batch_norm: Mode of batch norm: by its running statistics, or by those of each batch.
        radius: The one of `radii` whose rises tables show; `None`: 0.1 if it is among them, or else the first.
    """

    examples: _Count | None = None
    batch_size: _Count | None = None
    dtype: Literal["float32", "float64"] = "float32"
    batch_norm: Literal["eval", "train"] = "eval"
    radius: _Positive | None = None

    @model_validator(mode="after")
    def _check_radii(self) -> SharpnessSettings:
        if len(set(self.radii)) < len(self.radii):
            raise ValueError("radii must differ from each other")
        if self.radius is not None and self.radius not in self.radii:
            raise ValueError(f"radius must be one of radii: {', '.join(f'{each:g}' for each in self.radii)}")
        return self

    @property
    def shown_radius(self) -> float:
        """The radius whose rises tables show."""
        return self.radius or (USUAL_RADIUS if USUAL_RADIUS in self.radii else self.radii[0])

    @property
    def digest(self) -> str:
        """Hash of all that decides the numbers: 16 hexadecimal digits."""
        content = self.model_dump(mode="json", exclude={"products_per_pass"})
        return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:16]
