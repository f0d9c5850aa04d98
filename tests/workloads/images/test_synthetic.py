"""Made-up data: computed from the index, learnable, and of any size without the memory for it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchbench.workloads.images import DatasetInfo
from benchbench.workloads.images.folder import imagenet
from benchbench.workloads.images.small import cifar10, cifar100, mnist
from benchbench.workloads.images.synthetic import MadeUpImages, made_up

CPU = torch.device("cpu")


def shown(images: MadeUpImages, info: DatasetInfo, count: int) -> tuple[Tensor, Tensor]:
    """Return the first images as a network sees them, and their labels."""
    few = images.take(torch.arange(count)).computed(info, CPU)
    return torch.cat(list(few.source(info, CPU, augment=False).evaluation())), few.labels


@pytest.mark.parametrize("info", [cifar10().info, cifar100().info, mnist().info])
def test_a_linear_probe_tells_the_classes_apart_far_above_chance(info: DatasetInfo) -> None:
    train, test = made_up(info)
    assert (len(train.labels), len(test.labels)) == (info.train, info.test)
    fit, judged = shown(train, info, 20 * info.classes), shown(test, info, 5 * info.classes)
    ones = torch.eye(info.classes)
    features = fit[0].flatten(1)
    ridge = features @ features.T + 10 * len(features) * torch.eye(len(features))
    weights = features.T @ torch.linalg.solve(ridge, ones[fit[1]])
    accuracy = (judged[0].flatten(1) @ weights).argmax(1).eq(judged[1]).double().mean().item()
    assert accuracy > 5 / info.classes
    assert fit[0].std() == pytest.approx(1, abs=0.6)


def test_an_image_depends_on_its_index_alone() -> None:
    info = cifar10().info
    train, test = made_up(info)
    some = train.take(torch.tensor([7, 4999, 11]))
    assert torch.equal(
        some.computed(info, CPU).pixels[1], train.take(torch.tensor([4999])).computed(info, CPU).pixels[0]
    )
    first = torch.arange(300)
    assert len({tuple(each.flatten().tolist()) for each in train.take(first).computed(info, CPU).pixels}) == 300
    assert not torch.equal(test.take(first).computed(info, CPU).pixels, train.take(first).computed(info, CPU).pixels)


def test_images_of_imagenet_are_computed_batch_by_batch() -> None:
    info = imagenet().info
    train, _ = made_up(info)
    assert len(train.labels) == 1_281_167
    source = train.source(info, CPU, augment=True)
    order = torch.tensor([5, 1_281_166, 17])
    first = next(source.training(order, 2, torch.Generator()))
    assert first.shape == (2, 3, 224, 224)
    again = list(source.training(order[1:], 2, torch.Generator()))
    assert torch.equal(again[0][0], first[1])
