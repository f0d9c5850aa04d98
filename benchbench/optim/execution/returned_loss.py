"""The loss that a closure returns: optimizers may differentiate it themselves, although its gradient is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Run = Callable[..., "tuple[Tensor | None, ...] | None"]
"""Torch's autograd engine: what it is called with is what `ReturnedLoss.differentiated` takes."""


class ReturnedLoss:
    """A loss with a graph that ends in itself, and the gradient that `closure()` has left in `p.grad`.

    Some optimizers are written for a closure that does not call `backward`: they do so themselves, or call
    `torch.autograd.grad` on the loss. The ledger, through which every differentiation goes, hands these calls to
    `differentiated`, which gives them the gradient that is known, computed in parts, clipped or summed over ranks as
    the suite says. Nothing is computed twice.

    Args:
        loss: The loss, without a graph.
        parameters: What it was differentiated with respect to.
        gradients: Its gradients, as they are in `p.grad`.
        with_graph: Whether these can be differentiated in their turn.

    Attributes:
        value: The loss, as a tensor that requires a gradient.
        leaf: The end of its graph.
    """

    def __init__(
        self, loss: Tensor, parameters: Sequence[Tensor], gradients: Sequence[Tensor | None], *, with_graph: bool
    ) -> None:
        self.leaf = loss.detach().requires_grad_()
        with torch.enable_grad():
            self.value = self.leaf.clone()
        self._parameters = parameters
        self._gradients = gradients
        self._with_graph = with_graph
        self._versions = [0 if each is None else each._version for each in gradients]

    def differentiated(
        self,
        run: Run,
        roots: Sequence[Tensor],
        cotangents: Sequence[Tensor | None],
        keep_graph: bool,
        create_graph: bool,
        inputs: Sequence[Tensor],
        allow_unreachable: bool,
        accumulate_grad: bool,
    ) -> tuple[Tensor | None, ...]:
        """Do what the engine does with roots that depend on this loss, the loss's own gradient included.

        Raises:
            RuntimeError: `p.grad` was written into since the evaluation, so the gradient is known no more; or the
                gradient is to be differentiated, and has no graph; or as torch.
        """
        if create_graph and not self._with_graph:
            # As a constant, it would add nothing to what depends on it: a penalty on its norm would do nothing.
            raise RuntimeError("the gradient of the closure's loss does not require gradients")
        if self._versions != [0 if each is None else each._version for each in self._gradients]:
            raise RuntimeError(
                "the closure's loss is differentiated after `p.grad` was changed in place: differentiate it at once, "
                "or clear gradients with zero_grad(set_to_none=True)"
            )
        known = dict(zip(map(id, self._parameters), self._gradients, strict=True))
        if accumulate_grad:
            targets = inputs or self._parameters
            for each in targets:
                if known.get(id(each)) is each.grad:  # left by the closure, and put back below
                    each.grad = None
            self.leaf.grad = None
            run(roots, cotangents, keep_graph, create_graph, (*inputs, self.leaf) if inputs else (), True, True)
            with torch.set_grad_enabled(create_graph):
                for each in targets:
                    each.grad = _sum(each.grad, _product(known.get(id(each)), self.leaf.grad))
            return ()
        found: Any = run(roots, cotangents, keep_graph, create_graph, (*inputs, self.leaf), True, False)
        *others, factor = found
        with torch.set_grad_enabled(create_graph):
            sums = [_sum(b, _product(known.get(id(a)), factor)) for a, b in zip(inputs, others, strict=True)]
        if not allow_unreachable and any(each is None for each in sums):
            raise RuntimeError("a parameter does not influence the loss: differentiate with allow_unused=True")
        return tuple(sums)


def _product(gradient: Tensor | None, factor: Tensor | None) -> Tensor | None:
    if factor is not None and factor.requires_grad:
        raise RuntimeError(
            "second derivatives are known of the closure's loss, not of a function of it: ask for its own"
        )
    return None if gradient is None or factor is None else gradient * factor


def _sum(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    if first is None or second is None:
        return second if first is None else first
    return first + second
