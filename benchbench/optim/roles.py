"""Roles of a network's parameters: which are hidden matrices, filters, embeddings, heads, norms or biases."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.optim import Optimizer

Role = Literal["hidden", "filter", "embedding", "head", "norm", "bias", "other"]
"""Role of a parameter.

- `hidden`: a matrix between hidden layers, those of attention and recurrent layers among them.
- `filter`: the kernel of a convolution: a matrix once its input channels and positions are flattened.
- `embedding`: a lookup table, a projection of patches, positions and class tokens; also a head that is tied to one.
- `head`: the matrix that makes the network's outputs.
- `norm`: gains and shifts of normalization layers.
- `bias`: biases of all other layers.
- `other`: none of these, such as the scale of a layer or the slope of an activation.
"""

ROLES: tuple[Role, ...] = get_args(Role)

_NORM = re.compile(r"norm(\dd)?$", re.IGNORECASE)
"""Ends of the class names of normalization layers, other libraries' among them."""

_EMBEDDING = re.compile(r"embed|token|position|(^|_)pos(_|$)", re.IGNORECASE)
"""Names of parameters that embed without being a layer's weight."""

_HEAD = re.compile(r"((lm|mlm|cls|output|prediction|distillation)_)?(head|classifier|unembed|logits)", re.IGNORECASE)
"""Names of layers that make outputs, wherever they are registered."""


class ParameterRoles(Mapping[Tensor, Role]):
    """The role of each parameter of a network, for optimizers that treat them differently.

    A factory with a parameter of this type gets it from the harness. Roles are found from the types of layers, from
    ties and from positions: a matrix that is registered last makes the outputs, unless its like in a repeated block
    does not, or a layer before it is called a head. What is found wrongly can be overridden.

    Args:
        model: The network.
        overrides: Roles by parameter name, or by a pattern of names such as `blocks.*.gate.weight`; the last one that
            matches counts.

    Attributes:
        names: The name of each parameter; of a tied one the first.

    Raises:
        ValueError: There is no such role, or a pattern matches no parameter.
    """

    def __init__(self, model: nn.Module, overrides: Mapping[str, Role] | None = None) -> None:
        parameters: dict[str, Tensor] = dict(model.named_parameters())
        roles = _found(model, parameters)
        for pattern, role in (overrides or {}).items():
            if role not in ROLES:
                raise ValueError(f"{role!r} is no role; allowed: {', '.join(ROLES)}")
            matching = [name for name in parameters if fnmatchcase(name, pattern)]
            if not matching:
                raise ValueError(f"no parameter has a name like {pattern!r}")
            roles.update(dict.fromkeys(matching, role))
        self.names = {parameter: name for name, parameter in parameters.items()}
        self._roles = {parameters[name]: role for name, role in roles.items()}

    def __getitem__(self, parameter: Tensor) -> Role:
        return self._roles[parameter]

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self._roles)

    def __len__(self) -> int:
        return len(self._roles)


def without_decay(params: Iterable[Any], roles: ParameterRoles, exempt: Collection[Role]) -> list[dict[str, Any]]:
    """Return parameter groups in which parameters of the exempt roles have a `weight_decay` of 0.

    Args:
        params: Parameters, or parameter groups, each of which is divided.
        roles: The role of each parameter.
        exempt: The roles that are not decayed.
    """
    listed = list(params)
    groups = listed if listed and isinstance(listed[0], dict) else [{"params": listed}]
    divided = []
    for group in groups:
        members: dict[bool, list[Tensor]] = {False: [], True: []}
        for parameter in [group["params"]] if isinstance(group["params"], Tensor) else group["params"]:
            members[roles.get(parameter) in exempt].append(parameter)
        if members[False]:
            divided.append({**group, "params": members[False]})
        if members[True]:
            divided.append({**group, "params": members[True], "weight_decay": 0.0})
    return divided


def part_sizes(optimizer: Optimizer) -> dict[str, int]:
    """Return how many numbers each part of an optimizer moves, by the `part` of its parameter groups, if it has any."""
    sizes: dict[str, int] = {}
    for group in optimizer.param_groups:
        if "part" in group:
            sizes[group["part"]] = sizes.get(group["part"], 0) + sum(each.numel() for each in group["params"])
    return sizes


def _found(model: nn.Module, parameters: Mapping[str, Tensor]) -> dict[str, Role]:
    """Return the role of each parameter by its name."""
    first_names = {id(parameter): name for name, parameter in parameters.items()}
    roles: dict[str, Role] = {}
    matrices: list[str] = []  # those that may be a head
    is_tied = False
    for path, member in model.named_modules():
        for name, parameter in member.named_parameters(path, recurse=False):
            first, module = first_names[id(parameter)], model.get_submodule(_layer(name)[0])
            role = _role(parameter, name, module, is_first=not matrices)
            if "embedding" in (role, roles.get(first)):
                is_tied |= first in roles and isinstance(module, nn.Linear)
                role = "embedding"
            elif role in ("hidden", "filter") and not isinstance(module, nn.RNNBase):
                matrices.append(first)
            roles[first] = role
    matrices = [name for name in matrices if roles[name] != "embedding"]
    heads = [name for name in matrices if _HEAD.fullmatch(_layer(name)[0].rpartition(".")[2])]
    if not heads and matrices and not is_tied and not _is_repeated(matrices[-1], model, parameters):
        heads = matrices[-1:]
    return {**roles, **dict.fromkeys(heads, "head")}


def _role(parameter: Tensor, name: str, module: nn.Module, *, is_first: bool) -> Role:
    """Return a parameter's role in one of its layers, the head not told from hidden matrices and filters."""
    path, own = _layer(name)
    by_dimensions: dict[int, Role] = {0: "other", 1: "bias" if "bias" in own else "other", 2: "hidden", 4: "filter"}
    role = by_dimensions.get(parameter.dim(), "other")
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        role = "embedding"
    elif _NORM.search(type(module).__name__):
        role = "norm"
    elif parameter.dim() < 2:
        if "bias" not in own and _EMBEDDING.search(own):
            role = "embedding"  # a class token of one dimension
    elif own == "weight_g" or (name.endswith(".original0") and parameter.numel() == max(parameter.shape)):
        role = "other"  # the magnitudes of weight norm
    elif "embed" in path.lower() or (not own.startswith("weight") and _EMBEDDING.search(own)):
        role = "embedding"
    elif isinstance(module, _ConvNd):
        is_of_patches = is_first and module.stride == module.kernel_size and max(module.kernel_size) > 1
        role = "embedding" if is_of_patches else "filter"
    return role


def _layer(name: str) -> tuple[str, str]:
    """Return the path of a parameter's layer and its name there; a parametrized one is that which is parametrized."""
    path, _, own = name.rpartition(".")
    layer, parametrized, tensor = path.partition(".parametrizations.")
    return (layer, tensor) if parametrized else (path, own)


def _is_repeated(name: str, model: nn.Module, parameters: Mapping[str, Tensor]) -> bool:
    """Return whether a matrix has its like, with as many rows, in the block before its own."""
    parts, modules = name.split("."), dict(model.named_modules())
    for place, part in enumerate(parts):
        block = modules.get(".".join(parts[: place + 1]))
        if not part.isdecimal() or block is None or not list(block.children()):
            continue
        before = parameters.get(".".join([*parts[:place], str(int(part) - 1), *parts[place + 1 :]]))
        if before is not None and before.shape[0] == parameters[name].shape[0]:
            return True
    return False
