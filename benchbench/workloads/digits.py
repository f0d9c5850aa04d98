"""Handwritten digits (8x8, ten classes): real data that ships with scikit-learn, for a machine without network."""

from __future__ import annotations

from typing import Any

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional as F

from benchbench.workloads import Setup, Workload
from benchbench.workloads.classification import Split, TensorClassification
from benchbench.workloads.images.tensors import RandomCrop

_IMAGES = 1797

_HELD_OUT = 300
"""Images of the validation split and of the test split each; the remaining 1,197 are for training."""

_SPLIT_SEED = 0
"""The splits are part of the workload: the same for every run."""


def load_splits() -> dict[str, Split]:
    """Return the stratified splits `train`, `validation` and `test` as images of shape (n, 1, 8, 8).

    Pixels are standardised by the mean and standard deviation over the training images.
    """
    images, labels = load_digits(return_X_y=True)
    rest, test, rest_labels, test_labels = train_test_split(
        images, labels, test_size=_HELD_OUT, stratify=labels, random_state=_SPLIT_SEED
    )
    train, validation, train_labels, validation_labels = train_test_split(
        rest, rest_labels, test_size=_HELD_OUT, stratify=rest_labels, random_state=_SPLIT_SEED
    )
    mean, deviation = train.mean(), train.std()

    def split(pixels: Tensor, targets: Tensor) -> Split:
        inputs = torch.as_tensor((pixels - mean) / deviation, dtype=torch.float32)
        return Split(inputs.reshape(-1, 1, 8, 8), torch.as_tensor(targets))

    return {
        "train": split(train, train_labels),
        "validation": split(validation, validation_labels),
        "test": split(test, test_labels),
    }


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm, added to the input.

    Where the shape changes, the input is subsampled and filled up with channels of zeros: the shortcut without
    parameters of He et al. 2016 ("Deep residual learning for image recognition", section 4.2, option A).
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels_out)
        self.stride = stride
        self.new_channels = channels_out - channels_in

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels_in, h, w) to (n, channels_out, h / stride, w / stride)."""
        out = F.relu(self.norm1(self.conv1(x)))
        shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels))
        return F.relu(self.norm2(self.conv2(out)) + shortcut)


def _resnet8(width: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        ResidualBlock(width, width, stride=1),
        ResidualBlock(width, 2 * width, stride=2),
        ResidualBlock(2 * width, 4 * width, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4 * width, 10),
    )


def _task(setup: Setup, model: nn.Module) -> TensorClassification:
    splits = load_splits()
    train = splits.pop("train")
    if setup.protocol == "paper":
        train = train.joined_with(splits.pop("validation"))
    return TensorClassification(setup, model, train, splits, augment=RandomCrop(padding=1))


def build_resnet8(setup: Setup, *, width: int = 8) -> TensorClassification:
    """Handwritten digits with a residual network of eight layers with batch norm.

    scikit-learn's bundled 8x8 digits, 1,197 for training, 300 for validation, 300 for test (stratified, fixed);
    training images are shifted by up to one pixel.

    Args:
        setup: Device, batch size and random streams.
        width: Channels of the first stage; the two others have twice and four times as many.
    """
    return _task(setup, _resnet8(width))


def build_mlp(setup: Setup, *, hidden: int = 64) -> TensorClassification:
    """Handwritten digits with a perceptron of one hidden layer, for fast tests.

    The data are those of the residual network's workload.

    Args:
        setup: Device, batch size and random streams.
        hidden: Units of the hidden layer.
    """
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10))
    return _task(setup, model)


def _examples(setup: Setup, **_parameters: Any) -> int:
    return _IMAGES - _HELD_OUT * (2 if setup.protocol == "holdout" else 1)


resnet8 = Workload(build_resnet8, examples=_examples)
mlp = Workload(build_mlp, examples=_examples)
