"""Hessian-vector products of tiny versions against the dense Hessian, by the fast second derivatives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from benchbench.workloads import models
from tests.accelerator import current_device, every_device, needs, tolerance
from tests.helpers.model_cases import Case, dense_hessian, flat, to_array
from tests.optim.second_order.test_models import second_order_nodes
from tests.optim.second_order.test_routing import hvp

pytestmark = every_device

SHAPE = {"classes": 3, "channels": 1, "image_size": 8}


def narrow_wide_resnet() -> nn.Module:
    """Return a wide residual network whose dense Hessian is small enough: 1, 2 and 4 channels, not 16, 32 and 64."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchbench.workloads.models.wide_resnet._STEM_CHANNELS", 1)
        return models.WideResNet(**SHAPE, depth=10, widen=1)


TINY: dict[str, tuple[Callable[[], nn.Module], set[str]]] = {
    "cifar_resnet": (
        lambda: models.CifarResNet(**SHAPE, depth=8, width=1),
        {"_ConvolutionBackward", "_BatchNormBackward", "_LinearBackward"},
    ),
    "wide_resnet": (
        narrow_wide_resnet,
        {"_ConvolutionBackward", "_BatchNormBackward", "_LinearBackward"},
    ),
    "vit": (
        lambda: models.SimpleViT(**SHAPE, patch=4, width=8, depth=1, heads=2),
        {"_AttentionBackward", "_LayerNormBackward", "_LinearBackward", "_GELUBackward"},
    ),
    "mlp": (lambda: models.mlp(**SHAPE, width=5), {"_LinearBackward"}),
    "convnet": (
        lambda: models.convnet(**SHAPE, width=2),
        {"_ConvolutionBackward", "_BatchNormBackward", "_LinearBackward"},
    ),
}
every_network = pytest.mark.parametrize("name", TINY)


def case(name: str) -> Case:
    needs(torch.float64)
    generator = torch.Generator().manual_seed(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = TINY[name][0]().double()
    images = torch.randn(6, 1, 8, 8, generator=generator, dtype=torch.float64)
    return Case(model, [(images, torch.randint(0, 3, (6,), generator=generator))]).to(current_device())


@every_network
def test_products_are_those_of_the_dense_hessian(name: str) -> None:
    tiny = case(name)
    used = tiny.used()
    assert len(used) == len(tiny.parameters())
    vector = flat([torch.linspace(-1, 1, p.numel(), dtype=p.dtype).numpy() for p in used])
    expected = dense_hessian(tiny) @ vector
    found = flat([to_array(p) for p in hvp(tiny.loss(), used)])
    assert np.abs(found - expected).max() <= tolerance(1e-11) * np.abs(expected).max()


@every_network
def test_fast_second_derivatives_are_used(name: str) -> None:
    names = second_order_nodes(case(name))
    assert {f"{function}Backward" for function in TINY[name][1]} <= names
    slow = ("Convolution", "NativeBatchNorm", "NativeLayerNorm", "Softmax", "Addmm", "GeluBackwardB")
    assert not [node for node in names if node.startswith(slow)]
