"""Half precision: what plain gradients are computed in, and the scaling that keeps small ones from vanishing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from benchbench.optim.execution.flat import flattened

TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""Types of the forward pass by their names in a suite."""

_FIRST_SCALE = 2.0**16
_GROWTH, _BACKOFF, _GROWTH_INTERVAL = 2.0, 0.5, 2000
"""Those of `torch.amp.GradScaler`."""


def in_half_precision(loss: Callable[[], Tensor], name: Literal["bf16", "fp16"], device: torch.device) -> Tensor:
    """Return a loss that is computed under `torch.autocast`, itself in at least single precision."""
    with torch.autocast(device.type, TYPES[name]):
        value = loss()
    return value.float() if value.dtype in TYPES.values() else value


class LossScaler:
    """Dynamic loss scaling (Micikevicius et al. 2018, "Mixed precision training") that never waits for the device.

    The loss is multiplied by a scale before it is differentiated, and the gradient divided by it. A gradient with an
    entry that is NaN or infinite becomes zero as a whole and halves the scale; 2,000 finite ones in a row double it.
    `torch.amp.GradScaler` does the same, but leaves out the optimizer's step, for which the host has to wait for the
    device, and knows nothing of optimizers that evaluate several times.

    Args:
        device: Where the gradients lie.
    """

    def __init__(self, device: torch.device) -> None:
        self._scale = torch.full((), _FIRST_SCALE, device=device)
        self._finite_in_a_row = torch.zeros((), dtype=torch.int32, device=device)
        self._overflows = torch.zeros((), dtype=torch.int64, device=device)

    @property
    def scale(self) -> Tensor:
        """The factor of the loss, on the device."""
        return self._scale

    @property
    def overflows(self) -> int:
        """Number of gradients that became zero; reading it waits for the device."""
        return int(self._overflows.item())

    def unscaled(
        self, gradients: Sequence[Tensor | None], total: Callable[[Sequence[Tensor]], list[Tensor]] | None = None
    ) -> list[Tensor | None]:
        """Return gradients without the scale, or zeros where one of them is not finite; adapt the scale.

        Args:
            gradients: The scaled gradients.
            total: Sums over all ranks, where each has gradients of its own: the scale stays the same on all.
        """
        given = [gradient for gradient in gradients if gradient is not None]
        buffers, views = flattened(given, like=given)
        if buffers:
            overflow = torch.zeros_like(self._scale)
            torch._amp_foreach_non_finite_check_and_unscale_(buffers, overflow, self._scale.reciprocal())
            if total is not None:
                [overflow] = total([overflow])
            found = overflow.bool()
            for buffer in buffers:
                buffer.masked_fill_(found, 0)
            self._overflows += found
            torch._amp_update_scale_(self._scale, self._finite_in_a_row, overflow, _GROWTH, _BACKOFF, _GROWTH_INTERVAL)
        rest = iter(views)
        return [None if gradient is None else next(rest) for gradient in gradients]

    def state(self) -> dict[str, Tensor]:
        """Return what a run needs to go on as if it had not stopped."""
        return {
            "scale": self._scale.clone(),
            "finite_in_a_row": self._finite_in_a_row.clone(),
            "overflows": self._overflows.clone(),
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state` returned.

        Raises:
            ValueError: The scale is not a positive finite number.
        """
        if not (state["scale"].isfinite() and state["scale"] > 0):
            raise ValueError(f"the scale of the loss must be a positive finite number, got {state['scale'].item()}")
        self._scale.copy_(state["scale"])
        self._finite_in_a_row.copy_(state["finite_in_a_row"])
        self._overflows.copy_(state["overflows"])
