"""Augmentation by one gather is torchvision's, pixel for pixel."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional as tv

from benchbench.workloads.images import DatasetInfo
from benchbench.workloads.images.tensors import RandomCrop, TensorImages
from tests.accelerator import CPU, current_device, every_device

INFO = DatasetInfo("made", 10, 3, 32, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010), 0, 0, padding=4, flip=True)


pytestmark = every_device


def assert_shown(found: Tensor, expected: Tensor) -> None:
    """Assert that images are the same; a GPU multiplies by the reciprocal where the CPU divides, in normalising."""
    exact = current_device() == CPU
    torch.testing.assert_close(found.cpu(), expected, rtol=0 if exact else 1e-6, atol=0 if exact else 1e-6)


def images(count: int = 60, size: int = 32) -> TensorImages:
    pixels = torch.randint(
        0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    return TensorImages(pixels, torch.arange(count) % 10)


def generator(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def by_torchvision(pixels: Tensor, top: int, left: int, mirrored: bool) -> Tensor:
    image = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    image = tv.crop(tv.pad(image, [4]), top, left, 32, 32)
    image = tv.hflip(image) if mirrored else image
    return tv.normalize(tv.to_tensor(image), INFO.mean, INFO.deviation)


def test_a_batch_is_what_torchvision_makes_of_the_same_draws() -> None:
    data = images()
    order = torch.randperm(60, generator=generator(1))
    batches = list(data.source(INFO, current_device(), augment=True).training(order, 32, generator()))
    assert [len(batch) for batch in batches] == [32, 28]
    assert all(batch.is_contiguous() for batch in batches)
    draws = RandomCrop(4, flip=True).draws(60, generator())
    assert draws.mirrored.any() and not draws.mirrored.all()
    assert {*draws.top.tolist()} == {*draws.left.tolist()} == set(range(9))
    expected = [
        by_torchvision(data.pixels[index], *where)
        for index, *where in zip(
            order.tolist(), draws.top.tolist(), draws.left.tolist(), draws.mirrored.tolist(), strict=True
        )
    ]
    assert_shown(torch.cat(batches), torch.stack(expected))


def test_held_out_images_are_normalised_and_nothing_else() -> None:
    data = images()
    for augment in (False, True):
        [shown] = data.source(INFO, current_device(), augment=augment).evaluation()
        assert shown.is_contiguous()
        plain = [by_torchvision(each, 4, 4, False) for each in data.pixels]
        assert_shown(shown, torch.stack(plain))


@given(st.integers(1, 40), st.integers(0, 3), st.booleans(), st.integers(1, 41))
@settings(max_examples=20)
def test_a_batch_has_the_bits_that_its_own_draws_decide_whatever_its_size(
    count: int, padding: int, flip: bool, size: int
) -> None:
    """The reference takes each batch's draws to the images by themselves, and mirrors by the mask."""
    data = images(count, size=5)
    info = DatasetInfo("made", 10, 3, 5, INFO.mean, INFO.deviation, 0, 0, padding=padding, flip=flip)
    order = torch.randperm(count, generator=generator(1))
    source = data.source(info, current_device(), augment=True)
    drawing = generator()
    if padding or flip:
        top, left = torch.randint(0, 2 * padding + 1, (2, count), generator=drawing)
        mirrored = torch.rand(count, generator=drawing) < 0.5 if flip else torch.zeros(count, dtype=torch.bool)
    else:
        top = left = torch.zeros(count, dtype=torch.long)
        mirrored = torch.zeros(count, dtype=torch.bool)
    padded = torch.nn.functional.pad(data.pixels, (padding,) * 4)
    cut = [padded[i, :, t : t + 5, x : x + 5] for i, t, x in zip(order, top.tolist(), left.tolist(), strict=True)]
    expected = torch.stack([each.flip(-1) if m else each for each, m in zip(cut, mirrored.tolist(), strict=True)])
    mean, deviation = (torch.tensor(values)[:, None, None] for values in (INFO.mean, INFO.deviation))
    batches = list(source.training(order, size, generator()))
    assert [len(batch) for batch in batches] == [len(part) for part in torch.split(order, size)]
    assert_shown(torch.cat(batches), expected.to(torch.float32).div_(255).sub_(mean).div_(deviation))


@pytest.mark.parametrize("channels", [1, 2])
def test_an_image_of_any_type_moves_by_its_own_offset_with_zeros_moving_in(channels: int) -> None:
    data = torch.arange(1, 1 + 200 * channels * 9.0).reshape(200, channels, 3, 3)
    crop = RandomCrop(1)
    draws = crop.draws(200, generator())
    [crops] = draws.batches(200, current_device())
    moved = crop.cut(crop.pad(data.to(current_device())), torch.arange(200, device=current_device()), crops).cpu()
    padded = torch.nn.functional.pad(data, (1, 1, 1, 1))
    for image, result, top, left in zip(padded, moved, draws.top.tolist(), draws.left.tolist(), strict=True):
        assert torch.equal(image[:, top : top + 3, left : left + 3], result)
