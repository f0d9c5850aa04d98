"""A run while it is being written to the tracking store."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchbench.runs.folder import RunFolder, Tail
from benchbench.tracking.entities import epoch_metrics, metric, sharpness_tags
from benchbench.values import Metrics, RunResult, RunSpec
from benchbench.values.sharpness.values import PREFIX

if TYPE_CHECKING:
    from mlflow.entities import Metric, RunInfo


@dataclass
class TrackedRun:
    """A run as it is being written to MLflow.

    Attributes:
        info: What MLflow knows it by.
        folder: The run's files.
        spec: The run's spec.
        parameters: What MLflow shows as the run's parameters, until they are written.
        measured: Digests of the settings by which MLflow has the run's sharpness already.
        looks: How often it has been looked at for something new.
        tail: The epochs that are still to be written.
        last: The metrics of the last epoch that has been written.
    """

    info: RunInfo
    folder: RunFolder
    spec: RunSpec
    parameters: Mapping[str, object] = field(default_factory=dict)
    measured: Collection[str] = ()
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

    @property
    def has_ended(self) -> bool:
        """True if it had ended before this command, so that measurements alone are added to it."""
        return bool(self.info.status != "RUNNING")

    def sharpness(self, result: RunResult) -> tuple[Metrics, dict[str, str]]:
        """Return the measurements that MLflow does not have yet, as metrics and as tags.

        What the spec asks for has the plain names, unless these are taken, and the others have their settings' digest
        in their names: MLflow keeps every metric for ever.
        """
        shown = self.folder.with_sharpness(result, self.spec).sharpness_settings
        metrics, tags = Metrics(), dict[str, str]()
        for each in self.folder.summaries():
            if each.settings not in self.measured:
                plain = each.settings == shown and not self.measured
                place = f"final/{PREFIX}" if plain else f"final/{PREFIX}{each.settings}/"
                metrics |= {place + name.removeprefix(PREFIX): value for name, value in each.metrics.items()}
                tags |= sharpness_tags(each, result.key)
        return metrics, tags

    def diagnostics(self) -> list[Metric]:
        """Return the numbers of the diagnostic records, by training step; histograms are in the file alone."""
        return [
            metric(f"diagnostics/{name}", value, record.step)
            for record in self.folder.diagnostics()
            for name, value in record.values.items()
        ]
