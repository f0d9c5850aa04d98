"""Which epoch of a run was the best one, and the weights that it left."""

from __future__ import annotations

import copy
import math
from typing import Any

from torch import nn

from benchbench.optim.execution.buffers import state_of
from benchbench.values import EpochRecord


class Best:
    """The best epoch so far.

    Args:
        metric: Name of the metric that decides, such as `validation/accuracy`; NaN is the worst of its values.
        higher_is_better: Its direction.
        keep_weights: Whether to keep a copy of the weights, so that the epoch can be returned to.

    Attributes:
        record: What that epoch gave; `None` before the first.
        weights: The model's state after it (`state_of`), empty unless it is kept.
    """

    def __init__(self, metric: str, higher_is_better: bool, *, keep_weights: bool) -> None:
        self.metric = metric
        self.record: EpochRecord | None = None
        self.weights: dict[str, Any] = {}
        self._higher_is_better = higher_is_better
        self._keep_weights = keep_weights

    def consider(self, record: EpochRecord, model: nn.Module) -> None:
        """Take an epoch that has just ended for the best one, if it is better than those before."""
        if self.record is not None and self._rank(record) <= self._rank(self.record):
            return
        self.record = record
        if self._keep_weights:
            self.weights = {name: copy.deepcopy(value) for name, value in state_of(model).items()}

    def _rank(self, record: EpochRecord) -> float:
        value = record.metrics[self.metric]
        if math.isnan(value):
            return -math.inf
        return value if self._higher_is_better else -value
