"""A mini-batch in parts: how it is divided, and how what the parts give is added up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree


@dataclass(frozen=True, eq=False)
class Part:
    """A part of a mini-batch.

    Attributes:
        loss: Computes its loss (a scalar with a graph) at the current parameters.
        first_order_loss: Computes the same loss for evaluations that need no second derivative: faster, compiled.
        weight: Its share of the mini-batch; all shares sum up to one.
    """

    loss: Callable[[], Tensor]
    first_order_loss: Callable[[], Tensor] | None = None
    weight: float = 1.0


@dataclass(frozen=True)
class Evaluated:
    """Loss and gradients of a part or of a whole mini-batch.

    Attributes:
        loss: The loss, detached.
        gradients: Per trainable parameter its gradient, or `None` where the loss does not depend on it.
        products: Per vector, per trainable parameter the product.
    """

    loss: Tensor
    gradients: list[Tensor | None]
    products: list[list[Tensor]] = field(default_factory=list)


def added(one: Evaluated, other: Evaluated) -> Evaluated:
    """Return the sum of what two parts gave; neither is written into."""
    return Evaluated(
        one.loss + other.loss,
        _added_gradients(one.gradients, other.gradients),
        [list(torch._foreach_add(a, b)) for a, b in zip(one.products, other.products, strict=True)],
    )


def scaled(found: Evaluated, factor: float) -> Evaluated:
    """Return gradients and products times `factor`; the gradients are written into, the loss stays."""
    torch._foreach_mul_([gradient for gradient in found.gradients if gradient is not None], factor)
    return replace(found, products=[list(torch._foreach_mul(product, factor)) for product in found.products])


def _added_gradients(one: Sequence[Tensor | None], other: Sequence[Tensor | None]) -> list[Tensor | None]:
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a is not None and b is not None]
    sums = iter(torch._foreach_add([a for a, _ in pairs], [b for _, b in pairs]) if pairs else ())
    return [
        next(sums) if a is not None and b is not None else a if b is None else b
        for a, b in zip(one, other, strict=True)
    ]


def divide(batch: Any, parts: int) -> list[Any]:
    """Divide a batch along dimension 0 of every tensor in it, into parts whose sizes differ by one example at most.

    Args:
        batch: Tensors in tuples, lists and dictionaries.
        parts: Number of parts; those beyond the number of examples are empty.

    Raises:
        ValueError: The tensors have not all the same number of examples.
    """
    size(batch)
    leaves, structure = _pytree.tree_flatten(batch)
    divided = [leaf.tensor_split(parts) if isinstance(leaf, Tensor) else [leaf] * parts for leaf in leaves]
    return [_pytree.tree_unflatten(list(part), structure) for part in zip(*divided, strict=True)]


def size(batch: Any) -> int:
    """Return the number of examples of a batch: the length of dimension 0 of every tensor in it.

    Raises:
        ValueError: The tensors have not all the same number of examples, or there are none.
    """
    sizes = {leaf.shape[:1] for leaf in _pytree.tree_leaves(batch) if isinstance(leaf, Tensor)}
    if len(sizes) != 1 or sizes == {()}:
        raise ValueError(
            "a batch cannot be divided whose tensors do not all have the examples in dimension 0: "
            "give the task methods divide(batch, parts) and size(batch)"
        )
    return int(sizes.pop()[0])


def owned(gradients: Iterable[Tensor | None]) -> list[Tensor | None]:
    """Return the gradients without graph, each with memory of its own: optimizers write into `p.grad`.

    Autograd hands out one tensor as the gradient of several parameters (of a + b, say) or an expanded scalar.
    """
    owned: list[Tensor | None] = []
    taken: set[int] = set()
    for gradient in gradients:
        if gradient is None:
            owned.append(None)
            continue
        memory = gradient.untyped_storage()._cdata
        shared = memory in taken or 0 in gradient.stride()
        owned.append(gradient.detach().clone(memory_format=torch.contiguous_format) if shared else gradient.detach())
        taken.add(memory)
    return owned
