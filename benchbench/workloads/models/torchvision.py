"""Torchvision's classification networks, from scratch: ResNet-50, and any other by its name."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchbench.problems import nearest_name


def torchvision_model(*, classes: int, channels: int, image_size: int, name: str = "resnet50") -> nn.Module:
    """A classification network of torchvision by its name there, with torchvision's initial weights.

    Args:
        classes: Number of logits.
        channels: Channels of the images; torchvision's networks take 3.
        image_size: Side of the images.
        name: A name of `torchvision.models.list_models(module=torchvision.models)`.

    Raises:
        ValueError: There is no such network, it does not take such images, or it returns more than logits in training.
    """
    from torchvision import models

    if name not in (known := models.list_models(module=models)):
        near = nearest_name(name, known)
        hint = f"; did you mean {near!r}?" if near else ""
        raise ValueError(f"torchvision has no classification network {name!r}{hint}")
    model: nn.Module = models.get_model(name, weights=None, num_classes=classes)
    _require_logits(model, name, (2, channels, image_size, image_size), classes)
    return model


def _require_logits(model: nn.Module, name: str, shape: tuple[int, ...], classes: int) -> None:
    """Run the network on tensors without memory, and refuse it unless it returns logits for such images.

    Raises:
        ValueError: It does not.
    """
    images = torch.empty(shape, device="meta")
    named = [*model.named_parameters(), *model.named_buffers()]
    tensors = {key: torch.empty_like(tensor, device="meta") for key, tensor in named}
    try:
        logits = torch.func.functional_call(model, tensors, (images,))
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"torchvision's {name} does not take images of shape {shape[1:]}: {reason}") from error
    if not isinstance(logits, Tensor) or logits.shape != (shape[0], classes):
        raise ValueError(f"torchvision's {name} does not return plain logits in training")


def resnet50(*, classes: int, channels: int, image_size: int) -> nn.Module:
    """Torchvision's ResNet-50 (He et al. 2016, with the stride in the 3x3 convolution of a block), from scratch.

    Its last batch norm of a block starts at scale 1, not at 0.

    Args:
        classes: Number of logits.
        channels: Channels of the images, 3.
        image_size: Side of the images.
    """
    return torchvision_model(classes=classes, channels=channels, image_size=image_size, name="resnet50")
