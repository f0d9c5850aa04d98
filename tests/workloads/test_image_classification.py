"""Image classification: splits, label noise, protocols."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from pydantic import JsonValue
from torch import Tensor, nn

from benchbench.plugins.factories import Factory
from benchbench.values import Component, Protocol
from benchbench.workloads import Setup
from benchbench.workloads.classification import Classification
from benchbench.workloads.images import DatasetInfo
from benchbench.workloads.images.task import build, stratified_order
from benchbench.workloads.images.tensors import TensorImages
from benchbench.workloads.streams import Streams

TRAIN, TEST = 500, 40
INFO = DatasetInfo("numbered", 5, 1, 8, (0.0,), (1 / 255,), TRAIN, TEST)
"""With these, a pixel stays what it is, from 0 to 255."""


def number(images: Tensor) -> list[int]:
    """Return the numbers of images, which stand in their first two pixels."""
    return cast("list[int]", (256 * images[:, 0, 0, 0] + images[:, 0, 0, 1]).round().long().tolist())


class Numbered:
    """A data set in memory whose images tell their number; that of a test image is at least `TRAIN`."""

    info = INFO

    def missing(self, data: Path) -> None:
        return None

    def prepare(self, data: Path) -> None:
        return None

    def load(self, data: Path) -> tuple[TensorImages, TensorImages]:
        numbers = torch.arange(TRAIN + TEST)
        pixels = torch.zeros(TRAIN + TEST, 1, 8, 8, dtype=torch.uint8)
        pixels[:, 0, 0, 0], pixels[:, 0, 0, 1] = numbers // 256, numbers % 256
        labels = true_labels(numbers)
        return TensorImages(pixels[:TRAIN], labels[:TRAIN]), TensorImages(pixels[TRAIN:], labels[TRAIN:])


def true_labels(numbers: Tensor) -> Tensor:
    """Return unbalanced labels: a fifth of the images, every tenth, and so on."""
    return torch.where(numbers % 10 < 6, numbers % 2, 2 + numbers % 3)


def linear(*, classes: int, channels: int, image_size: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * image_size**2, classes))


def narrow(*, classes: int, channels: int, image_size: int) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * channels, classes))


def made(
    seed: int = 0, protocol: Protocol = "holdout", model: Callable[..., nn.Module] = linear, **options: Any
) -> Classification:
    setup = Setup(torch.device("cpu"), 64, Streams(seed), protocol)
    return build(setup, dataset=Numbered, model=model, **options)


def seen(task: Classification, epoch: int = 1) -> dict[int, int]:
    """Return the label with which each training image is shown in an epoch, by its number."""
    pairs = [
        pair for images, labels in task.batches(epoch) for pair in zip(number(images), labels.tolist(), strict=True)
    ]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def held_out(task: Classification, split: str, classes: int = 5) -> tuple[list[int], dict[str, float]]:
    """Return the numbers of a split's images, and its metrics under a model that knows every true label."""
    shown: list[int] = []

    class Knowing(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            shown.extend(number(images))
            labels = true_labels(torch.tensor(number(images)))
            return 100.0 * nn.functional.one_hot(labels, classes).float()

    task.model = Knowing()
    return shown, dict(task.evaluate(split))


def changed(labels: dict[int, int]) -> set[int]:
    """Return the numbers of the images whose label is wrong."""
    numbers = torch.tensor(list(labels))
    wrong = torch.tensor(list(labels.values())) != true_labels(numbers)
    return set(numbers[wrong].tolist())


# Splits


def test_holdout_is_disjoint_stratified_and_the_same_for_every_seed() -> None:
    splits = []
    for seed in (0, 1):
        train = seen(made(seed))
        validation, _ = held_out(made(seed), "validation")
        assert len(validation) == TRAIN // 10
        assert sorted([*train, *validation]) == list(range(TRAIN))
        counts = true_labels(torch.tensor(validation)).bincount()
        expected = true_labels(torch.arange(TRAIN)).bincount() / 10
        assert (counts - expected).abs().max() <= 1
        splits.append(validation)
    assert splits[0] == splits[1]


def test_the_protocol_of_the_paper_trains_on_everything_and_has_no_validation() -> None:
    task = made(protocol="paper")
    assert sorted(seen(task)) == list(range(TRAIN))
    assert held_out(task, "test")[0] == list(range(TRAIN, TRAIN + TEST))
    with pytest.raises(KeyError):
        task.evaluate("validation")


def test_fewer_examples_are_a_stratified_part_of_the_training_images() -> None:
    whole, part = made(), made(examples=50)
    assert set(seen(part)) < set(seen(whole))
    assert part.steps_per_epoch == 1
    counts = true_labels(torch.tensor(list(seen(part)))).bincount()
    assert (counts - true_labels(torch.arange(TRAIN)).bincount() / 10).abs().max() <= 1
    for split in ("validation", "test"):
        assert held_out(part, split) == held_out(whole, split)


def test_every_part_of_a_stratified_order_has_all_classes_in_proportion() -> None:
    labels = true_labels(torch.arange(TRAIN))
    order = stratified_order(labels, torch.Generator().manual_seed(3))
    assert order.sort().values.tolist() == list(range(TRAIN))
    for start, stop in ((0, 50), (100, 200), (333, 433)):
        share = labels[order[start:stop]].bincount() / (stop - start)
        assert (share - labels.bincount() / TRAIN).abs().max() < 2 / (stop - start)


# Label noise


@pytest.mark.parametrize("level", [0.2, 0.4, 0.6, 1.0])
def test_noise_over_all_classes_leaves_some_labels_right_and_says_how_many(level: float) -> None:
    task = made(protocol="paper", label_noise=level, noise_over="all")
    wrong = len(changed(seen(task)))
    # Each of the chosen gets the right label with probability 1 / 5; four standard deviations of that are allowed.
    chosen = int(TRAIN * level)
    assert abs(wrong - 0.8 * chosen) < 4 * (0.2 * 0.8 * chosen) ** 0.5
    assert task.evaluate("test")["wrong_training_labels"] == wrong / TRAIN


@pytest.mark.parametrize("level", [0.0, 0.2, 0.4, 0.6, 1.0])
def test_noise_over_the_other_classes_makes_every_chosen_label_wrong(level: float) -> None:
    labels = seen(made(protocol="paper", label_noise=level, noise_over="others"))
    assert len(changed(labels)) == int(TRAIN * level)
    assert set(labels.values()) == set(range(5))


def test_wrong_labels_come_from_all_other_classes() -> None:
    labels = seen(made(protocol="paper", label_noise=1.0, noise_over="others"))
    pairs = {(int(true_labels(torch.tensor(each))), label) for each, label in labels.items()}
    assert pairs == {(right, wrong) for right in range(5) for wrong in range(5) if right != wrong}


@pytest.mark.parametrize("over", ["all", "others"])
def test_noise_is_nested_across_levels(over: str) -> None:
    levels = [seen(made(label_noise=level, noise_over=over)) for level in (0.2, 0.4, 0.6)]
    for less, more in itertools.pairwise(levels):
        assert changed(less) < changed(more)
        assert all(less[each] == more[each] for each in changed(less))


def test_noise_depends_on_the_seed_alone() -> None:
    first = seen(made(label_noise=0.4))
    assert seen(made(label_noise=0.4, model=narrow)) == first  # whatever is trained
    assert seen(made(label_noise=0.4), epoch=2) == first
    assert seen(made(seed=1, label_noise=0.4)) != first


def test_held_out_labels_are_never_noisy() -> None:
    task = made(label_noise=1.0, noise_over="others")
    for split in ("validation", "test"):
        assert held_out(task, split)[1]["accuracy"] == 1.0


def test_without_noise_nothing_is_said_of_it() -> None:
    assert "wrong_training_labels" not in made().evaluate("test")


# Models and data sets by name


def synthetic(dataset: str, examples: int) -> Classification:
    setup = Setup(torch.device("cpu"), 16, Streams(0), synthetic=True)
    parameters: dict[str, JsonValue] = {"dataset": dataset, "model": {"name": "convnet"}, "examples": examples}
    component = Component(target="image-classification", parameters=parameters)
    return cast("Classification", Factory("workload", component).build_task(setup))


@pytest.mark.parametrize(
    ("dataset", "shape", "classes"),
    [("cifar10", (3, 32, 32), 10), ("cifar100", (3, 32, 32), 100), ("kmnist", (1, 28, 28), 10)],
)
def test_made_up_images_have_the_shapes_of_the_data_set(dataset: str, shape: tuple[int, ...], classes: int) -> None:
    task = synthetic(dataset, examples=200)
    batches = list(task.batches(1))
    assert sum(len(labels) for _, labels in batches) == 200
    assert batches[0][0].shape == (16, *shape)
    assert set(torch.cat([labels for _, labels in batches]).tolist()) == set(range(classes))
    assert task.model(batches[0][0]).shape == (16, classes)
    assert ("top5_accuracy" in task.evaluate("test")) == (classes > 10)
    assert "accuracy" in task.evaluate("validation")
