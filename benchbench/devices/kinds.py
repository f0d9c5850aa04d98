"""Kinds of devices, and what each of them has and lacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Feature = Literal["float64", "ranks"]
"""Features that a kind of device may lack."""


@dataclass(frozen=True)
class Kind:
    """A kind of device.

    Attributes:
        type: What torch calls it, as in `torch.device(type)`.
        title: What it is called in messages.
        slot: First part of the names of its slots.
        variable: Environment variable that says which devices a process sees, read when the first one is started.
        collective: Backend of `torch.distributed` for tensors on it.
        pins: Whether copies from pinned memory of the host go on in the background.
        fast_products: Whether `second_order` knows which arguments its kernels take.
        determinism: Variables without which the digits of its libraries may vary; they are read when those start.
        lacks: Why it cannot do something, in one line each.
    """

    type: str
    title: str
    slot: str
    variable: str | None = None
    collective: str = "gloo"
    pins: bool = False
    fast_products: bool = False
    determinism: Mapping[str, str] = field(default_factory=dict)
    lacks: Mapping[Feature, str] = field(default_factory=dict)


CPU = Kind("cpu", "CPU", "cpu", fast_products=True)
NVIDIA = Kind(
    "cuda",
    "NVIDIA GPU",
    "gpu",
    "CUDA_VISIBLE_DEVICES",
    "nccl",
    pins=True,
    fast_products=True,
    determinism={"CUBLAS_WORKSPACE_CONFIG": ":4096:8"},
)
AMD = Kind("cuda", "AMD GPU", "gpu", "HIP_VISIBLE_DEVICES", "nccl", pins=True, fast_products=True)
INTEL = Kind("xpu", "Intel GPU", "gpu", "ZE_AFFINITY_MASK", "xccl", pins=True)
APPLE = Kind(
    "mps",
    "Apple GPU",
    "gpu",
    lacks={
        "float64": "Apple GPUs have no float64: use --devices cpu",
        "ranks": "there is one Apple GPU, and no way for several processes to share a batch on it: use --devices cpu",
    },
)

BY_TYPE = {kind.type: kind for kind in (CPU, INTEL, APPLE)}
"""Kinds by their type, but for `cuda`, which may be one or the other."""


def kind_of(type_: str) -> Kind:
    """Return the kind of device that this torch means by a type, such as `cuda`, which may be NVIDIA's or AMD's.

    Of a type that is none of those above, nothing is assumed.
    """
    if type_ == NVIDIA.type:
        import torch

        return NVIDIA if torch.version.hip is None else AMD
    return BY_TYPE.get(type_, Kind(type_, type_, type_))
