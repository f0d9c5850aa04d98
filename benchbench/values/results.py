"""Results of runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from benchbench.values.frozen import Frozen as Frozen  # noqa: PLC0414 - all other modules take both from here
from benchbench.values.frozen import canonical_json as canonical_json  # noqa: PLC0414

Outcome = Literal["finished", "diverged", "failed", "crashed", "timeout", "interrupted"]
"""End of a run. `diverged` (numbers that are NaN or infinite) is a result; the four last ones are run again."""

Shortage = Literal["", "device", "host"]
"""The memory that ran out: the accelerator's or the host's; empty: none."""

CONCLUSIVE: frozenset[Outcome] = frozenset({"finished", "diverged"})
"""Outcomes of runs that have answered what they asked."""

Metrics = dict[str, float]
"""Metric name (`split/metric`, such as `test/accuracy`) to its value; accuracies are fractions in [0, 1]."""


class Cost(Frozen):
    """Cost of a run's training, apart from evaluation and bookkeeping.

    Attributes:
        steps: Optimizer steps.
        forwards: Evaluations of the loss.
        gradients: Gradient computations (one forward and one backward pass each: 1 GC).
        hvps: Hessian-vector products.
        train_seconds: Wall-clock time inside the training loop, data loading included and warm-up left out.
        warm_up_seconds: The rest of the time in that loop: what first steps took beyond later ones like them, to load
            kernels, to choose algorithms, to compile. `None` where it was not told from training.
        warm_up_steps: Steps whose whole time is warm-up, for no other step like them has come yet.
    """

    steps: int = 0
    forwards: int = 0
    gradients: int = 0
    hvps: int = 0
    train_seconds: float = 0.0
    warm_up_seconds: float | None = None
    warm_up_steps: int = 0

    @property
    def steady_seconds(self) -> float:
        """Seconds that all steps take once nothing has to be warmed up: those that were warm-up at the others' pace.

        Where every step was warm-up, its time is all that is known, and counts.
        """
        if self.is_all_warm_up:
            return self.train_seconds + (self.warm_up_seconds or 0.0)
        return self.train_seconds * (self.steps / (self.steps - self.warm_up_steps) if self.warm_up_steps else 1.0)

    @property
    def is_counted(self) -> bool:
        """True if evaluations were counted: other programs record steps and seconds alone."""
        return not self.steps or bool(self.forwards or self.gradients or self.hvps)

    @property
    def is_all_warm_up(self) -> bool:
        """True if every timed step was warm-up."""
        return 0 < self.steps <= self.warm_up_steps


class Memory(Frozen):
    """Peak memory of a run, in bytes; `None` where it was not measured or could not be.

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
    """Number of entries between consecutive edges.

    Attributes:
        edges: Edges, increasing; one more than counts.
        counts: Entries from each edge up to the next one.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]


class DiagnosticRecord(Frozen):
    """One line of a run's `diagnostics.jsonl`: what was recorded of one step of the training.

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
    """Result of a run: its end, and what it measured; the content of its `result.json`.

    Attributes:
        key: Key of the run's spec.
        outcome: How it ended.
        message: For anything but `finished`: why, in one or a few lines.
        selection_metric: Metric that chose `best`, on the split that the run's protocol says.
        higher_is_better: Direction of that metric, where it is known.
        epochs: Epochs completed.
        final: Metrics after the last completed epoch, with those of the test split.
        best: Metrics after the epoch with the best selection metric, with those of the test split.
        best_epoch: That epoch, or 0 when no epoch was completed.
        cost: What the training used.
        gc_measured: Gradient equivalents per step: floating-point operations of a step over those of one gradient.
            `None` where they were not asked for or could not be measured.
        unmetered: Why they could not be measured, or empty.
        sharpness_settings: Digest of the settings that the sharpness in `final` was measured with; empty: none.
            A run ends without: what is measured later is joined to its result when that is read.
        sharpness_missing: Why it is not there although it was asked for, or empty.
        memory: What it held in memory.
        out_of_memory: Which memory has run out, if that has ended it.
        environment: Device, threads, library versions, as plain text.
        code: Version of the code of every installed plugin that it was made with, such as `torch 2.14.1` by
            `optimizer adamw`; `None` where that is not known.
    """

    key: str
    outcome: Outcome
    message: str = ""
    selection_metric: str = ""
    higher_is_better: bool | None = None
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
    out_of_memory: Shortage = ""
    environment: dict[str, str] = {}
    code: dict[str, str] | None = None

    @property
    def conclusive(self) -> bool:
        """True for an outcome that is an answer; such a run is never repeated unless forced."""
        return self.outcome in CONCLUSIVE

    def has_all_of(self, records: Sequence[EpochRecord]) -> bool:
        """Return whether these are all epochs that the run has completed; a file may have lost some of its lines."""
        return [record.epoch for record in records] == list(range(1, self.epochs + 1))


class Submission(Frozen):
    """A run submitted to an external scheduler; the content of `submitted.json`.

    Attributes:
        engine: Name of the engine that has submitted it.
        job: What the other system calls it.
        submitted_at: When, in UTC as ISO 8601 writes it.
    """

    engine: str
    job: str
    submitted_at: str
