"""The loss surface around a trained model: its curvature, and how the loss changes nearby."""

from benchbench.curvature.sharpness import measure
from benchbench.curvature.surface import LossSurface
from benchbench.values.sharpness import Settings, Sharpness

__all__ = ["LossSurface", "Settings", "Sharpness", "measure"]
