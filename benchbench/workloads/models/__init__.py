"""Networks for image classification, as factories that a suite can name.

A factory takes `classes`, `channels` and `image_size` (the side of square images in pixels), all by keyword, and
possibly parameters of its own with defaults. It returns a network that maps images of shape
(n, channels, image_size, image_size) to logits of shape (n, classes), and raises `ValueError` for a size that it cannot
work with. The classes are factories too, for depths and widths that have no name:
`benchbench.workloads.models:CifarResNet` with `depth: 110`. Where a network differs from its original, it is that of
"the reproduced paper", Shin et al. 2025. Language models are in `benchbench.workloads.models.gpt`.
"""

from benchbench.workloads.models.cifar_resnet import CifarResNet, resnet20, resnet32, resnet56
from benchbench.workloads.models.simple import convnet, mlp
from benchbench.workloads.models.torchvision import resnet50, torchvision_model
from benchbench.workloads.models.vit import SimpleViT, vit_s_16, vit_s_32
from benchbench.workloads.models.wide_resnet import WideResNet, wrn_28_10

__all__ = [
    "CifarResNet",
    "SimpleViT",
    "WideResNet",
    "convnet",
    "mlp",
    "resnet20",
    "resnet32",
    "resnet50",
    "resnet56",
    "torchvision_model",
    "vit_s_16",
    "vit_s_32",
    "wrn_28_10",
]
