"""Each network against its description: placement of strides and shortcuts, initial weights, formulas in NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from benchbench.workloads import models
from benchbench.workloads.models.vit import sincos_positions


@pytest.fixture
def seeded() -> None:
    torch.manual_seed(0)


def sizes_of_convolutions(model: nn.Module, images: Tensor) -> list[tuple[int, ...]]:
    """Return kernel size, channels in, channels out, height in and height out of all convolutions, in order."""
    seen: list[tuple[int, ...]] = []

    def note(module: nn.Conv2d, inputs: tuple[Tensor], output: Tensor) -> None:
        (x,) = inputs
        seen.append((module.kernel_size[0], x.shape[1], output.shape[1], x.shape[2], output.shape[2]))

    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(note)
    model(images)
    return seen


# CIFAR ResNet


def test_cifar_resnet_halves_in_the_first_convolution_of_a_stage() -> None:
    model = models.CifarResNet(classes=10, channels=3, image_size=32, depth=14, width=4)
    sizes = sizes_of_convolutions(model, torch.randn(2, 3, 32, 32))
    same = [(3, 4, 4, 32, 32)] * 4
    middle = [(3, 4, 8, 32, 16), (3, 8, 8, 16, 16), (1, 4, 8, 16, 16), (3, 8, 8, 16, 16), (3, 8, 8, 16, 16)]
    last = [(3, 8, 16, 16, 8), (3, 16, 16, 8, 8), (1, 8, 16, 8, 8), (3, 16, 16, 8, 8), (3, 16, 16, 8, 8)]
    assert sizes == [(3, 3, 4, 32, 32), *same, *middle, *last]


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("size", [8, 9])
def test_cifar_resnet_shortcut_is_a_strided_convolution(size: int) -> None:
    model = models.CifarResNet(classes=10, channels=3, image_size=size, depth=8, width=4).double()
    block = model.stages[1][0]
    x = torch.randn(5, 4, size, size, dtype=torch.float64)
    project, norm = block.shortcut
    shortcut = norm(F.conv2d(x, project.weight, stride=2))
    expected = F.relu(block.norm2(block.conv2(F.relu(block.norm1(block.conv1(x))))) + shortcut)
    torch.testing.assert_close(block(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("seeded")
def test_cifar_resnet_starts_from_he_fan_out() -> None:
    model = models.resnet20(classes=10, channels=3, image_size=32)
    ratios = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            assert module.bias is None
            variance = 2 / (module.kernel_size[0] ** 2 * module.out_channels)
            ratios.append(module.weight.detach() / math.sqrt(variance))
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()
            assert module.momentum == 0.1
    for ratio in ratios:  # each layer: five standard errors of a standard normal distribution's mean and variance
        assert abs(ratio.mean()) < 5 / math.sqrt(ratio.numel())
        assert abs(ratio.var() - 1) < 5 * math.sqrt(2 / ratio.numel())
    everything = torch.cat([ratio.flatten() for ratio in ratios])
    assert abs((everything**4).mean() - 3) < 5 * math.sqrt(96 / everything.numel())  # normal, not uniform
    assert model.head.weight.abs().max() <= 1 / 8  # torch's uniform distribution: 1 / sqrt(fan in)


@pytest.mark.usefixtures("seeded")
def test_narrow_cifar_resnet_in_channels_last() -> None:
    """Torch's strided 1x1 convolution is wrong here on the CPU for two and three channels."""
    model = models.CifarResNet(classes=5, channels=1, image_size=8, depth=8, width=2)
    images, labels = torch.randn(33, 1, 8, 8), torch.randint(0, 5, (33,))

    def gradients(network: nn.Module, inputs: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad(F.cross_entropy(network(inputs), labels), list(network.parameters())))

    found = gradients(
        model.to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        images.contiguous(memory_format=torch.channels_last),
    )
    for gradient, expected in zip(found, gradients(model.double(), images.double()), strict=True):
        torch.testing.assert_close(gradient.double(), expected, rtol=1e-4, atol=1e-5)


# Wide ResNet


def test_wide_resnet_halves_in_the_second_convolution_of_a_stage() -> None:
    model = models.WideResNet(classes=10, channels=3, image_size=32, depth=16, widen=1)
    sizes = sizes_of_convolutions(model, torch.randn(2, 3, 32, 32))
    same = [(3, 16, 16, 32, 32)] * 4  # widened by one, the first stage needs no projection
    middle = [(3, 16, 32, 32, 32), (3, 32, 32, 32, 16), (1, 16, 32, 16, 16), (3, 32, 32, 16, 16), (3, 32, 32, 16, 16)]
    last = [(3, 32, 64, 16, 16), (3, 64, 64, 16, 8), (1, 32, 64, 8, 8), (3, 64, 64, 8, 8), (3, 64, 64, 8, 8)]
    assert sizes == [(3, 3, 16, 32, 32), *same, *middle, *last]


@pytest.mark.usefixtures("seeded")
def test_wide_resnet_projects_the_raw_input() -> None:
    model = models.WideResNet(classes=10, channels=3, image_size=9, depth=10, widen=2).double()
    for stage, channels, stride in ((0, 16, 1), (1, 32, 2)):
        block = model.stages[stage][0]
        x = torch.randn(3, channels, 9, 9, dtype=torch.float64)
        (project,) = block.shortcut
        branch = block.conv2(F.relu(block.norm2(block.conv1(F.relu(block.norm1(x))))))
        expected = branch + F.conv2d(x, project.weight, project.bias, stride=stride)
        torch.testing.assert_close(block(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("seeded")
def test_wide_resnet_starts_as_torch_does() -> None:
    model = models.WideResNet(classes=10, channels=3, image_size=8, depth=10, widen=2)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            bound = 1 / math.sqrt(module.in_channels * module.kernel_size[0] ** 2)
            assert module.bias is not None
            assert 0.9 * bound < module.weight.abs().max() <= bound
            assert module.bias.abs().max() <= bound
            assert abs(module.weight.var() / (bound**2 / 3) - 1) < 5 * math.sqrt(0.8 / module.weight.numel())
    momenta = [module.momentum for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert momenta == [0.1] * 6 + [0.9]


# ViT


@pytest.mark.parametrize(("rows", "columns", "width"), [(7, 7, 384), (2, 3, 8), (1, 1, 12)])
def test_positions_are_those_of_the_formula(rows: int, columns: int, width: int) -> None:
    expected = np.empty((rows * columns, width))
    quarter = width // 4
    for row in range(rows):
        for column in range(columns):
            for i in range(quarter):
                frequency = 10_000 ** (-i / (quarter - 1))
                waves = [np.sin(column * frequency), np.cos(column * frequency)]
                waves += [np.sin(row * frequency), np.cos(row * frequency)]
                expected[row * columns + column, i::quarter] = waves
    np.testing.assert_allclose(sincos_positions(rows, columns, width).numpy(), expected, atol=1e-6)


def tiny_vit() -> models.SimpleViT:
    return models.SimpleViT(classes=3, channels=2, image_size=6, patch=2, width=8, depth=2, heads=2)


def test_positions_are_fixed() -> None:
    model = tiny_vit()
    assert "positions" not in model.state_dict()
    assert "positions" in dict(model.named_buffers())
    assert model.positions.shape == (9, 8)
    assert not model.positions.requires_grad


@pytest.mark.usefixtures("seeded")
def test_vit_is_the_formula() -> None:
    """The whole network again in NumPy, with the patches cut by hand."""
    model = tiny_vit().double()
    with torch.no_grad():
        for parameter in model.parameters():  # layer norms start at one and zero, which would hide mistakes
            parameter.add_(0.1 * torch.randn_like(parameter))
    images = torch.randn(2, 2, 6, 6, dtype=torch.float64)
    for logits, image in zip(model(images).detach().numpy(), images.numpy(), strict=True):
        np.testing.assert_allclose(logits, vit_in_numpy(model, image), rtol=1e-10, atol=1e-12)


def vit_in_numpy(model: models.SimpleViT, image: np.ndarray) -> np.ndarray:
    w = {name: p.detach().numpy() for name, p in model.named_parameters()}

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        scaled = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    cut = [
        [image[c, 2 * row + i, 2 * column + j] for i in range(2) for j in range(2) for c in range(2)]
        for row in range(3)
        for column in range(3)
    ]
    x = norm(linear(norm(np.array(cut), "embed.0"), "embed.1"), "embed.2") + model.positions.numpy()
    for block in ("blocks.0", "blocks.1"):
        qkv = norm(x, f"{block}.attention.norm") @ w[f"{block}.attention.qkv.weight"].T
        heads = []
        for head in range(2):
            q, k, v = (qkv[:, 8 * part + 4 * head : 8 * part + 4 * head + 4] for part in range(3))
            weights = np.exp(q @ k.T / 2)
            heads.append(weights / weights.sum(-1, keepdims=True) @ v)
        x = x + np.concatenate(heads, -1) @ w[f"{block}.attention.project.weight"].T
        hidden = linear(norm(x, f"{block}.mlp.0"), f"{block}.mlp.1")
        gelu = hidden * np.vectorize(lambda t: (1 + math.erf(t / math.sqrt(2))) / 2)(hidden)
        x = x + linear(gelu, f"{block}.mlp.3")
    return linear(norm(x, "norm").mean(0), "head")


def test_vit_has_no_bias_around_attention() -> None:
    names = {name for name, _ in tiny_vit().named_parameters()}
    assert not {name for name in names if ".attention." in name and name.endswith("bias") and "norm" not in name}


# Torchvision


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_torchvision_networks_are_torchvisions(name: str) -> None:
    torch.manual_seed(3)
    ours = models.torchvision_model(classes=5, channels=3, image_size=32, name=name)
    after_ours = torch.rand(())
    torch.manual_seed(3)
    theirs = torchvision.models.get_model(name, num_classes=5)
    assert after_ours == torch.rand(())  # the check of the size draws nothing
    for (key, value), expected in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        assert torch.equal(value, expected), key


@pytest.mark.parametrize(
    ("name", "channels", "image_size", "message"),
    [
        ("resnet8", 3, 32, r"no classification network 'resnet8'; did you mean 'resnet18'\?$"),
        ("fcn_resnet50", 3, 32, "no classification network"),
        ("resnet18", 1, 28, r"resnet18 does not take images of shape \(1, 28, 28\)"),
        ("vit_b_16", 3, 32, r"vit_b_16 does not take images of shape \(3, 32, 32\): .*224"),
        ("alexnet", 3, 32, r"alexnet does not take images of shape \(3, 32, 32\)"),
        ("googlenet", 3, 64, "does not return plain logits in training"),
    ],
)
@pytest.mark.filterwarnings("ignore:The default weight initialization")
def test_torchvision_networks_that_do_not_fit(name: str, channels: int, image_size: int, message: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=message) as caught:
        models.torchvision_model(classes=5, channels=channels, image_size=image_size, name=name)
    assert "\n" not in str(caught.value)


def test_resnet50_starts_without_zero_scales() -> None:
    model = models.resnet50(classes=10, channels=3, image_size=32)
    assert all((m.weight == 1).all() for m in model.modules() if isinstance(m, nn.BatchNorm2d))


# Small networks


@pytest.mark.parametrize("make", [models.mlp, models.convnet])
def test_small_networks_alternate(make: Callable[..., nn.Sequential]) -> None:
    kinds = [type(module).__name__ for module in make(classes=10, channels=1, image_size=28)]
    if make is models.mlp:
        assert kinds == ["Flatten", "Linear", "ReLU", "Linear", "ReLU", "Linear"]
    else:
        assert kinds == ["Conv2d", "BatchNorm2d", "ReLU"] * 3 + ["AdaptiveAvgPool2d", "Flatten", "Linear"]


def test_convnet_halves_twice() -> None:
    model = models.convnet(classes=10, channels=1, image_size=28, width=2)
    sizes = sizes_of_convolutions(model, torch.randn(2, 1, 28, 28))
    assert sizes == [(3, 1, 2, 28, 28), (3, 2, 4, 28, 14), (3, 4, 8, 14, 7)]
    assert all(before[2] == after[1] for before, after in pairwise(sizes))
