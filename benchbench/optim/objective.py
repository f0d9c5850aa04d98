"""The one contract between the harness and an optimizer: `optimizer.step(objective)`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchbench.optim.execution.buffers import ModelBuffers, noticed_modules
from benchbench.optim.execution.parts import Evaluated, Part, added, owned, scaled
from benchbench.optim.execution.precision import LossScaler
from benchbench.optim.execution.ranks import Ranks
from benchbench.optim.execution.returned_loss import ReturnedLoss
from benchbench.optim.execution.second_derivatives import explained_second_order, reject_once_differentiable
from benchbench.optim.ledger import Ledger
from benchbench.optim.perturbation import global_norm
from benchbench.optim.second_order import FastSecondDerivatives

Vectors = Sequence[Tensor]
"""One tensor per trainable parameter, of its shape, in the order of `Objective.parameters`."""


class Objective:
    """The loss of one step, on one mini-batch, as a function of the parameters.

    Calling it is torch's own closure: it leaves fresh gradients in `p.grad` and returns the loss.
    `with_hvp` does the same and also returns Hessian-vector products. An objective lives for one step:
    buffers, such as the running statistics of batch norm, move only in its first evaluation, however often and at
    whatever point it is evaluated after that.

    A mini-batch may come in parts, which are evaluated one after the other: loss, gradient and products are the sums
    over the parts, each times its weight. However many there are, that is one evaluation.

    Args:
        loss: Computes the loss (a scalar with a graph) at the current parameters; or the parts of the mini-batch.
        parameters: Parameters of the optimizer; those that require no gradient are left out.
        ledger: Where evaluations are counted; by default, nowhere that anyone sees.
        buffers: Those of the model; by default its modules are noticed during the first evaluation.
        create_graph: Leave gradients with their graph, for optimizers that differentiate them themselves.
        clip_norm: Largest Euclidean norm of the gradient over all parameters, which is scaled down to it as
            `torch.nn.utils.clip_grad_norm_` does. Products are those of the Hessian, never scaled, and so is what an
            optimizer computes from the graph of the gradient: the SASSHA authors' released code for GPT-2 clips
            gradients alone.
        scaler: Scales the loss of evaluations that need no second derivative.
        ranks: This process among those that share the mini-batch, whose parts of it are `loss`. Loss, gradient and
            products are the sums over all of them.
        watch: Called after every evaluation, at the point where it was made, the gradients in `p.grad`.

    Raises:
        ValueError: Several ranks share the mini-batch, and gradients have to keep their graph.

    Attributes:
        parameters: The trainable parameters, in the optimizer's order.
        first_loss: Loss of the first evaluation, detached; `None` before it.
        create_graph: Whether a call leaves gradients with their graph.
    """

    def __init__(
        self,
        loss: Callable[[], Tensor] | Sequence[Part],
        parameters: Iterable[Tensor],
        *,
        ledger: Ledger | None = None,
        buffers: ModelBuffers | None = None,
        create_graph: bool = False,
        clip_norm: float | None = None,
        scaler: LossScaler | None = None,
        ranks: Ranks | None = None,
        watch: Callable[[], None] | None = None,
    ) -> None:
        if create_graph and ranks is not None:
            raise ValueError("gradients that are summed over ranks have no graph: create_graph needs a single rank")
        self._all_parameters = list(parameters)
        self.parameters: list[Tensor] = [p for p in self._all_parameters if p.requires_grad]
        self.first_loss: Tensor | None = None
        self._parts = [Part(loss)] if callable(loss) else list(loss)
        self._ledger = ledger if ledger is not None else Ledger()
        self._buffers = buffers
        self._clip_norm = clip_norm
        self._scaler = scaler
        self._ranks = ranks
        self._watch = watch
        self._unreduced = False
        self.create_graph = create_graph

    def __call__(self, backward: bool = True) -> Tensor:
        """Evaluate the loss and leave fresh gradients in `p.grad` (`None` for unused and frozen parameters).

        Args:
            backward: `False` evaluates the loss alone, as a line search does, and leaves `p.grad` as it is.

        Returns:
            The loss. An optimizer may differentiate it itself: that gives the gradient in `p.grad`, at no cost.

        Raises:
            TypeError: The loss is not a scalar tensor with a graph.
        """
        if not backward:
            return self._value()
        with self._evaluation(second_order=self.create_graph):
            if self.create_graph:
                found = reduce(added, map(self._gradients_with_graph, self._parts))
            else:
                found = self._accumulated_gradients()
            return self._finish(found).value

    def with_hvp(self, vectors: Sequence[Vectors]) -> tuple[Tensor, list[list[Tensor]]]:
        """Evaluate like a call, and multiply the Hessian at the same point with each of `vectors`.

        Gradient and products share one forward pass (of each part); the cost is one gradient and one Hessian-vector
        product for each entry of `vectors`. Where the gradient does not depend on a parameter, the product
        is zero.

        Args:
            vectors: One entry per product, each with one tensor per entry of `parameters`.

        Returns:
            The loss, detached, and per entry of `vectors` the product, shaped like `parameters`. Products may
            share memory with each other: read them, do not write into them.

        Raises:
            TypeError: The loss is not a scalar tensor with a graph.
            NotImplementedError: An operation in the loss has no second derivative.
            RuntimeError: A gradient is sparse.
        """
        with self._evaluation(second_order=True), explained_second_order():
            # One part after the other: the graph of the last is gone before the next is built.
            found = reduce(added, (self._gradients_and_products(part, vectors) for part in self._parts))
            found = self._over_ranks(replace(found, gradients=owned(found.gradients)))
            self._finish(found)
        return found.loss, found.products

    @contextmanager
    def unreduced(self) -> Iterator[None]:
        """Leave gradients and products as those of this rank's own share of the mini-batch, inside.

        Losses stay those of the whole mini-batch. With a single rank, that is the same.
        """
        before, self._unreduced = self._unreduced, True
        try:
            yield
        finally:
            self._unreduced = before

    def _value(self) -> Tensor:
        """Evaluate the loss alone; with a graph where a gradient computed from that is the gradient of a call."""
        as_it_is = len(self._parts) == 1 and not (self._clip_norm or self._scaler or self._ranks)
        wanted = torch.is_grad_enabled() and as_it_is
        with self._evaluation(second_order=self.create_graph), torch.set_grad_enabled(wanted):
            losses = [part.loss if self.create_graph else part.first_order_loss or part.loss for part in self._parts]
            values = [
                loss() if part.weight == 1 else loss() * part.weight
                for part, loss in zip(self._parts, losses, strict=True)
            ]
            loss = reduce(torch.add, values)
            if self._ranks is not None:
                [loss] = self._ranks.total([loss])
        self._ledger.add(forwards=1)
        if self.first_loss is None:
            self.first_loss = loss.detach()
        return loss

    def _accumulated_gradients(self) -> Evaluated:
        """Let autograd sum up the gradients of all parts in `p.grad`."""
        losses = []
        for part in self._parts:
            loss = self._forward(part, part.first_order_loss or part.loss)
            weight = _weight(part, loss)
            if self._scaler is not None:
                weight = self._scaler.scale * (1 if weight is None else weight)
            loss.backward(weight)  # type: ignore[no-untyped-call]
            losses.append(_weighted(part, loss))
        found = self._over_ranks(Evaluated(reduce(torch.add, losses), [each.grad for each in self.parameters]))
        if self._scaler is None:
            return found
        total = self._ranks.total if self._ranks is not None and self._unreduced else None
        return replace(found, gradients=self._scaler.unscaled(found.gradients, total))

    def _gradients_with_graph(self, part: Part) -> Evaluated:
        loss = self._forward(part, part.loss)
        gradients = self._gradients(part, loss)
        reject_once_differentiable([loss, *gradients])
        self._ledger.mark(gradients)
        return Evaluated(_weighted(part, loss), gradients)

    def _gradients_and_products(self, part: Part, vectors: Sequence[Vectors]) -> Evaluated:
        loss = self._forward(part, part.loss)
        gradients = self._gradients(part, loss)
        reject_once_differentiable([loss, *gradients])
        products = [
            self._product(gradients, vector, retain_graph=last < len(vectors))
            for last, vector in enumerate(vectors, start=1)
        ]
        return Evaluated(_weighted(part, loss), [None if g is None else g.detach() for g in gradients], products)

    def _forward(self, part: Part, evaluate: Callable[[], Tensor]) -> Tensor:
        if part is self._parts[0]:
            self._ledger.returned = None  # which keeps gradients
            for parameter in self._all_parameters:  # a frozen one may have a gradient left from before
                parameter.grad = None
        if self._ranks is not None:
            self._ranks.counts = part.weight > 0
        loss = evaluate()
        if not isinstance(loss, Tensor) or loss.dim() != 0 or not loss.requires_grad:
            raise TypeError(
                "the closure must return the loss as a scalar tensor with its graph: compute it under "
                f"torch.enable_grad() and neither detach it nor call .item(); got {_describe(loss)}"
            )
        if part is self._parts[0] and any(parameter.grad is not None for parameter in self.parameters):
            raise TypeError(
                "the closure must not call backward(): it returns the loss, the optimizer differentiates it"
            )
        return loss

    def _gradients(self, part: Part, loss: Tensor) -> list[Tensor | None]:
        return list(
            torch.autograd.grad(loss, self.parameters, _weight(part, loss), create_graph=True, allow_unused=True)
        )

    def _product(self, gradients: Sequence[Tensor | None], vector: Vectors, *, retain_graph: bool) -> list[Tensor]:
        if any(g is not None and g.is_sparse for g in gradients):
            raise RuntimeError("sparse gradients have no Hessian-vector product: build the embedding with sparse=False")
        pairs = [(g, v) for g, v in zip(gradients, vector, strict=True) if g is not None and g.requires_grad]
        if not pairs:
            return [torch.zeros_like(p) for p in self.parameters]
        roots, cotangents = zip(*pairs, strict=True)
        return list(
            torch.autograd.grad(roots, self.parameters, cotangents, retain_graph=retain_graph, materialize_grads=True)
        )

    def _over_ranks(self, found: Evaluated) -> Evaluated:
        if self._ranks is None:
            return found
        if not self._unreduced:
            return self._ranks.summed(found, self.parameters)
        [loss] = self._ranks.total([found.loss])
        share = sum(part.weight for part in self._parts)
        return replace(scaled(found, 1 / share) if share else found, loss=loss)

    def _finish(self, found: Evaluated) -> ReturnedLoss:
        """Leave the gradients where optimizers look for them, and write down an evaluation of the mini-batch."""
        gradients = self._clipped(found.gradients)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self._ledger.add(forwards=1, gradients=1, hvps=len(found.products))
        returned = ReturnedLoss(found.loss, self.parameters, gradients, with_graph=self.create_graph)
        self._ledger.returned = returned
        if self.first_loss is None:
            self.first_loss = found.loss
        if self._watch is not None:
            self._watch()
        return returned

    def _clipped(self, gradients: list[Tensor | None]) -> list[Tensor | None]:
        if self._clip_norm is None or all(gradient is None for gradient in gradients):
            return gradients
        gradients = [None if gradient is None else gradient.resolve_conj() for gradient in gradients]
        present = [gradient for gradient in gradients if gradient is not None]
        values = [gradient.detach() for gradient in present]
        # torch.nn.utils.clip_grad_norm_ has the same factor. The host does not look at the norm, so nothing waits.
        factor = (self._clip_norm / (global_norm(values) + 1e-6)).clamp(max=1.0)
        if not self.create_graph:
            # Themselves, as they have no graph: the original of a detached sparse tensor does not see what is written.
            torch._foreach_mul_(present, factor)
            return gradients
        # The value is clipped, its derivative is that of the gradient itself.
        offsets = iter(torch._foreach_mul(values, factor - 1))
        return [None if gradient is None else gradient + next(offsets) for gradient in gradients]

    @contextmanager
    def _evaluation(self, *, second_order: bool) -> Iterator[None]:
        """Set up one evaluation: gradients on, buffers moved only the first time, differentiable twice."""
        with ExitStack() as stack:
            stack.enter_context(torch.enable_grad())
            stack.enter_context(self._ledger.objective_at_work())
            if second_order:
                self._ledger.before_second_order()
                # The fused attention kernels have no second derivative; the plain one has.
                stack.enter_context(sdpa_kernel(SDPBackend.MATH))
                stack.enter_context(FastSecondDerivatives())
            if self._buffers is None:
                self._buffers = ModelBuffers(stack.enter_context(noticed_modules()))
            elif self.first_loss is not None:
                stack.enter_context(self._buffers.untouched())
            yield


def _weight(part: Part, loss: Tensor) -> Tensor | None:
    """Return what the loss is differentiated with, so that gradients come out weighted."""
    return None if part.weight == 1 else torch.full_like(loss, part.weight)


def _weighted(part: Part, loss: Tensor) -> Tensor:
    return loss.detach() if part.weight == 1 else loss.detach() * part.weight


class EvaluatedOnceError(RuntimeError):
    """An optimizer asks for more than the one evaluation that it shares with others."""


class SharedEvaluation(Objective):
    """An evaluation that has been made, for each of several optimizers that step with its gradient.

    Args:
        loss: The loss that was returned; the gradient is in `p.grad`.
        sharer: The optimizer's name in messages.
    """

    def __init__(self, loss: Tensor, sharer: str) -> None:
        super().__init__(lambda: loss, [])
        self._loss = loss
        self._sharer = sharer

    def __call__(self, backward: bool = True) -> Tensor:
        """Return the loss, the first time.

        Raises:
            EvaluatedOnceError: The loss alone is wanted, or a second evaluation.
        """
        if self.first_loss is not None or not backward:
            raise EvaluatedOnceError(f"{self._sharer} evaluates the loss itself, but shares one gradient with others")
        self.first_loss = self._loss.detach()
        return self._loss

    def with_hvp(self, vectors: Sequence[Vectors]) -> tuple[Tensor, list[list[Tensor]]]:
        """Refuse: there is no graph that could be differentiated again.

        Raises:
            EvaluatedOnceError: Always.
        """
        raise EvaluatedOnceError(f"{self._sharer} wants second derivatives, but shares one gradient with others")


def as_objective(closure: Callable[[], Any] | None, parameters: Iterable[Tensor]) -> Objective:
    """Return `closure` itself when it is an objective, else an objective around the loss that it returns.

    Args:
        closure: An objective, or a function that returns the loss with its graph and does not call
            `backward`.
        parameters: Parameters of the optimizer.

    Raises:
        TypeError: There is no closure.
    """
    if isinstance(closure, Objective):
        return closure
    if closure is None:
        raise TypeError("this optimizer evaluates the loss itself: call step(lambda: loss_fn(model(x), y))")
    return Objective(closure, parameters)


def _describe(loss: object) -> str:
    if isinstance(loss, Tensor):
        graph = "with" if loss.requires_grad else "without"
        return f"a tensor of shape {tuple(loss.shape)} {graph} a graph"
    return f"{type(loss).__name__}"
