"""A suite after loading, and its runs with what is known of them."""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue, PrivateAttr

from benchbench.problems import SourceMap
from benchbench.values.frozen import Frozen as Frozen  # noqa: PLC0414 - all other modules take both from here
from benchbench.values.frozen import canonical_json as canonical_json  # noqa: PLC0414
from benchbench.values.results import EpochRecord, RunResult
from benchbench.values.specs import Protocol, RunSpec
from benchbench.values.tuning import Space, Tuned, Tuning


class Method(Frozen):
    """A row of the tables.

    Attributes:
        label: The method's label, its swept values included.
        category: What it is grouped under.
        base: Its label in the suite file, shared by all combinations of a sweep; empty where nothing is swept.
        swept: The combination of swept values, by hyperparameter.
        tuned: How its settings were chosen, by label of the workload, where they were tuned.
        tuned_on: The data that its settings were chosen on, where that is declared.
    """

    label: str
    category: str = ""
    base: str = ""
    swept: dict[str, JsonValue] = {}
    tuned: dict[str, Tuned] = {}
    tuned_on: Literal["validation", "test"] | None = None


class ColumnLabel(Frozen):
    """The header of a column.

    Attributes:
        label: The header itself.
        group: Header above it, shared with the neighbours that have the same one, or empty.
    """

    label: str
    group: str = ""

    @property
    def full_label(self) -> str:
        """The header with its group."""
        return f"{self.group} / {self.label}" if self.group else self.label


class Heading(ColumnLabel):
    """A column of the tables: what a workload is called there.

    Attributes:
        metrics: Metrics to show; empty: what the results hold.
    """

    metrics: tuple[str, ...] = ()


class Suite(Frozen):
    """A suite after loading: defaults, overrides and sweeps are applied, every run is spelled out.

    Attributes:
        name: Short name; also the name of the MLflow experiment.
        title: Headline of its tables.
        protocol: What chooses the best epoch of its runs.
        seeds: Seeds of every combination of method and workload.
        methods: Rows of the tables, in the suite's order, sweeps expanded.
        workloads: Labels of the workloads, in the suite's order.
        headings: What workloads are called in tables, by label; a label that is not here stands for itself.
        targets: Value of the selection metric that has to be reached, by label of a workload.
        held_out: Label of the base workload, by label of its held-out variant.
        exclusive: Whether a run gets its device, or on a CPU the machine, to itself, for the sake of its times.
        mixed_devices: Whether tables of seconds may put those of different devices next to each other.
        robust_within: Settings within so many percent of the best value count as near it, in tables of robustness.
        baseline: Label of the method that others are compared with; empty: the first one.
        tables: Names of the tables it wants.
        tuning: How hyperparameters are to be chosen, if they are.
        spaces: What is to be chosen: a search space by hyperparameter, by label of a workload and of a method.
        specs: Every run: for each workload, each method, each seed.
        engine_options: What an engine must ask for on behalf of every run, by the engine's name.
    """

    name: str
    title: str
    protocol: Protocol = "holdout"
    seeds: tuple[int, ...]
    methods: tuple[Method, ...]
    workloads: tuple[str, ...]
    headings: dict[str, Heading] = {}
    targets: dict[str, float] = {}
    held_out: dict[str, str] = {}
    exclusive: bool = False
    mixed_devices: bool = False
    robust_within: float = 5.0
    baseline: str = ""
    tables: tuple[str, ...]
    tuning: Tuning | None = None
    spaces: dict[str, dict[str, dict[str, Space]]] = {}
    specs: tuple[RunSpec, ...]
    engine_options: dict[str, dict[str, JsonValue]] = {}
    _source: SourceMap = PrivateAttr(default_factory=SourceMap)

    def heading(self, workload: str) -> Heading:
        """Return what the workload with this label is called in tables."""
        return self.headings.get(workload) or Heading(label=workload)

    @property
    def source(self) -> SourceMap:
        """Locations of its parts in the file that it was loaded from."""
        return self._source

    def with_source(self, source: SourceMap) -> Suite:
        """Return the suite with another source map."""
        suite = self.model_copy()
        suite._source = source
        return suite


class Row(Frozen):
    """One run as the reports see it: the labels of a suite, and what tracking holds for its key.

    Attributes:
        spec: The run's spec.
        result: Its result, or `None` when it has not been run (or not to an end).
        records: What it recorded after each epoch, where that is wanted and known.
        changes: Which code it was made with has changed since, where that is known.
        study: Study that it is one of several trials of; `None`: it is a study of its own.
    """

    spec: RunSpec
    result: RunResult | None = None
    changes: tuple[str, ...] = ()
    records: tuple[EpochRecord, ...] = ()
    study: int | None = None

    @property
    def complete(self) -> bool:
        """True if the run has a conclusive result, and everything was measured that was to be."""
        return self.result is not None and self.spec.is_answered_by(self.result)
