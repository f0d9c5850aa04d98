"""The cost ledger: exact counts of what an optimizer asked autograd to compute."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor
from torch.autograd.graph import Node

from benchbench.values import Cost

_MARK = "benchbench: a gradient"
"""Key in the metadata of an autograd node whose output is a gradient that can be differentiated again."""

_ENGINE = "_engine_run_backward"
"""Name of the function in `torch.autograd` that every differentiation goes through; it is private."""


class Ledger:
    """Counts forwards, gradients and Hessian-vector products.

    The objective writes down what it computes. While `metered()` is on, calls that an optimizer makes to
    autograd behind the objective's back are counted as well, so the counts hold for any optimizer.

    Attributes:
        steps: Optimizer steps.
        forwards: Evaluations of the loss.
        gradients: Gradient computations.
        hvps: Hessian-vector products.
        before_second_order: Called before whatever needs second derivatives is computed.
    """

    def __init__(self) -> None:
        self.steps = 0
        self.forwards = 0
        self.gradients = 0
        self.hvps = 0
        self.before_second_order: Callable[[], None] = lambda: None
        self._inside_objective = False
        self._gradients_with_graph = False

    def cost(self, train_seconds: float, warm_up_seconds: float | None = None, warm_up_steps: int = 0) -> Cost:
        """Return the counts so far as a value, with what clocks have said."""
        return Cost(
            steps=self.steps,
            forwards=self.forwards,
            gradients=self.gradients,
            hvps=self.hvps,
            train_seconds=train_seconds,
            warm_up_seconds=warm_up_seconds,
            warm_up_steps=warm_up_steps,
        )

    @contextmanager
    def objective_at_work(self) -> Iterator[None]:
        """Mark what autograd does inside as the objective's own, which the objective counts itself."""
        before, self._inside_objective = self._inside_objective, True
        try:
            yield
        finally:
            self._inside_objective = before

    def mark(self, gradients: Iterable[Tensor | None]) -> None:
        """Remember that `gradients` are gradients: differentiating what depends on them gives a Hessian.

        The mark lies in the graph itself, so it lives exactly as long and keeps nothing alive.
        """
        self._gradients_with_graph = True
        for gradient in gradients:
            if gradient is not None and gradient.grad_fn is not None:
                _metadata(gradient.grad_fn)[_MARK] = True

    @contextmanager
    def metered(self) -> Iterator[None]:
        """Count every call to the autograd engine that the objective does not make itself.

        Every route of differentiation (`Tensor.backward`, `autograd.backward`, `autograd.grad`,
        `torch.func.grad`) calls one function of torch, which is wrapped here. A call counts as a
        Hessian-vector product if what it differentiates depends on a gradient, be it the gradient itself
        with a cotangent or a scalar made from it, and as many times as there are batched cotangents; any
        other call counts as a gradient. Products in forward mode (`torch.func.jvp` of a gradient) are not
        seen, for they need no second call. Inside nested transforms of `torch.func`, whatever has more than
        one element is taken for a gradient.
        """
        engine = getattr(torch.autograd, _ENGINE)

        def counted(
            roots: tuple[Tensor, ...], cotangents: tuple[Tensor | None, ...], *args: object, **kwargs: object
        ) -> tuple[Tensor | None, ...] | None:
            gradients: tuple[Tensor | None, ...] | None
            if self._inside_objective:
                gradients = engine(roots, cotangents, *args, **kwargs)
                return gradients
            self._count(roots, cotangents)
            with self.objective_at_work():  # a backward that calls the engine itself (checkpoints) is part of this
                gradients = engine(roots, cotangents, *args, **kwargs)
            _retain_graph, create_graph = args[:2]
            if create_graph:
                self.mark(gradients if gradients is not None else _accumulated(roots))
            return gradients

        setattr(torch.autograd, _ENGINE, counted)
        try:
            yield
        finally:
            setattr(torch.autograd, _ENGINE, engine)

    def _count(self, roots: tuple[Tensor, ...], cotangents: tuple[Tensor | None, ...]) -> None:
        calls = _products_at_once(roots, [cotangent for cotangent in cotangents if cotangent is not None])
        if self._differentiates_a_gradient(roots):
            self.before_second_order()
            self.hvps += calls
        else:
            self.gradients += calls

    def _differentiates_a_gradient(self, roots: tuple[Tensor, ...]) -> bool:
        if not self._gradients_with_graph:
            return False
        # A nested transform of torch.func has a graph of its own, without the marks of the graph around it.
        nested = torch._C._functorch.is_gradtrackingtensor
        if any(root.numel() > 1 and nested(root) for root in roots):
            return True
        return any(_MARK in _metadata(node) for node in graph_behind(roots))


def _metadata(node: Node) -> dict[str, object]:
    return cast(dict[str, object], node.metadata)


def graph_behind(roots: Iterable[Tensor | None]) -> Iterator[Node]:
    """Yield every node of the graph behind `roots` once."""
    waiting = [root.grad_fn for root in roots if root is not None and root.grad_fn is not None]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        yield node
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                waiting.append(following)


def _accumulated(roots: Iterable[Tensor]) -> list[Tensor | None]:
    """Return the `grad` of every leaf behind `roots`, where `backward` has left the gradients."""
    return [node.variable.grad for node in graph_behind(roots) if hasattr(node, "variable")]


def _products_at_once(roots: Iterable[Tensor], cotangents: Sequence[Tensor]) -> int:
    """Return how many cotangents one call of the engine has: those that `torch.vmap` adds, or `is_grads_batched`.

    Where a root is mapped along with them, over examples say, it is one product of a larger batch.
    """
    if not cotangents:
        return 1
    sizes = _mapped(cotangents)
    own = [size for level, size in sizes.items() if level not in _mapped(roots)] if sizes else []
    return math.prod(own) * _legacy_batch_size(cotangents[0])


def _mapped(tensors: Iterable[Tensor]) -> dict[int, int]:
    """Return the levels at which `torch.vmap` maps over a tensor, and over how many entries each."""
    functorch = torch._C._functorch
    sizes = {}
    for tensor in tensors:
        outer = tensor
        while functorch.is_functorch_wrapped_tensor(outer):
            inner = functorch.get_unwrapped(outer)
            if functorch.is_batchedtensor(outer):
                sizes[functorch.maybe_get_level(outer)] = inner.shape[functorch.maybe_get_bdim(outer)]
            outer = inner
    return sizes


def _legacy_batch_size(cotangent: Tensor) -> int:
    """Return the number of cotangents with `is_grads_batched`, which has machinery of its own."""
    if not torch._C._functorch.is_legacy_batchedtensor(cotangent):
        return 1
    level = torch._C._vmapmode_increment_nesting() - 1
    torch._C._vmapmode_decrement_nesting()
    return torch._remove_batch_dim(cotangent, level, 1, 0).shape[0]
