"""Rise of the loss at given distances from a solution."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor

from benchbench.curvature.sampling import estimate, gaussian
from benchbench.curvature.surface import LossSurface
from benchbench.values.sharpness.values import LossDifference, LossDifferences


def loss_differences(
    surface: LossSurface, *, radii: Sequence[float] = (0.05, 0.1, 0.5), draws: int = 10, seed: int = 0
) -> LossDifferences:
    """Measure how much the loss rises along the gradient and along random directions.

    It costs one gradient and 1 + (1 + draws) times the number of radii evaluations of the loss, each over all data. The
    radii share their random directions.

    Args:
        surface: The loss.
        radii: Distances.
        draws: Number of random directions.
        seed: Seed of the random directions.
    """
    gradient = surface.gradient()
    base = surface.value()
    drawn = (gaussian(surface, seed, "loss difference", draw) for draw in range(draws))
    rises = torch.stack([_rises(surface, direction, radii) - base for direction in chain([gradient], drawn)])
    along_gradient, at_random = rises.cpu()[0], rises.cpu()[1:]
    at = tuple(
        LossDifference(radius=radius, gradient=along_gradient[i].item(), average=estimate(at_random[:, i]))
        for i, radius in enumerate(radii)
    )
    return LossDifferences(loss=base.item(), gradient_norm=torch.linalg.vector_norm(gradient).item(), at=at)


def _rises(surface: LossSurface, direction: Tensor, radii: Sequence[float]) -> Tensor:
    norm = torch.linalg.vector_norm(direction)
    unit = direction / torch.where(norm.isfinite(), norm, torch.nan)  # a finite vector over infinity would be zero
    values = []
    for radius in radii:
        with surface.at(radius * unit):
            values.append(surface.value())
    return torch.stack(values)
