"""The loss surface around a trained model: its curvature, and how the loss changes nearby."""

from benchbench.curvature.sharpness import Settings, Sharpness, measure
from benchbench.curvature.surface import LossSurface

__all__ = ["LossSurface", "Settings", "Sharpness", "measure"]
