"""Compiled losses: gradients by torch.compile, everything that needs a second derivative by eager torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_COMPILER_ERRORS = (torch._dynamo.exc.TorchDynamoException, torch._dynamo.exc.FailOnRecompileLimitHit)
"""torch's errors for code that cannot be compiled, or too often (for batches of many shapes)."""


class CompiledLoss:
    """A loss that is compiled when it is first called, and says what became of that.

    The whole loss is one graph, without breaks: where torch.compile cannot do that, every call is eager from then on,
    and `account` says why. Each shape of batch is compiled once, which takes seconds to a minute.

    Compiled code has no second derivative, so evaluations that need one call the eager loss instead.

    Args:
        loss: Maps a batch to the loss.

    Attributes:
        failure: Why calls are eager, or an empty text.
    """

    def __init__(self, loss: Callable[[Any], Tensor]) -> None:
        self.failure = ""
        self._eager = loss
        self._compiled = torch.compile(loss, fullgraph=True, dynamic=False)

    def __call__(self, batch: Any) -> Tensor:
        """Return the loss on a batch."""
        if self.failure:
            return self._eager(batch)
        try:
            return self._compiled(batch)
        except _COMPILER_ERRORS as error:
            lines = str(error).strip().splitlines()
            self.failure = f"{type(error).__name__}: {lines[0] if lines else ''}"
            return self._eager(batch)

    def account(self, hvps: int) -> str:
        """Say in one line what was compiled in a run that computed `hvps` Hessian-vector products."""
        if self.failure:
            return f"nothing compiled, all eager ({self.failure})"
        return "gradients compiled" + (", Hessian steps eager" if hvps else "")
