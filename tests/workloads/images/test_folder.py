"""Image folders: the same batches for every number of workers, with and without a cache."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.datasets.folder import pil_loader
from torchvision.transforms import v2

from benchbench.workloads.images import folder
from benchbench.workloads.images.folder import image_folder, imagenet
from benchbench.workloads.images.streaming import StreamedSource
from benchbench.workloads.streams import Streams
from tests.workloads.images.published import write_folder

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data")
    write_folder(path / "things")
    return path


def things(**changes: object) -> folder.ImageFolder:
    return image_folder(**{"path": "things", "classes": 2, "image_size": 16, "resize": 20, **changes})  # type: ignore[arg-type]


def epoch(source: StreamedSource, number: int, seed: int = 0) -> list[Tensor]:
    streams = Streams(seed)
    order = torch.randperm(12, generator=streams.generator("order", number))
    return list(source.training(order, 5, streams.generator("augmentation", number)))


def test_the_number_of_workers_changes_no_image(data: Path) -> None:
    train, _ = things().load(data)
    alone, two = (StreamedSource(train, things().info, CPU, augment=True, workers=count) for count in (0, 2))
    before = torch.random.get_rng_state()
    expected = [epoch(alone, 1), epoch(alone, 2)]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert [len(batch) for batch in expected[0]] == [5, 5, 2]
    for number in (1, 2, 1):
        shown = epoch(two, number)
        assert all(torch.equal(a, b) for a, b in zip(shown, expected[number - 1], strict=True))
    assert not torch.equal(expected[0][0], expected[1][0])
    assert not torch.equal(epoch(alone, 1, seed=1)[0], expected[0][0])


def test_an_epoch_that_is_left_early_leaves_the_next_one_as_it_is(data: Path) -> None:
    source = StreamedSource(things().load(data)[0], things().info, CPU, augment=True, workers=1)
    whole = epoch(source, 2)
    next(source.training(torch.arange(12), 5, torch.Generator()))
    assert all(torch.equal(a, b) for a, b in zip(epoch(source, 2), whole, strict=True))


def test_a_sigterm_for_all_processes_leaves_the_workers_at_work(data: Path) -> None:
    source = StreamedSource(things().load(data)[0], things().info, CPU, augment=True, workers=1)
    batches = source.training(torch.arange(12), 1, torch.Generator())
    next(batches)
    [worker] = multiprocessing.active_children()
    os.kill(worker.pid or 0, signal.SIGTERM)
    assert len(list(batches)) == 11


def test_test_images_are_those_of_torchvision(data: Path) -> None:
    dataset = things()
    _, test = dataset.load(data)
    [shown] = StreamedSource(test, dataset.info, CPU, augment=True, workers=0).evaluation()
    transform = v2.Compose(
        [
            v2.Resize(20),
            v2.CenterCrop(16),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(list(dataset.info.mean), list(dataset.info.deviation)),
        ]
    )
    files = sorted((data / "things/val").glob("*/*"))
    assert test.labels.tolist() == [int(path.parent.name[-1]) for path in files]
    torch.testing.assert_close(shown, torch.stack([transform(pil_loader(str(path))) for path in files]))


def test_a_cache_is_written_whole_and_gives_the_same_test_images(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = things(cache=True)
    assert "things has no cache: no " in str(dataset.missing(data))
    with monkeypatch.context() as patch:
        patch.setattr(StreamedSource, "evaluation", lambda _: iter([torch.zeros(1, 3, 20, 20), torch.zeros(1, 2)]))
        with pytest.raises(ValueError, match="broadcast"):
            dataset.prepare(data)
    assert not [*(data / "things").glob("*.tmp"), *(data / "things").glob("*.npy")]
    dataset.prepare(data)
    assert dataset.missing(data) is None
    files = sorted((data / "things").glob("cache-*.npy"))
    assert [np.load(path, mmap_mode="r").shape for path in files] == [(12, 3, 20, 20)] * 2
    for cached, plain in zip(dataset.load(data), things().load(data), strict=True):
        [a], [b] = (StreamedSource(each, dataset.info, CPU, False, workers=0).evaluation() for each in (cached, plain))
        assert torch.equal(a, b)
        assert torch.equal(cached.labels, plain.labels)
    source = StreamedSource(dataset.load(data)[0], dataset.info, CPU, True, workers=0)
    assert epoch(source, 1)[0].shape == (5, 3, 16, 16)


def test_a_changed_image_needs_a_new_cache(tmp_path: Path) -> None:
    write_folder(tmp_path / "things", images=2)
    dataset = things(cache=True)
    dataset.prepare(tmp_path)
    assert dataset.missing(tmp_path) is None
    (tmp_path / "things/val/class0/0.JPEG").unlink()
    assert "has no cache" in str(dataset.missing(tmp_path))


def test_what_is_missing_is_said(data: Path, tmp_path: Path) -> None:
    text = str(imagenet().missing(tmp_path))
    assert text.startswith(f"ImageNet is not there: no {tmp_path}/imagenet/train")
    assert all(word in text for word in ("archives", "benchbench prepare SUITE", "--data-dir", "--synthetic"))
    (tmp_path / "imagenet/train").mkdir(parents=True)
    assert str(imagenet().missing(tmp_path)).startswith(f"ImageNet is incomplete: no {tmp_path}/imagenet/val")
    with pytest.raises(ValueError, match="ImageNet is incomplete"):
        imagenet().prepare(tmp_path)
    assert "has 2 classes instead of 3" in str(things(classes=3).missing(data))
    write_folder(tmp_path / "things", images=1)
    (tmp_path / "things/val/class1").rename(tmp_path / "things/val/class2")
    assert "'class1' is in one only" in str(things().missing(tmp_path))


def test_chosen_images_are_those_of_an_evaluation(data: Path) -> None:
    source = StreamedSource(things().load(data)[0], things().info, CPU, augment=True, workers=0)
    every = torch.cat(list(source.evaluation()))
    order = torch.tensor([2, 0, 1])
    batches = list(source.chosen(order, 2))
    assert [len(batch) for batch in batches] == [2, 1]
    assert torch.equal(torch.cat(batches), every[order])
