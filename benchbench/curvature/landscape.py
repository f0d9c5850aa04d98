"""Values of the loss on a line or a plane through a solution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from benchbench.curvature.sampling import gaussian
from benchbench.curvature.surface import LossSurface
from benchbench.values.sharpness.values import Landscape


def landscape(surface: LossSurface, x: Sequence[float], y: Sequence[float] = (0.0,), *, seed: int = 0) -> Landscape:
    """Evaluate the loss at w + x d1 + y d2 for all coordinates, d1 and d2 being filter-normalised random directions.

    It costs one evaluation of the loss over all data per point of the grid.

    Args:
        surface: The loss.
        x: Coordinates along d1; 1 is as far as each filter is long.
        y: Coordinates along d2; left out, the grid is a line.
        seed: Seed of the directions.
    """
    first, second = (filter_normalised_direction(surface, seed=seed, index=index) for index in (0, 1))
    losses = torch.stack([torch.stack([_value_at(surface, a * first + b * second) for a in x]) for b in y])
    return Landscape(seed=seed, x=tuple(x), y=tuple(y), losses=tuple(map(tuple, losses.tolist())))


def filter_normalised_direction(surface: LossSurface, *, seed: int = 0, index: int = 0) -> Tensor:
    """Return a Gaussian direction in which each filter has the norm of the model's own (Li et al. 2018, section 4).

    A filter is a row of a weight along its first dimension: what makes one output channel or unit. As in the authors'
    code, the direction is zero for parameters of at most one dimension: biases, and the scales of normalisation.

    Args:
        surface: The loss, whose parameters give the norms.
        seed: Seed of the direction.
        index: Which of the directions of this seed.
    """
    direction = gaussian(surface, seed, "landscape", index)
    for part, parameter in zip(surface.split(direction), surface.parameters, strict=True):
        if parameter.dim() < 2:
            part.zero_()
        else:
            rows = part.flatten(1)
            norms = torch.linalg.vector_norm(parameter.detach().flatten(1), dim=1, keepdim=True)
            rows.mul_(norms / torch.linalg.vector_norm(rows, dim=1, keepdim=True))
    return direction


def _value_at(surface: LossSurface, offset: Tensor) -> Tensor:
    with surface.at(offset):
        return surface.value()
