"""The one contract between the harness and an optimizer: `optimizer.step(objective)`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchbench.ledger import Ledger

Vectors = Sequence[Tensor]
"""One tensor per trainable parameter, of its shape, in the order of `Objective.parameters`."""


class Objective:
    """The loss of one step, on one mini-batch, as a function of the parameters.

    Calling it is torch's own closure: it leaves fresh gradients in `p.grad` and returns the loss. `with_hvp` does the
    same and also returns Hessian-vector products. An objective lives for one step: running statistics of batch
    norm move only in its first evaluation, however often and at whatever point it is evaluated after that.

    Args:
        loss: Computes the loss (a scalar with a graph) at the current parameters.
        parameters: Parameters of the optimizer; those that require no gradient are left out.
        ledger: Where evaluations are counted; by default, nowhere that anyone sees.
        model: Holder of the batch-norm modules; by default they are noticed during the first evaluation.
        create_graph: Leave gradients with their graph, for optimizers that differentiate them themselves.

    Attributes:
        parameters: The trainable parameters, in the optimizer's order.
        first_loss: Loss of the first evaluation, detached; `None` before it.
    """

    def __init__(
        self,
        loss: Callable[[], Tensor],
        parameters: Iterable[Tensor],
        *,
        ledger: Ledger | None = None,
        model: nn.Module | None = None,
        create_graph: bool = False,
    ) -> None:
        self.parameters: list[Tensor] = [p for p in parameters if p.requires_grad]
        self.first_loss: Tensor | None = None
        self._loss = loss
        self._ledger = ledger if ledger is not None else Ledger()
        self._normalizers = None if model is None else [m for m in model.modules() if _keeps_statistics(m)]
        self._create_graph = create_graph

    def __call__(self) -> Tensor:
        """Evaluate the loss and leave fresh gradients in `p.grad` (`None` for unused parameters).

        Returns:
            The loss, detached.

        Raises:
            TypeError: The loss is not a scalar tensor with a graph.
        """
        with self._evaluation(second_order=self._create_graph):
            loss = self._forward()
            if self._create_graph:
                self._set_gradients(self._gradients(loss))
            else:
                loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def with_hvp(self, vectors: Sequence[Vectors]) -> tuple[Tensor, list[list[Tensor]]]:
        """Evaluate like a call, and multiply the Hessian at the same point with each of `vectors`.

        Gradient and products share one forward pass; the cost is one gradient and one Hessian-vector product for
        each entry of `vectors`. Where the gradient does not depend on a parameter, the product is zero.

        Args:
            vectors: One entry per product, each with one tensor per entry of `parameters`.

        Returns:
            The loss, detached, and per entry of `vectors` the product, shaped like `parameters`.

        Raises:
            TypeError: The loss is not a scalar tensor with a graph.
        """
        with self._evaluation(second_order=True):
            loss = self._forward()
            gradients = self._gradients(loss)
            products = [
                self._product(gradients, vector, retain_graph=last < len(vectors))
                for last, vector in enumerate(vectors, start=1)
            ]
            self._ledger.hvps += len(vectors)
        self._set_gradients([None if g is None else g.detach() for g in gradients])
        return loss.detach(), products

    def _forward(self) -> Tensor:
        for parameter in self.parameters:
            parameter.grad = None
        loss = self._loss()
        if not isinstance(loss, Tensor) or loss.dim() != 0 or not loss.requires_grad:
            raise TypeError(
                "the closure must return the loss as a scalar tensor with its graph: compute it under "
                f"torch.enable_grad() and neither detach it nor call .item(); got {_describe(loss)}"
            )
        self._ledger.forwards += 1
        self._ledger.gradients += 1
        if self.first_loss is None:
            self.first_loss = loss.detach()
        return loss

    def _gradients(self, loss: Tensor) -> tuple[Tensor | None, ...]:
        return torch.autograd.grad(loss, self.parameters, create_graph=True, allow_unused=True)

    def _product(
        self, gradients: Sequence[Tensor | None], vector: Vectors, *, retain_graph: bool
    ) -> list[Tensor]:
        pairs = [(g, v) for g, v in zip(gradients, vector, strict=True) if g is not None and g.requires_grad]
        if not pairs:
            return [torch.zeros_like(p) for p in self.parameters]
        roots, cotangents = zip(*pairs, strict=True)
        return list(
            torch.autograd.grad(
                roots, self.parameters, cotangents, retain_graph=retain_graph, materialize_grads=True
            )
        )

    def _set_gradients(self, gradients: Iterable[Tensor | None]) -> None:
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient

    @contextmanager
    def _evaluation(self, *, second_order: bool) -> Iterator[None]:
        """Set up one evaluation: gradients on, statistics moved only the first time, twice differentiable ops."""
        with ExitStack() as stack:
            stack.enter_context(torch.enable_grad())
            stack.enter_context(self._ledger.objective_at_work())
            if second_order:
                # The fused attention kernels have no second derivative; the plain one has.
                stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            if self.first_loss is not None:
                stack.enter_context(_frozen_statistics(self._normalizers or []))
            elif self._normalizers is None:
                self._normalizers = stack.enter_context(_noticed_normalizers())
            yield


def as_objective(closure: Callable[[], Any] | None, parameters: Iterable[Tensor]) -> Objective:
    """Return `closure` itself when it is an objective, else an objective around the loss that it returns.

    Args:
        closure: An objective, or a function that returns the loss with its graph and does not call `backward`.
        parameters: Parameters of the optimizer.

    Raises:
        TypeError: There is no closure.
    """
    if isinstance(closure, Objective):
        return closure
    if closure is None:
        raise TypeError("this optimizer evaluates the loss itself: call step(lambda: loss_fn(model(x), y))")
    return Objective(closure, parameters)


def _keeps_statistics(module: nn.Module) -> bool:
    return bool(getattr(module, "track_running_stats", False))


@contextmanager
def _noticed_normalizers() -> Iterator[list[nn.Module]]:
    """Collect the modules with running statistics whose forward runs inside."""
    noticed: list[nn.Module] = []

    def notice(module: nn.Module, _inputs: Any) -> None:
        if _keeps_statistics(module):
            noticed.append(module)

    handle = nn.modules.module.register_module_forward_pre_hook(notice)
    try:
        yield noticed
    finally:
        handle.remove()


@contextmanager
def _frozen_statistics(normalizers: Sequence[nn.Module]) -> Iterator[None]:
    """Normalise by the batch's own statistics and leave the running ones alone.

    Setting the momentum to zero instead would let a NaN in the batch into the running statistics.
    """
    training = [module for module in normalizers if module.training]
    for module in training:
        module.track_running_stats = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for module in training:
            module.track_running_stats = True  # type: ignore[assignment]


def _describe(loss: object) -> str:
    if isinstance(loss, Tensor):
        graph = "with" if loss.requires_grad else "without"
        return f"a tensor of shape {tuple(loss.shape)} {graph} a graph"
    return f"{type(loss).__name__}"
