"""Sharpness as values: what is to be measured, and what was. How it is measured is in `benchbench.curvature`."""

from benchbench.values.sharpness.settings import Settings, SharpnessSettings
from benchbench.values.sharpness.values import RunSharpness, Sharpness, SharpnessSummary, with_sharpness

__all__ = ["RunSharpness", "Settings", "Sharpness", "SharpnessSettings", "SharpnessSummary", "with_sharpness"]
