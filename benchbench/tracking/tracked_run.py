"""A run while it is being written to the tracking store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchbench.runs.folder import RunFolder, Tail
from benchbench.tracking.entities import epoch_metrics, metric
from benchbench.values import Metrics

if TYPE_CHECKING:
    from mlflow.entities import Metric, RunInfo


@dataclass
class TrackedRun:
    """A run as it is being written to MLflow.

    Attributes:
        info: What MLflow knows it by.
        folder: The run's files.
        parameters: What MLflow shows as the run's parameters, until they are written.
        looks: How often it has been looked at for something new.
        tail: The epochs that are still to be written.
        last: The metrics of the last epoch that has been written.
    """

    info: RunInfo
    folder: RunFolder
    parameters: Mapping[str, object] = field(default_factory=dict)
    looks: int = 0
    tail: Tail = field(init=False)
    last: Metrics = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tail = Tail(self.folder)

    def new_metrics(self) -> list[Metric]:
        """Return what the run's folder has gained in epochs since the last time, as MLflow's metrics."""
        records = self.tail.new()
        if records:
            self.last = records[-1].metrics
        return [metric for record in records for metric in epoch_metrics(record)]

    def diagnostics(self) -> list[Metric]:
        """Return the numbers of the diagnostic records, by training step; histograms are in the file alone."""
        return [
            metric(f"diagnostics/{name}", value, record.step)
            for record in self.folder.diagnostics()
            for name, value in record.values.items()
        ]
