"""Settings of measurements of sharpness."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from pydantic import Field, model_validator

from benchbench.values.frozen import Documented, canonical_json

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=1, le=2**31 - 1)]

USUAL_RADIUS = 0.1
"""The radius that tables show, where it is among those measured and no other one is asked for."""


class EigenvalueSettings(Documented):
    """Settings of the search for the ends of the spectrum."""

    method: Literal["lanczos", "power"] = "lanczos"
    """By Lanczos' iteration, or by power iteration as PyHessian does."""
    tolerance: _Positive = 1e-3
    """Relative residual (Lanczos) or relative change (power iteration) at which it stops."""
    max_iterations: _Count = 100
    """Limit of iterations."""


class TraceSettings(Documented):
    """Settings of the estimate of the trace."""

    method: Literal["hutchinson", "hutch++"] = "hutchinson"
    """By Hutchinson's estimator or by Hutch++."""
    products: Annotated[int, Field(ge=3, le=2**31 - 1)] = 100
    """Hessian-vector products spent on it."""


class DensitySettings(Documented):
    """Settings of the estimate of the spectrum's density."""

    probes: _Count = 3
    """Number of random probes."""
    steps: _Count = 80
    """Iterations of Lanczos from each probe."""
    bandwidth: _Positive = 0.01
    """Width of the smoothing Gaussian, as a fraction of the spectrum's range."""
    points: Annotated[int, Field(ge=2, le=2**20)] = 512
    """Points of the grid."""


class LandscapeSettings(Documented):
    """Points along filter-normalised random directions at which the loss is evaluated."""

    dimensions: Literal[1, 2] = 2
    """A line (1) or a plane (2)."""
    extent: _Positive = 1.0
    """The grid goes from minus this to this; 1 is as far as each filter is long."""
    points: Annotated[int, Field(ge=2, le=1001)] = 21
    """Points of the grid in each dimension."""


class Settings(Documented):
    """Settings that decide the numbers, apart from the surface."""

    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    """Root of all random vectors."""
    products_per_pass: _Count = 5
    """Hessian-vector products that share a pass over the data: fewer passes, more memory."""
    eigenvalues: EigenvalueSettings = EigenvalueSettings()
    """Search for the ends of the spectrum."""
    trace: TraceSettings = TraceSettings()
    """Estimate of the trace."""
    radii: Annotated[tuple[_Positive, ...], Field(min_length=1)] = (0.05, 0.1, 0.5)
    """Distances from the solution at which the loss's rise is measured."""
    draws: _Count = 10
    """Random directions for the average rise."""
    density: DensitySettings | None = None
    """Estimate of the spectrum's density; left out by default, `{}` takes the defaults below it."""
    landscape: LandscapeSettings | None = None
    """Loss on a line or a plane; left out by default, `{}` takes the defaults below it."""

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
    """Measurements of a finished run."""

    examples: _Count | None = None
    """Training examples that the surface averages over, the same ones in every run; all of them by default."""
    batch_size: _Count | None = None
    """Examples per batch, as many as in training by default; with `batch_norm: train` it changes the surface."""
    dtype: Literal["float32", "float64"] = "float32"
    """Type that model and data are converted to."""
    batch_norm: Literal["eval", "train"] = "eval"
    """Mode of batch norm: by its running statistics, or by those of each batch."""
    radius: _Positive | None = None
    """The one of `radii` whose rises tables show; by default 0.1 if it is among them, or else the first."""

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
        return self._digest(None)

    def is_met_by(self, digest: str) -> bool:
        """Return whether a digest is that of these settings; in earlier versions it depended on the shown radius."""
        return digest in map(self._digest, (None, *self.radii))

    def _digest(self, radius: float | None) -> str:
        content = {**self.model_dump(mode="json", exclude={"products_per_pass"}), "radius": radius}
        return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:16]
