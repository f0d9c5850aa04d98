from __future__ import annotations

import torch

from benchbench.workloads import Setup
from benchbench.workloads.digits import build_mlp, build_resnet8, load_splits
from benchbench.workloads.streams import Streams


def setup(seed: int = 0, batch_size: int = 128) -> Setup:
    return Setup(torch.device("cpu"), batch_size, Streams(seed))


def test_the_splits_are_disjoint_stratified_and_complete() -> None:
    splits = load_splits()
    assert {name: len(split.labels) for name, split in splits.items()} == {
        "train": 1197,
        "validation": 300,
        "test": 300,
    }
    for split in splits.values():
        share = torch.bincount(split.labels, minlength=10) / len(split.labels)
        assert (share - 0.1).abs().max() < 0.01
    from sklearn.datasets import load_digits

    pixels = torch.cat([split.inputs for split in splits.values()]).flatten(1)
    original = torch.as_tensor(load_digits().data, dtype=torch.float32)
    ours, theirs = (sorted(map(tuple, rows.argsort(dim=1, stable=True).tolist())) for rows in (pixels, original))
    assert ours == theirs  # every image once: standardising keeps the order of an image's pixels


def test_an_epoch_shows_every_image_once_and_keeps_the_last_batch() -> None:
    task = build_mlp(setup(batch_size=100))
    batches = list(task.batches(1))
    assert task.steps_per_epoch == len(batches) == 12
    assert [len(labels) for _, labels in batches] == [100] * 11 + [97]
    counts = torch.bincount(torch.cat([labels for _, labels in batches]), minlength=10)
    assert torch.equal(counts, torch.bincount(load_splits()["train"].labels, minlength=10))


def test_batches_depend_on_seed_and_epoch_alone() -> None:
    def first(seed: int, epoch: int) -> torch.Tensor:
        return next(build_mlp(setup(seed)).batches(epoch))[0]

    assert torch.equal(first(0, 1), first(0, 1))
    assert not torch.equal(first(0, 1), first(0, 2))
    assert not torch.equal(first(0, 1), first(1, 1))


def test_the_network_has_the_stated_shape() -> None:
    model = build_resnet8(setup(), width=8).model
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    assert sum(isinstance(m, torch.nn.Conv2d) and m.kernel_size == (3, 3) for m in model.modules()) == 7
    assert sum(p.numel() for p in model.parameters()) == 19074


def test_fixed_batches_are_the_plain_images_in_the_same_order_for_every_seed() -> None:
    first, second = ([*build_resnet8(setup(seed, 100)).fixed_batches(None)] for seed in (0, 1))
    images, labels = (torch.cat(parts) for parts in zip(*first, strict=True))
    assert torch.equal(images, torch.cat([batch[0] for batch in second]))
    assert torch.equal(labels, torch.cat([batch[1] for batch in second]))
    train = load_splits()["train"]
    assert not torch.equal(images, train.inputs)  # mixed
    distances = torch.cdist(images.flatten(1), train.inputs.flatten(1), compute_mode="donot_use_mm_for_euclid_dist")
    nearest = distances.argmin(1)
    assert distances.amin(1).max() == 0
    assert torch.equal(nearest.sort().values, torch.arange(len(images)))
    assert torch.equal(labels, train.labels[nearest])
    part = torch.cat([batch[0] for batch in build_resnet8(setup(0, 30)).fixed_batches(50)])
    assert torch.equal(part, images[:50])
