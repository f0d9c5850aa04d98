"""SASSHA and M-SASSHA: sharpness-aware second-order optimizers for PyTorch."""

from sassha.msassha import MSASSHA
from sassha.sassha import SASSHA

__all__ = ["MSASSHA", "SASSHA"]
