"""The workload `image-classification`: any registered data set with any registered model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from benchbench.plugins.signatures import Named
from benchbench.workloads import Setup, Workload
from benchbench.workloads.classification import Classification, Labelled
from benchbench.workloads.images import Dataset, Images
from benchbench.workloads.images.synthetic import MadeUpImages, made_up
from benchbench.workloads.streams import Streams

DatasetFactory = Annotated[Callable[[], Dataset], Named("dataset")]
ModelFactory = Annotated[Callable[..., nn.Module], Named("model")]
NoiseOver = Literal["all", "others"]

_SPLITS = Streams(0)
"""Random streams of the split. It is part of the workload: the same for every seed, method and level of noise."""


def build(
    setup: Setup,
    *,
    dataset: DatasetFactory,
    model: ModelFactory,
    augment: bool | None = None,
    label_noise: Annotated[float, Field(ge=0, le=1)] = 0.0,
    noise_over: NoiseOver = "all",
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1,
    examples: Annotated[int | None, Field(ge=1)] = None,
) -> Classification:
    """Image classification with cross-entropy.

    Args:
        setup: Device, batch size and random streams.
        dataset: Which images (`benchbench list datasets`).
        model: Which network (`benchbench list models`).
        augment: Whether training images are augmented as the data set's description says; by default, yes.
        label_noise: Share of the training labels that are drawn again; those of the other splits never are.
        noise_over: Whether they are drawn from `all` classes, the true one among them, or from the `others`.
        validation: Share of the training images that the protocol `holdout` holds out to choose the best epoch.
        examples: Train on so many images only, all classes in proportion; by default on all. Of made-up data, no other
            split has more either, so that a rehearsal is short.
    """
    data = dataset()
    info = data.info
    train, test = made_up(info) if setup.synthetic else data.load(setup.data)
    kept, held_out = _parts(train.labels, validation if setup.protocol == "holdout" else 0.0, examples)
    if setup.synthetic:
        held_out, test = held_out[:examples], test.take(torch.arange(len(test.labels))[:examples])
    labels = _with_noise(train.labels[kept], label_noise, noise_over, info.classes, setup.streams)

    def labelled(images: Images, labels: Tensor, *, augmented: bool = False) -> Labelled:
        if isinstance(images, MadeUpImages) and not info.streamed:
            images = images.computed(info, setup.device)
        return Labelled(images.source(info, setup.device, augment=augmented), labels)

    splits = {"test": labelled(test, test.labels)}
    if len(held_out):
        splits["validation"] = labelled(train.take(held_out), train.labels[held_out])
    wrong = (labels != train.labels[kept]).double().mean().item()
    return Classification(
        setup,
        model(classes=info.classes, channels=info.channels, image_size=info.image_size),
        labelled(train.take(kept), labels, augmented=augment is not False),
        splits,
        constants={"wrong_training_labels": wrong} if label_noise else {},
    )


def _parts(labels: Tensor, validation: float, examples: int | None) -> tuple[Tensor, Tensor]:
    """Return the indices that are trained on and those that are held out."""
    order = stratified_order(labels, _SPLITS.generator("validation"))
    count = round(len(order) * validation)
    return order[count:][:examples].sort().values, order[:count].sort().values


def stratified_order(labels: Tensor, generator: torch.Generator) -> Tensor:
    """Return all indices in a random order of which every part that is contiguous has all classes in proportion.

    An index's place is its rank among those of its class, over their number.

    Args:
        labels: Of shape (n,).
        generator: Draws the ranks.
    """
    shuffled = torch.randperm(len(labels), generator=generator)
    classes = labels[shuffled]
    counts = classes.bincount()
    by_class = classes.argsort(stable=True)
    ranks = torch.empty(len(labels), dtype=torch.float64)
    ranks[by_class] = (torch.arange(len(labels)) - (counts.cumsum(0) - counts)[classes[by_class]]).double()
    return shuffled[((ranks + 0.5) / counts[classes]).argsort(stable=True)]


def _with_noise(labels: Tensor, level: float, over: NoiseOver, classes: int, streams: Streams) -> Tensor:
    """Return labels of which a random subset is drawn again.

    Subsets of two levels are nested at one seed, being prefixes of one permutation, and equal indices get equal labels.
    """
    generator = streams.generator("label_noise")
    order = torch.randperm(len(labels), generator=generator)
    if over == "all":
        drawn = torch.randint(classes, (len(labels),), generator=generator)
    else:
        drawn = (labels[order] + torch.randint(1, classes, (len(labels),), generator=generator)) % classes
    chosen = order[: int(len(labels) * level)]
    return labels.index_copy(0, chosen, drawn[: len(chosen)])


def _missing(data: Path, *, dataset: Callable[[], Dataset], **_others: Any) -> str | None:
    return dataset().missing(data)


def _prepare(data: Path, *, dataset: Callable[[], Dataset], **_others: Any) -> None:
    dataset().prepare(data)


def _examples(
    setup: Setup,
    *,
    dataset: Callable[[], Dataset],
    validation: float = 0.1,
    examples: int | None = None,
    **_others: Any,
) -> int:
    chosen = dataset()
    counted = None if setup.synthetic else getattr(chosen, "count", None)
    count: int = chosen.info.train if counted is None else counted(setup.data)
    trained = count - (round(count * validation) if setup.protocol == "holdout" else 0)
    return trained if examples is None else min(trained, examples)


image_classification = Workload(build, _missing, _prepare, synthetic=True, examples=_examples)
