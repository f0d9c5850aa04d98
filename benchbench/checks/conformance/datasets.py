"""Checks of image data sets: the promises that the harness relies on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor

from benchbench.checks.conformance.trying import (
    BrokenPromiseError,
    NotApplicableError,
    Verdict,
    random_states,
    seed_all,
    verdict,
)
from benchbench.optim.equality import same
from benchbench.plugins.factories import Factory
from benchbench.values import Component
from benchbench.workloads.images import Dataset, DatasetInfo, Images

CPU = torch.device("cpu")

IS_MADE = "is made, and says what it is"

_A_FEW = 6
"""Images that are looked at."""


@dataclass(frozen=True)
class Trial:
    """A data set whose data are there.

    Attributes:
        component: Its target and parameters.
        data: The folder in which its data lie.
        info: What it says of itself.
    """

    component: Component
    data: Path
    info: DatasetInfo

    @cached_property
    def splits(self) -> tuple[Images, Images]:
        """The training images and the test images."""
        return self.load(0)

    def load(self, noise: int) -> tuple[Images, Images]:
        """Load them, the global generators seeded by `noise`."""
        seed_all(noise)
        train, test = _made(self.component).load(self.data)
        return train, test


def _made(component: Component) -> Dataset:
    factory = Factory("dataset", component)
    made: Dataset = factory.code(**factory.arguments())
    return made


def holds_what_it_says(trial: Trial) -> str:
    """Have labels of its classes, and as many images as it says.

    Raises:
        BrokenPromiseError: It has others.
    """
    info, counts = trial.info, {"train": trial.info.train, "test": trial.info.test}
    is_counted = hasattr(_made(trial.component), "count")  # what it says is a guess, until its files are counted
    for (name, said), images in zip(counts.items(), trial.splits, strict=True):
        labels = images.labels
        if not isinstance(labels, Tensor) or labels.dim() != 1 or labels.is_floating_point():
            raise BrokenPromiseError(f"the labels of its {name} images are no integers of shape (n,)")
        if not len(labels):
            raise BrokenPromiseError(f"it has no {name} images")
        if int(labels.min()) < 0 or int(labels.max()) >= info.classes:
            found = f"are {int(labels.min())} to {int(labels.max())}"
            raise BrokenPromiseError(f"the labels of its {name} images {found}, and it says {info.classes} classes")
        if len(labels) != said and not is_counted:
            raise BrokenPromiseError(f"it says {said} {name} images, and loads {len(labels)}")
    return f"{len(trial.splits[0].labels)} and {len(trial.splits[1].labels)} images"


def gives_images(trial: Trial) -> str:
    """Give batches of floats of the shape it says, augmented or not, whichever images are taken.

    Raises:
        BrokenPromiseError: They are something else.
    """
    info = trial.info
    shape = (info.channels, info.image_size, info.image_size)
    for images in trial.splits:
        order = torch.arange(len(images.labels)).flip(0)[:_A_FEW]
        taken = images.take(order)
        if not torch.equal(taken.labels, images.labels[order]):
            raise BrokenPromiseError("take(indices) gives other labels than those of the images with these indices")
        found = torch.cat(list(images.source(info, CPU, augment=False).chosen(order, 4)))
        by_taking = torch.cat(list(taken.source(info, CPU, augment=False).evaluation()))
        for each in (found, *_augmented(images, info, order)):
            if each.shape[1:] != shape or each.dtype != torch.float32:
                said = f"float32 of shape (n, {', '.join(map(str, shape))})"
                raise BrokenPromiseError(f"its batches are {each.dtype} of shape {tuple(each.shape)}, not {said}")
            if not each.isfinite().all():
                raise BrokenPromiseError("an image has an entry that is not finite")
        if not torch.equal(found, by_taking):
            raise BrokenPromiseError("take(indices) gives other images than those with these indices")
    return f"{info.classes} classes, shape {shape}"


def _augmented(images: Images, info: DatasetInfo, order: Tensor) -> list[Tensor]:
    return list(images.source(info, CPU, augment=True).training(order, 4, torch.Generator().manual_seed(0)))


def repeats_itself(trial: Trial) -> str:
    """Give the same images each time.

    Raises:
        BrokenPromiseError: It draws from a generator that is not its own.
    """
    again = trial.load(1)
    for name, ours, theirs in zip(("train", "test"), trial.splits, again, strict=True):
        if not torch.equal(ours.labels, theirs.labels):
            raise BrokenPromiseError(f"its {name} images have other labels when they are loaded again")
        order = torch.arange(len(ours.labels))[:_A_FEW]
        plain = [list(each.source(trial.info, CPU, augment=False).chosen(order, 4)) for each in (ours, theirs)]
        augmented = []
        for noise, each in enumerate((ours, theirs)):
            seed_all(noise)
            augmented.append(_augmented(each, trial.info, order))
        if not same(*plain):
            raise BrokenPromiseError(f"its {name} images differ when they are loaded again")
        if not same(*augmented):
            raise BrokenPromiseError("its augmentation does not depend on the generator that it is given alone")
    return ""


def leaves_random_state_alone(trial: Trial) -> str:
    """Move no generator that others draw from.

    Raises:
        BrokenPromiseError: It does.
    """
    before = random_states()
    train, _ = _made(trial.component).load(trial.data)
    _augmented(train, trial.info, torch.arange(len(train.labels))[:_A_FEW])
    if moved := [name for name, state in random_states().items() if state != before[name]]:
        raise BrokenPromiseError(f"moves the global generator of {' and '.join(moved)}: give it one of its own")
    return ""


PROMISES: dict[str, Callable[[Trial], str]] = {
    "holds what it says": holds_what_it_says,
    "gives images": gives_images,
    "is the same each time": repeats_itself,
    "leaves other random streams alone": leaves_random_state_alone,
}
"""Everything that is promised next to `IS_MADE`, without which the others say nothing."""


def verdicts(component: Component, data: Path) -> Iterator[Verdict]:
    """Check a data set, one promise after the other.

    Args:
        component: Its target and parameters.
        data: The folder in which its data lie.

    Yields:
        One verdict per promise.
    """
    first = verdict(IS_MADE, partial(_missing, component, data))
    yield first
    if first.grade != "ok":
        reason = "its data are missing" if first.grade == "unknown" else "it is no data set"
        yield from (Verdict(promise, "unknown", reason) for promise in PROMISES)
        return
    trial = Trial(component, data, _made(component).info)
    for promise, is_kept in PROMISES.items():
        yield verdict(promise, partial(is_kept, trial))


def _missing(component: Component, data: Path) -> str:
    """Return an empty text where nothing is missing.

    Raises:
        BrokenPromiseError: It is no data set.
        NotApplicableError: Its data are missing.
    """
    made = _made(component)
    for name in ("missing", "prepare", "load"):
        if not callable(getattr(made, name, None)):
            raise BrokenPromiseError(f"lacks the method `{name}`")
    if not isinstance(getattr(made, "info", None), DatasetInfo):
        raise BrokenPromiseError(
            "lacks `info`: what is known of it without reading it, a benchbench.workloads.images.DatasetInfo"
        )
    line = made.missing(data)
    if line is not None and not isinstance(line, str):
        raise BrokenPromiseError(f"missing(data) must return one line or None (got {type(line).__name__})")
    if line is not None:
        raise NotApplicableError(line)
    return ""
