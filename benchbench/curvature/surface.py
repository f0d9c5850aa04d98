"""The mean loss over a data set as a function of the parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import chain
from typing import Any, Literal

import torch
from torch import Tensor

from benchbench.devices import use
from benchbench.optim.execution.buffers import ModelBuffers
from benchbench.optim.ledger import Ledger
from benchbench.optim.objective import Objective
from benchbench.optim.perturbation import Displacement
from benchbench.values.sharpness.values import SurfaceFacts


class LossSurface:
    """L(x) = sum over batches of size(b) loss(b; x) / sum of size(b), streamed batch by batch.

    Points and directions are flat vectors: all trainable parameters in order, in one tensor. Evaluations leave the
    model as it was: weights, gradients in `p.grad`, buffers and torch's random generators. They do not wait
    for the device but once per pass over the data.

    The loss has to be a function of the parameters alone: no augmentation, dropout off, the same batches in every pass.
    In the model's training mode batch norm normalises by each batch, so the loss depends on how the data are divided.

    Everything is computed in the type of the parameters. Convert the model and the data to float64 beforehand where
    digits matter: a difference of two losses in float32 has an absolute error of about 1e-7 times the loss.

    Args:
        parameters: Parameters of the model; those that require no gradient are held fixed.
        batches: Returns a fresh iterator over the data set.
        loss: The mean loss over the examples of a batch, a scalar with its graph.
        size: Number of examples in a batch: the batch's weight in the mean.
        buffers: Those of the model, `ModelBuffers(model.modules())`.
        all_reduce: Sums tensors in place over data-parallel ranks, each of which has its share of the data.
        ledger: Where evaluations are counted, one per batch.

    Raises:
        ValueError: There are no trainable parameters, or they are not all float32 or all float64 on one device.

    Attributes:
        parameters: The trainable parameters.
        dimension: Number of their entries.
        ledger: Where evaluations are counted.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        batches: Callable[[], Iterable[Any]],
        loss: Callable[[Any], Tensor],
        size: Callable[[Any], int],
        *,
        buffers: ModelBuffers,
        all_reduce: Callable[[list[Tensor]], None] | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        self.parameters = [p for p in parameters if p.requires_grad]
        self.dtype, self.device = _common_type(self.parameters)
        self.dimension = sum(p.numel() for p in self.parameters)
        self.ledger = ledger if ledger is not None else Ledger()
        self._batches = batches
        self._loss = loss
        self._size = size
        self._buffers = buffers
        self._all_reduce = all_reduce
        self._examples = 0
        self._batch_count = 0

    def value(self) -> Tensor:
        """Return the loss, a scalar in float64."""
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        self._average(total, [total], self._batch_value)
        return total

    def gradient(self) -> Tensor:
        """Return the gradient, flat; it is zero for parameters that the loss does not depend on."""
        total = torch.zeros(self.dimension, dtype=self.dtype, device=self.device)
        self._average(total, self.split(total), self._batch_gradient)
        return total

    def hvp(self, vectors: Tensor) -> Tensor:
        """Multiply the Hessian with several vectors in one pass over the data.

        The pass costs one gradient and `len(vectors)` Hessian-vector products per batch.

        Args:
            vectors: Vectors as rows, (number, dimension).

        Returns:
            The products as rows, of the same shape.
        """
        total = torch.zeros_like(vectors)
        parts = [part for row in total for part in self.split(row)]
        self._average(total, parts, partial(self._batch_products, [self.split(row) for row in vectors]))
        return total

    def at(self, offset: Tensor) -> AbstractContextManager[None]:
        """Evaluate at the present weights plus `offset` (flat) inside; afterwards the weights have their very bits."""
        return Displacement().by(self.parameters, self.split(offset))

    def split(self, vector: Tensor) -> list[Tensor]:
        """Return views of a flat vector, one per parameter and of its shape."""
        parts = torch.split(vector, [p.numel() for p in self.parameters])
        return [part.view(p.shape) for part, p in zip(parts, self.parameters, strict=True)]

    def facts(self) -> SurfaceFacts:
        """Return what the surface was in the latest pass over the data."""
        modes: dict[frozenset[bool], Literal["eval", "train", "mixed", "none"]] = {
            frozenset(): "none",
            frozenset({True}): "train",
            frozenset({False}): "eval",
        }
        return SurfaceFacts(
            parameters=self.dimension,
            dtype=str(self.dtype).removeprefix("torch."),
            batch_norm=modes.get(frozenset(module.training for module in self._buffers.normalizers), "mixed"),
            examples=self._examples,
            batches=self._batch_count,
        )

    def _average(self, total: Tensor, parts: list[Tensor], evaluate: Callable[[Any], Sequence[Tensor]]) -> None:
        """Set `total`, of which `parts` are views, to the weighted mean of what `evaluate` returns for each batch.

        Raises:
            ValueError: There are no data.
        """
        examples = 0
        self._batch_count = 0
        with self._undisturbed():
            for batch in self._batches():
                size = self._size(batch)
                with self._buffers.untouched():
                    torch._foreach_add_(parts, list(evaluate(batch)), alpha=size)
                examples += size
                self._batch_count += 1
        weight = torch.tensor(examples, dtype=torch.float64, device=self.device)
        if self._all_reduce is not None:
            self._all_reduce([total, weight])
        self._examples = int(weight)
        if self._examples == 0:
            raise ValueError("the data set has no examples: there is no loss surface")
        total.div_(weight)

    def _batch_value(self, batch: Any) -> list[Tensor]:
        self.ledger.add(forwards=1)
        with torch.no_grad():
            return [self._loss(batch)]

    def _batch_gradient(self, batch: Any) -> tuple[Tensor, ...]:
        self.ledger.add(forwards=1, gradients=1)
        with torch.enable_grad():
            # Not through the objective: its backward would also write into parameters that are not the surface's.
            return torch.autograd.grad(self._loss(batch), self.parameters, materialize_grads=True)

    def _batch_products(self, vectors: Sequence[list[Tensor]], batch: Any) -> list[Tensor]:
        objective = Objective(partial(self._loss, batch), self.parameters, ledger=self.ledger, buffers=self._buffers)
        _, products = objective.with_hvp(vectors)
        return list(chain.from_iterable(products))

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """Leave gradients and torch's generators (a data loader draws from one) as they are."""
        gradients = [p.grad for p in self.parameters]
        try:
            with use.forked_random_state(self.device):
                yield
        finally:
            for parameter, gradient in zip(self.parameters, gradients, strict=True):
                parameter.grad = gradient


def _common_type(parameters: Sequence[Tensor]) -> tuple[torch.dtype, torch.device]:
    kinds = {(p.dtype, p.device) for p in parameters}
    if not kinds:
        raise ValueError("no trainable parameters: there is no loss surface")
    dtype, device = next(iter(kinds))
    if len(kinds) > 1 or dtype not in (torch.float32, torch.float64):
        found = ", ".join(sorted(f"{dtype} on {device}" for dtype, device in kinds))
        raise ValueError(f"the parameters must all be float32 or all float64, on one device (got {found})")
    return dtype, device
