"""Filter-normalised directions, and losses on lines and planes."""

from __future__ import annotations

import pytest
import torch

from benchbench.curvature.landscape import filter_normalised_direction, landscape
from tests.accelerator import every_device, tolerance
from tests.curvature.surfaces import solution

pytestmark = every_device


def test_every_filter_of_a_direction_is_as_long_as_the_models() -> None:
    found = solution("conv_bn")
    surface = found.surface()
    direction = surface.split(filter_normalised_direction(surface, seed=3))
    for part, parameter in zip(direction, found.model.parameters(), strict=True):
        if parameter.dim() < 2:
            assert not part.any()
            continue
        for own, model in zip(part, parameter, strict=True):
            assert own.norm().item() == pytest.approx(model.norm().item(), rel=tolerance(1e-12))
            assert abs(own.flatten() @ model.flatten()) < own.norm() * model.norm()


def test_a_dead_filter_stays_dead() -> None:
    found = solution("conv_bn")
    with torch.no_grad():
        found.model[0].weight[1] = 0
    surface = found.surface()
    direction = surface.split(filter_normalised_direction(surface))[0]
    assert not direction[1].any()
    assert direction[0].any()


def test_the_grid_holds_the_losses_of_the_displaced_model() -> None:
    surface = solution("conv_bn").surface()
    grid = landscape(surface, x=(-1, 0, 0.5), y=(0, 2), seed=7)
    first, second = (filter_normalised_direction(surface, seed=7, index=i) for i in (0, 1))
    assert not torch.equal(first, second)
    assert [len(row) for row in grid.losses] == [3, 3]
    assert grid.losses[0][1] == surface.value().item()
    with surface.at(0.5 * first + 2 * second):
        assert grid.losses[1][2] == surface.value().item()
    line = landscape(surface, x=(-1, 0, 0.5), seed=7)
    assert line.losses == (grid.losses[0],)


def test_leaves_the_weights() -> None:
    found = solution("conv_bn", training=True)
    before = {key: tensor.clone() for key, tensor in found.model.state_dict().items()}
    assert landscape(found.surface(), x=(-1, 1)) == landscape(found.surface(), x=(-1, 1))
    for key, tensor in found.model.state_dict().items():
        assert torch.equal(tensor, before[key]), key
