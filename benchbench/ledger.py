"""The cost ledger: exact counts of what an optimizer asked autograd to compute."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from benchbench.values import Cost


class Ledger:
    """Counts forwards, gradients and Hessian-vector products.

    The objective writes down what it computes. While `metered()` is on, calls that an optimizer makes to autograd
    behind the objective's back are counted as well, so the counts hold for any optimizer.

    Attributes:
        steps: Optimizer steps.
        forwards: Evaluations of the loss.
        gradients: Gradient computations.
        hvps: Hessian-vector products.
    """

    def __init__(self) -> None:
        self.steps = 0
        self.forwards = 0
        self.gradients = 0
        self.hvps = 0
        self._inside_objective = False

    def cost(self, train_seconds: float) -> Cost:
        """Return the counts so far as a value."""
        return Cost(
            steps=self.steps,
            forwards=self.forwards,
            gradients=self.gradients,
            hvps=self.hvps,
            train_seconds=train_seconds,
        )

    @contextmanager
    def objective_at_work(self) -> Iterator[None]:
        """Mark what autograd does inside as the objective's own, which the objective counts itself."""
        before, self._inside_objective = self._inside_objective, True
        try:
            yield
        finally:
            self._inside_objective = before

    @contextmanager
    def metered(self) -> Iterator[None]:
        """Count every call to the autograd engine that the objective does not make itself.

        Every route of differentiation (`Tensor.backward`, `autograd.backward`, `autograd.grad`) calls one private
        function of torch, which is wrapped here. One root that is a scalar is a gradient; anything else is a
        Hessian-vector product, and as many of them as there are batched cotangents.
        """
        engine = torch.autograd._engine_run_backward

        def counted(outputs: Any, *args: Any, **kwargs: Any) -> Any:
            if not self._inside_objective:
                self._count(outputs, args)
            return engine(outputs, *args, **kwargs)

        torch.autograd._engine_run_backward = counted
        try:
            yield
        finally:
            torch.autograd._engine_run_backward = engine

    def _count(self, roots: tuple[torch.Tensor, ...], args: tuple[Any, ...]) -> None:
        if len(roots) == 1 and roots[0].dim() == 0:
            self.gradients += 1
            return
        cotangents = args[0][0] if args and args[0] else None
        batched = cotangents is not None and cotangents.dim() > roots[0].dim()
        self.hvps += cotangents.shape[0] if batched else 1
