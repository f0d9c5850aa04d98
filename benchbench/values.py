"""The frozen values that travel between the floors of the harness; each one can be written as JSON."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, JsonValue, PrivateAttr, model_validator

from benchbench.frozen import Frozen as Frozen  # noqa: PLC0414 - all other modules take both from here
from benchbench.frozen import canonical_json as canonical_json  # noqa: PLC0414
from benchbench.problems import Place
from benchbench.sharpness.settings import SharpnessSettings

Outcome = Literal["finished", "diverged", "failed", "crashed", "timeout", "interrupted"]
"""How a run ended. `diverged` (a loss that is NaN or infinite) is a result; the four last ones are run again."""

Measurement = Literal["flops", "sharpness"]
"""What a suite can have measured after the training: floating-point operations of a step, as gradient equivalents, and
the sharpness of the solution."""

Protocol = Literal["holdout", "paper"]
"""What chooses the best epoch: `holdout`, a part of the training data that is not trained on, the test data being read
once, at the end; `paper`, the test data itself, evaluated after every epoch, as the SASSHA paper did."""

DiagnosticName = Literal[
    "update_norm", "gradient_norm", "perturbation_norm", "update_cosine", "distance_from_start", "curvature_change"
]
"""What can be recorded beside a step, apart from the optimizer's state."""

Metrics = dict[str, float]
"""Metric name (`split/metric`, such as `test/accuracy`) to its value; accuracies are fractions in [0, 1]."""


class Component(Frozen):
    """An optimizer or a workload: where its factory is found, and the keyword arguments it gets.

    Attributes:
        target: A registered name, `module:attribute` or `path/to/file.py:attribute`.
        parameters: Keyword arguments of the factory, as they stand in the suite.
        digest: Hash of the source file when the target is a file, so that an edited file is a different run.
    """

    target: str
    parameters: dict[str, JsonValue] = {}
    digest: str | None = None


class _Schedule(Frozen):
    warmup_epochs: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Epochs of linear growth from zero to the base value, before the schedule proper begins."""


class Constant(_Schedule):
    """The base value, unchanged (apart from a warm-up)."""

    name: Literal["constant"] = "constant"


class MultiStep(_Schedule):
    """The base value times `gamma` for every milestone that has passed.

    Attributes:
        milestones: Epochs completed before each drop: with 6, epochs 1 to 6 run at the undropped value.
        gamma: Factor of each drop.
    """

    name: Literal["multistep"] = "multistep"
    milestones: Annotated[tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...], Field(min_length=1)]
    gamma: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1


class Piecewise(_Schedule):
    """The base value times a factor that holds from one milestone to the next.

    Attributes:
        milestones: Epochs completed before each change, increasing.
        factors: Factor up to the first milestone, from it to the second, and so on.
    """

    name: Literal["piecewise"] = "piecewise"
    milestones: Annotated[tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...], Field(min_length=1)]
    factors: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...]

    @model_validator(mode="after")
    def _check_counts(self) -> Piecewise:
        expected = len(self.milestones) + 1
        if len(self.factors) != expected:
            raise ValueError(f"factors must have {expected} entries, one more than milestones")
        if any(later <= earlier for earlier, later in pairwise(self.milestones)):
            raise ValueError("milestones must increase")
        return self


class Cosine(_Schedule):
    """Half a cosine, step by step, from the base value to `end_factor` times it at the end of the budget."""

    name: Literal["cosine"] = "cosine"
    end_factor: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


class Linear(_Schedule):
    """A straight line, step by step, from the base value to `end_factor` times it at the end of the budget."""

    name: Literal["linear"] = "linear"
    end_factor: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


class Polynomial(_Schedule):
    """From the base value to `end_factor` times it, step by step, with the remaining budget to the power of `power`."""

    name: Literal["polynomial"] = "polynomial"
    power: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2.0
    end_factor: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


class Plateau(_Schedule):
    """The base value times `gamma` for every time that the metric which chooses the best epoch has stopped improving.

    Attributes:
        gamma: Factor of each drop.
        patience: Epochs in a row without an improvement that are put up with; the next one brings the drop.
        threshold: Share of its best value by which the metric must have improved.
    """

    name: Literal["plateau"] = "plateau"
    gamma: Annotated[float, Field(gt=0, lt=1)] = 0.1
    patience: Annotated[int, Field(ge=0)] = 10
    threshold: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-4


Schedule = Annotated[
    Constant | MultiStep | Piecewise | Cosine | Linear | Polynomial | Plateau, Field(discriminator="name")
]
"""How a hyperparameter of the optimizer's parameter groups changes over a run."""


class Execution(Frozen):
    """How the gradients of a run are computed. All of it changes numbers, if only by rounding.

    Attributes:
        compile: Whether gradients are computed by compiled code.
        accumulate: Parts that a batch is computed in, one after the other.
        clip_norm: Largest Euclidean norm of a gradient, which is scaled down to it, or `None`.
        autocast: Type that the forward passes of plain gradients use; Hessian-vector products are in float32.
        channels_last: Whether plain gradients are computed in the memory format channels-last.
        tf32: Whether matrix products and convolutions in float32 may be computed with TF32.
        deterministic: Whether only deterministic algorithms are used.
        ranks: Processes that share every batch.
        batch_norm: What batch norm normalises by: the rank's own part of the batch, or the whole batch.
    """

    compile: bool = False
    accumulate: int = 1
    clip_norm: float | None = None
    autocast: Literal["off", "bf16", "fp16"] = "off"
    channels_last: bool = False
    tf32: bool = False
    deterministic: bool = False
    ranks: int = 1
    batch_norm: Literal["local", "synchronised"] = "local"


def _check_state_name(name: str) -> str:
    if not re.fullmatch(r"[\w.-]{1,100}", name):
        raise ValueError("must be the name of tensors in an optimizer's state, such as exp_avg")
    return name


class Diagnostics(Frozen):
    """What is recorded beside the steps of a run, which it does not change.

    Attributes:
        every: Steps from one record to the next; the first one is that of this step.
        record: Quantities of the step.
        state: Names of tensors in the optimizer's state, whose distribution is recorded.
        radius: Distance between the two points that `curvature_change` compares.
    """

    every: Annotated[int, Field(ge=1, le=2**31 - 1)] = 20
    record: tuple[DiagnosticName, ...] = ("update_norm", "gradient_norm")
    state: tuple[Annotated[str, AfterValidator(_check_state_name)], ...] = ()
    radius: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.05


class RunSpec(Frozen):
    """Everything that decides the numbers of one run, and the labels under which a suite shows it.

    Attributes:
        suite: Name of the suite the run belongs to (a label: not part of the key).
        method: Label of the method in the suite (not part of the key).
        workload_label: Label of the workload in the suite (not part of the key).
        workload: The workload and its parameters.
        optimizer: The optimizer and its hyperparameters.
        create_graph: Whether gradients must keep their graph because the optimizer differentiates them
            itself; `None` leaves it to the optimizer's own declaration.
        epochs: Budget, in passes over the training data.
        batch_size: Examples per step.
        schedule: Schedule per hyperparameter of the optimizer's parameter groups, `lr` among them.
        protocol: What chooses the best epoch.
        synthetic: Whether the workload makes up data of the right shapes instead of reading its own.
        execution: How gradients are computed.
        diagnostics: What is recorded beside the steps, if anything; part of the key, for a run without it cannot answer
            for one with it.
        seed: Root of all random streams of the run.
        timeout: Seconds after which the run is stopped (not part of the key).
        checkpoint_minutes: Minutes between checkpoints inside an epoch (not part of the key).
        measure: What is measured beside the training, which it does not change (not part of the key).
        sharpness: How sharpness is measured, if it is (not part of the key).
    """

    suite: str
    method: str
    workload_label: str
    workload: Component
    optimizer: Component
    create_graph: bool | None = None
    epochs: int
    batch_size: int
    schedule: dict[str, Schedule] = {}
    protocol: Protocol = "holdout"
    synthetic: bool = False
    execution: Execution = Execution()
    diagnostics: Diagnostics | None = None
    seed: int
    timeout: float | None = None
    checkpoint_minutes: float = 10.0
    measure: tuple[Measurement, ...] = ()
    sharpness: SharpnessSettings = SharpnessSettings()

    @property
    def key(self) -> str:
        """Hash of all that decides the run's numbers: 16 hexadecimal digits, equal across suites and labels."""
        content = self.model_dump(mode="json", exclude=_NOT_IN_KEY)
        if self.diagnostics is None:
            del content["diagnostics"]
        for component in (content["workload"], content["optimizer"]):
            if component["digest"]:  # a file is known by its content, wherever it lies
                component.update(_without_folders(component))
        return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:16]

    def asking_for_sharpness(self, changes: Mapping[str, JsonValue]) -> RunSpec:
        """Return the spec with its sharpness to be measured, some of the settings changed.

        Raises:
            ValidationError: The changed settings have no meaning.
        """
        settings = SharpnessSettings.model_validate({**self.sharpness.model_dump(), **changes})
        measure = tuple(dict.fromkeys((*self.measure, "sharpness")))
        return self.model_copy(update={"measure": measure, "sharpness": settings})

    def lacks_sharpness(self, result: RunResult) -> bool:
        """Return whether a result is that of a finished run whose sharpness is still to be measured as asked for."""
        wanted = "sharpness" in self.measure and result.outcome == "finished"
        return wanted and result.sharpness_settings != self.sharpness.digest


def _without_folders(value: Any) -> Any:
    """Return a component's content with the folders of the files that it names left out."""
    if isinstance(value, dict):
        return {name: _without_folders(each) for name, each in value.items()}
    is_file = isinstance(value, str) and re.fullmatch(r".+\.py:[\w.]+", value)
    return value.replace("\\", "/").rpartition("/")[2] if is_file else value


_NOT_IN_KEY = {"suite", "method", "workload_label", "timeout", "checkpoint_minutes", "measure", "sharpness"}


class Method(Frozen):
    """A row of the tables.

    Attributes:
        label: The method's label, its swept values included.
        category: What it is grouped under.
        base: Its label in the suite file, shared by all combinations of a sweep; empty where nothing is swept.
        swept: The combination of swept values, by hyperparameter.
    """

    label: str
    category: str = ""
    base: str = ""
    swept: dict[str, JsonValue] = {}


class Heading(Frozen):
    """A column of the tables: what a workload is called there.

    Attributes:
        label: Header of the column.
        group: Header above it, shared with the neighbours that have the same one, or empty.
        metrics: Metrics to show; empty: what the results hold.
    """

    label: str
    group: str = ""
    metrics: tuple[str, ...] = ()

    @property
    def full_label(self) -> str:
        """The header with its group."""
        return f"{self.group} / {self.label}" if self.group else self.label


@dataclass(frozen=True)
class Origin:
    """Where the parts of a suite stand. It is no part of a suite's value: all origins are equal.

    Attributes:
        places: Place by label of a method, label of a workload and name of a parameter or other key, with an empty
            text for what a place does not depend on. Schedules go by names such as `schedule.lr`.
    """

    places: Mapping[tuple[str, str, str], Place] = field(default_factory=dict, compare=False)

    def find(self, *, method: str = "", workload: str = "", name: str = "") -> Place:
        """Return the most specific place known; `model.depth` stands in `model` where it has no place of its own."""
        names = [name, name.rpartition(".")[0]] if "." in name else [name]
        candidates = [
            key for each in names for key in ((method, workload, each), (method, "", each), ("", workload, each))
        ]
        candidates += [(method, "", ""), ("", workload, ""), ("", "", "")]
        return next((self.places[key] for key in candidates if key in self.places), Place())


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
        exclusive: Whether a run shall have its device, or on a CPU the machine, to itself, for the sake of its times.
        tables: Names of the tables it wants.
        specs: Every run: for each workload, each method, each seed.
        engine_options: What an engine shall ask for on behalf of every run, by the engine's name.
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
    tables: tuple[str, ...]
    specs: tuple[RunSpec, ...]
    engine_options: dict[str, dict[str, JsonValue]] = {}
    _origin: Origin = PrivateAttr(default_factory=Origin)

    def heading(self, workload: str) -> Heading:
        """Return what the workload with this label is called in tables."""
        return self.headings.get(workload) or Heading(label=workload)

    @property
    def origin(self) -> Origin:
        """Where its parts stand in the file it was loaded from."""
        return self._origin

    def with_origin(self, origin: Origin) -> Suite:
        """Return the suite with another origin."""
        suite = self.model_copy()
        suite._origin = origin
        return suite


class Cost(Frozen):
    """What a run's training used, apart from evaluation and bookkeeping.

    Attributes:
        steps: Optimizer steps.
        forwards: Evaluations of the loss.
        gradients: Gradient computations (one forward and one backward pass each: 1 GC).
        hvps: Hessian-vector products.
        train_seconds: Wall-clock time inside the training loop, data loading included.
    """

    steps: int = 0
    forwards: int = 0
    gradients: int = 0
    hvps: int = 0
    train_seconds: float = 0.0


class Memory(Frozen):
    """What a run held in memory, in bytes; `None` where it was not measured or could not be.

    Attributes:
        parameters: Parameters of the model.
        state: Tensors in the optimizer's state at the end of the run, memory that several share counted once.
        device_peak: Most memory that tensors took up on the accelerator while training, evaluation left out.
        host_peak: Most resident memory of the run's process, with everything in it: the interpreter, the
            libraries, the data. `None` where the process is not the run's own.
    """

    parameters: int | None = None
    state: int | None = None
    device_peak: int | None = None
    host_peak: int | None = None


class EpochRecord(Frozen):
    """One line of a run's `metrics.jsonl`.

    Attributes:
        epoch: Epochs completed, from 1.
        metrics: Metrics of every split after this epoch, the schedule's values and the training loss.
        cost: Cost of the run so far.
    """

    epoch: int
    metrics: Metrics
    cost: Cost


class Histogram(Frozen):
    """How many entries lie between consecutive edges.

    Attributes:
        edges: Edges, increasing; one more than counts.
        counts: Entries from each edge up to the next one.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]


class DiagnosticRecord(Frozen):
    """One line of a run's `diagnostics.jsonl`: what was recorded beside one step of the training.

    Attributes:
        step: Steps completed, from 1.
        epoch: The epoch that the step belongs to, from 1.
        values: Numbers by name, such as `update_norm` or `state/hessian/median`.
        histograms: Histograms by name, such as `state/hessian`.
    """

    step: int
    epoch: int
    values: Metrics = {}
    histograms: dict[str, Histogram] = {}


class RunResult(Frozen):
    """How a run ended and what it measured; the content of a run's `result.json`.

    Attributes:
        key: Key of the run's spec.
        outcome: How it ended.
        message: For anything but `finished`: why, in one or a few lines.
        selection_metric: Metric that chose `best`, on the split that the run's protocol says.
        epochs: Epochs completed.
        final: Metrics after the last completed epoch, with those of the test split.
        best: Metrics after the epoch with the best selection metric, with those of the test split.
        best_epoch: That epoch, or 0 when no epoch was completed.
        cost: What the training used.
        gc_measured: Gradient equivalents per step: floating-point operations of a step over those of one gradient.
            `None` where they were not asked for or could not be measured.
        unmetered: Why they could not be measured, or empty.
        sharpness_settings: Digest of the settings that the sharpness in `final` was measured with; empty: not measured.
        sharpness_missing: Why it is not there although it was asked for, or empty.
        memory: What it held in memory.
        environment: Device, threads, library versions, as plain text.
    """

    key: str
    outcome: Outcome
    message: str = ""
    selection_metric: str = ""
    epochs: int = 0
    final: Metrics = {}
    best: Metrics = {}
    best_epoch: int = 0
    cost: Cost = Cost()
    gc_measured: float | None = None
    unmetered: str = ""
    sharpness_settings: str = ""
    sharpness_missing: str = ""
    memory: Memory = Memory()
    environment: dict[str, str] = {}

    @property
    def conclusive(self) -> bool:
        """Whether the run has answered what it asked; such a run is never repeated unless forced."""
        return self.outcome in ("finished", "diverged")


class Submission(Frozen):
    """That a run stands in the queue of another system, or is run by it; the content of `submitted.json`.

    Attributes:
        engine: Name of the engine that has submitted it.
        job: What the other system calls it.
        submitted_at: When, in UTC as ISO 8601 writes it.
    """

    engine: str
    job: str
    submitted_at: str


class Row(Frozen):
    """One run as the reports see it: the labels of a suite, and what tracking holds for its key.

    Attributes:
        spec: The run's spec.
        result: Its result, or `None` when it has not been run (or not to an end).
        records: What it recorded after each epoch, where that is wanted and known.
    """

    spec: RunSpec
    result: RunResult | None = None
    records: tuple[EpochRecord, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether the run has answered all that it asked, what shall be measured included."""
        return self.result is not None and self.result.conclusive and not self.spec.lacks_sharpness(self.result)
