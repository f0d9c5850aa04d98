"""What all factories promise: registered, keyword-only, the right shapes and sizes, honest errors."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import nn

from benchbench.workloads import models
from tests.conftest import REPOSITORY

Factory = Callable[..., nn.Module]

ENTRY_POINTS: dict[str, str] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["entry-points"][
    "benchbench.models"
]
NAMES = ["resnet20", "resnet32", "resnet56", "wrn-28-10", "resnet50", "vit-s-32", "vit-s-16", "mlp", "convnet"]


def factory(name: str) -> Factory:
    module, _, attribute = ENTRY_POINTS[name].partition(":")
    found: Factory = getattr(import_module(module), attribute)
    return found


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def on_meta(make: Factory, **keywords: Any) -> nn.Module:
    """Build a network without memory for its weights."""
    with torch.device("meta"):
        return make(**keywords)


def test_the_registered_names() -> None:
    assert list(ENTRY_POINTS) == NAMES


@pytest.mark.parametrize("make", [*map(factory, NAMES), *(getattr(models, name) for name in models.__all__)])
def test_the_signature(make: Factory) -> None:
    parameters = inspect.signature(make).parameters
    assert list(parameters)[:3] == ["classes", "channels", "image_size"]
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters.values())
    assert {name for name, p in parameters.items() if p.default is p.empty} == {"classes", "channels", "image_size"}
    documented = inspect.getdoc(make) or ""
    assert all(f"{name}: " in documented for name in parameters)


@pytest.mark.parametrize(
    ("name", "channels", "image_size"),
    [(name, 3, 64) for name in NAMES]
    + [(name, 1, 28) for name in ("resnet20", "wrn-28-10", "mlp", "convnet")]
    + [(name, 3, 32) for name in ("resnet50", "vit-s-32", "vit-s-16")]
    + [(name, 1, 8) for name in ("resnet20", "wrn-28-10", "mlp", "convnet")],
)
def test_images_become_logits(name: str, channels: int, image_size: int) -> None:
    model = on_meta(factory(name), classes=7, channels=channels, image_size=image_size)
    assert model(torch.empty(4, channels, image_size, image_size, device="meta")).shape == (4, 7)


# Counts of parameters. Those with all digits are the paper's networks; the others are summed up layer by layer.


@pytest.mark.parametrize(
    ("name", "classes", "expected"),
    [
        ("resnet20", 10, 272_474),
        ("resnet32", 10, 466_906),
        ("resnet32", 100, 472_756),
        ("wrn-28-10", 100, 36_546_980),
        ("resnet50", 1000, 25_557_032),
    ],
)
def test_parameter_counts_of_the_papers_networks(name: str, classes: int, expected: int) -> None:
    image_size = 224 if name == "resnet50" else 32
    assert count(on_meta(factory(name), classes=classes, channels=3, image_size=image_size)) == expected


@pytest.mark.parametrize(("depth", "width", "classes"), [(44, 16, 10), (56, 16, 10), (110, 16, 100), (8, 3, 5)])
def test_parameter_count_of_any_cifar_resnet(depth: int, width: int, classes: int) -> None:
    blocks, stem, head = (depth - 2) // 6, 27 * width + 2 * width, (4 * width + 1) * classes
    plain = [blocks * (18 * w * w + 4 * w) for w in (width, 2 * width, 4 * width)]
    halved = [
        w * 2 * w + 4 * w - 9 * w * (2 * w) for w in (width, 2 * width)
    ]  # projection; conv1 has w inputs, not 2 w
    model = on_meta(models.CifarResNet, classes=classes, channels=3, image_size=32, depth=depth, width=width)
    assert count(model) == stem + sum(plain) + sum(halved) + head


@pytest.mark.parametrize(("name", "patch"), [("vit-s-32", 32), ("vit-s-16", 16)])
def test_parameter_count_of_vit(name: str, patch: int) -> None:
    pixels, width, hidden = 3 * patch * patch, 384, 1536
    embedding = 2 * pixels + (pixels + 1) * width + 2 * width
    attention = 2 * width + width * 3 * width + width * width
    perceptron = 2 * width + (width + 1) * hidden + (hidden + 1) * width
    expected = embedding + 12 * (attention + perceptron) + 2 * width + (width + 1) * 1000
    if patch == 32:
        assert expected == 22_847_848
    assert count(on_meta(factory(name), classes=1000, channels=3, image_size=224)) == expected


def test_parameter_count_of_the_small_networks() -> None:
    assert count(factory("mlp")(classes=10, channels=1, image_size=28, width=5, depth=3)) == 785 * 5 + 2 * 30 + 60
    assert count(factory("mlp")(classes=10, channels=1, image_size=28, depth=0)) == 7850
    convolutions = 9 * (3 * 4 + 4 * 8 + 8 * 16) + 2 * (4 + 8 + 16)
    assert count(factory("convnet")(classes=10, channels=3, image_size=32, width=4)) == convolutions + 170


# What cannot work


@pytest.mark.parametrize("name", ["resnet20", "resnet32", "resnet56", "wrn-28-10", "convnet"])
def test_images_too_small_for_three_stages(name: str) -> None:
    with pytest.raises(ValueError, match=r"at least 8x8 pixels \(got image_size 7\)$"):
        factory(name)(classes=10, channels=3, image_size=7)


@pytest.mark.parametrize(("name", "image_size"), [("vit-s-32", 48), ("vit-s-32", 0), ("vit-s-16", 28), ("vit-s-16", 8)])
def test_images_that_are_no_whole_number_of_patches(name: str, image_size: int) -> None:
    with pytest.raises(ValueError, match=rf"multiple of the patch size \d+ \(got image_size {image_size}\)$"):
        factory(name)(classes=10, channels=3, image_size=image_size)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"width": 30, "heads": 3}, "multiple of 4"),
        ({"width": 32, "heads": 3}, "of 3 heads"),
        ({"width": 4, "heads": 1}, "at least 8"),
    ],
)
def test_widths_that_cannot_be_split(keywords: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        models.SimpleViT(classes=10, channels=3, image_size=32, **keywords)


@pytest.mark.parametrize(
    ("make", "depth", "message"),
    [
        (models.CifarResNet, 21, r"6 n \+ 2, such as 20 \(got 21\)"),
        (models.CifarResNet, 2, r"6 n \+ 2, such as 8 \(got 2\)"),
        (models.WideResNet, 26, r"6 n \+ 4, such as (22|28) \(got 26\)"),
        (models.WideResNet, -8, r"6 n \+ 4, such as 10 \(got -8\)"),
    ],
)
def test_depths_of_another_form(make: Factory, depth: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(classes=10, channels=3, image_size=32, depth=depth)
