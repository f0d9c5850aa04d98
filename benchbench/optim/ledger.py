"""The cost ledger: exact counts of what an optimizer asked autograd to compute."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import Variable
from torch.autograd.graph import Node

from benchbench.optim.execution.returned_loss import ReturnedLoss

_MARK = "benchbench: a gradient"
"""Key in the metadata of an autograd node whose output is a gradient that can be differentiated again."""

_ENGINE = "_execution_engine"
"""Name of the attribute of `torch.autograd.Variable` that every differentiation goes through; it is private."""


COUNTS = ("steps", "forwards", "gradients", "hvps")
"""Names of the counts of a ledger."""


class Ledger:
    """Counts forwards, gradients and Hessian-vector products.

    The objective writes down what it computes. While `metered()` is on, calls that an optimizer makes to
    autograd behind the objective's back are counted as well, so the counts hold for any optimizer. Counts can be added
    to and not be set: an optimizer that is handed an objective cannot make itself cheaper by assigning to them.

    Attributes:
        before_second_order: Called before whatever needs second derivatives is computed.
        returned: The loss that the latest evaluation has handed out.
    """

    def __init__(self) -> None:
        self._counts = dict.fromkeys(COUNTS, 0)
        self.returned: ReturnedLoss | None = None
        self.before_second_order: Callable[[], None] = lambda: None
        self._inside_objective = False
        self._gradients_with_graph = False

    @property
    def steps(self) -> int:
        """Optimizer steps."""
        return self._counts["steps"]

    @property
    def forwards(self) -> int:
        """Evaluations of the loss."""
        return self._counts["forwards"]

    @property
    def gradients(self) -> int:
        """Gradient computations."""
        return self._counts["gradients"]

    @property
    def hvps(self) -> int:
        """Hessian-vector products."""
        return self._counts["hvps"]

    def add(self, **counts: int) -> None:
        """Add to the counts.

        Raises:
            ValueError: There is no such count, or less than nothing is added.
        """
        if counts.keys() - self._counts.keys() or min(counts.values(), default=0) < 0:
            raise ValueError(f"counts are {', '.join(COUNTS)}, and only grow; got {counts}")
        for name, count in counts.items():
            self._counts[name] += count

    @property
    def counts(self) -> dict[str, int]:
        """All counts by name, as a copy."""
        return dict(self._counts)

    def restore(self, counts: Mapping[str, int]) -> None:
        """Go on from the counts of an earlier attempt.

        Raises:
            ValueError: Something was counted before.
        """
        if any(self._counts.values()):
            raise ValueError("counts can be restored before the first step only")
        self.add(**counts)

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
        `torch.func.grad`, the engine's own `run_backward`) goes through one object of torch, which is wrapped here. A
        call counts as a Hessian-vector product if what it differentiates depends on a gradient, be it the gradient
        itself with a cotangent or a scalar made from it, and as many times as there are batched cotangents; any
        other call counts as a gradient, except of the loss that the objective has returned, whose gradient it has
        counted itself. Products in forward mode (`torch.func.jvp` of a gradient) are not
        seen, for they need no second call. Inside nested transforms of `torch.func`, whatever has more than
        one element is taken for a gradient.
        """
        engine = getattr(Variable, _ENGINE)
        setattr(Variable, _ENGINE, _MeteredEngine(engine, self._differentiate))
        try:
            yield
        finally:
            setattr(Variable, _ENGINE, engine)

    def _differentiate(
        self,
        run: Callable[..., tuple[Tensor | None, ...] | None],
        roots: tuple[Tensor, ...],
        cotangents: tuple[Tensor | None, ...],
        keep_graph: bool,
        create_graph: bool,
        inputs: tuple[Tensor, ...] | None,
        allow_unreachable: bool,
        accumulate_grad: bool,
    ) -> tuple[Tensor | None, ...] | None:
        rest = (keep_graph, create_graph, tuple(inputs or ()), allow_unreachable, accumulate_grad)
        if self._inside_objective:
            return run(roots, cotangents, *rest)
        of_gradient = self._differentiates_a_gradient(roots)
        if of_gradient:
            self.before_second_order()
        returned = self._returned_loss(roots)
        if of_gradient or returned is None:
            calls = _products_at_once(roots, [cotangent for cotangent in cotangents if cotangent is not None])
            self.add(**{"hvps" if of_gradient else "gradients": calls})
        gradients: tuple[Tensor | None, ...] | None
        with self.objective_at_work():  # a backward that calls the engine itself (checkpoints) is part of this
            if returned is None:
                gradients = run(roots, cotangents, *rest)
            else:
                gradients = returned.differentiated(run, roots, cotangents, *rest)
        if create_graph:
            # `backward` has left the gradients in the `grad` of every leaf.
            left = (node.variable.grad for node in graph_behind(roots) if hasattr(node, "variable"))
            self.mark(left if accumulate_grad else gradients or ())
        return gradients

    def _returned_loss(self, roots: Sequence[Tensor]) -> ReturnedLoss | None:
        """Return the loss of the latest evaluation, if the roots depend on it.

        Raises:
            RuntimeError: They depend on that of an earlier one.
        """
        if self.returned is None or not any(getattr(root, "numel", int)() == 1 for root in roots):
            return None
        ends = [variable for node in graph_behind(roots) if (variable := getattr(node, "variable", None)) is not None]
        return self.returned if any(each is self.returned.leaf for each in ends) else None

    def _differentiates_a_gradient(self, roots: tuple[Tensor, ...]) -> bool:
        if not self._gradients_with_graph:
            return False
        # A nested transform of torch.func has a graph of its own, without the marks of the graph around it.
        nested = torch._C._functorch.is_gradtrackingtensor
        if any(isinstance(root, Tensor) and root.numel() > 1 and nested(root) for root in roots):
            return True
        return any(_MARK in _metadata(node) for node in graph_behind(roots))


class _MeteredEngine:
    """The autograd engine, except that `run_backward` goes through a function of ours."""

    def __init__(self, engine: Any, differentiate: Callable[..., Any]) -> None:
        self._engine = engine
        self._differentiate = differentiate

    def run_backward(
        self,
        tensors: tuple[Tensor, ...],
        grad_tensors: tuple[Tensor | None, ...],
        keep_graph: bool,
        create_graph: bool,
        inputs: tuple[Tensor, ...] | None = None,
        allow_unreachable: bool = False,
        accumulate_grad: bool = False,
    ) -> Any:
        """Differentiate; the names are those of torch's engine."""
        rest = (keep_graph, create_graph, inputs, allow_unreachable, accumulate_grad)
        return self._differentiate(self._engine.run_backward, tensors, grad_tensors, *rest)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


def _metadata(node: Node) -> dict[str, object]:
    return cast(dict[str, object], node.metadata)


def graph_behind(roots: Iterable[Tensor | None]) -> Iterator[Node]:
    """Yield every node of the graph behind `roots` once."""
    nodes = [root.grad_fn if isinstance(root, Tensor) else getattr(root, "node", None) for root in roots]
    waiting = [node for node in nodes if node is not None]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        yield node
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                waiting.append(following)


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
