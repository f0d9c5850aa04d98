"""The spec of a run: everything that decides its numbers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, JsonValue

from benchbench.values.frozen import Documented
from benchbench.values.frozen import Frozen as Frozen  # noqa: PLC0414 - all other modules take both from here
from benchbench.values.frozen import canonical_json as canonical_json  # noqa: PLC0414
from benchbench.values.results import RunResult
from benchbench.values.schedules import Schedule
from benchbench.values.sharpness.settings import SharpnessSettings

Measurement = Literal["flops", "sharpness"]
"""Measurements after the training: floating-point operations of a step, as gradient equivalents, and
the sharpness of the solution."""

Protocol = Literal["holdout", "paper"]
"""Data that choose the best epoch: `holdout`, a part of the training data that is not trained on, the test data being
read once, at the end; `paper`, the test data itself, evaluated after every epoch, as the SASSHA paper did."""

DiagnosticName = Literal[
    "update_norm", "gradient_norm", "perturbation_norm", "update_cosine", "distance_from_start", "curvature_change"
]
"""Records of a step, apart from the optimizer's state."""


ParameterRole = Literal["hidden", "filter", "embedding", "head", "norm", "bias", "other"]
"""Role of a parameter in a network; see `benchbench.optim.roles.Role`."""


class Component(Frozen):
    """An optimizer or a workload: where its factory is found, and the keyword arguments it gets.

    Attributes:
        target: A registered name, `module:attribute` or `path/to/file.py:attribute`.
        parameters: Keyword arguments of the factory, as they are in the suite.
        digest: Hash of the files that target and parameters name, and of the neighbours that these import, so that an
            edited file is a different run.
    """

    target: str
    parameters: dict[str, JsonValue] = {}
    digest: str | None = None


def unfolded(parameters: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return parameters in which `matrices.lr` is the `lr` within `matrices`, what comes later over what came before.

    A plugin that is named alone, such as `matrices: muon`, becomes the mapping that its parameters are written in. What
    is within nothing is left as it is.
    """
    found: dict[str, JsonValue] = {}
    for name, value in parameters.items():
        outer, _, inner = name.partition(".")
        within = found.get(outer)
        if isinstance(within, str):
            within = {"name": within}
        if inner and isinstance(within, dict):
            found[outer] = unfolded({**within, inner: value})
        else:
            found[name] = value
    return found


class Execution(Documented):
    """Computation of a run's gradients. All of it changes numbers, if only by rounding."""

    compile: bool = False
    """Compute gradients with compiled code."""
    accumulate: int = 1
    """Parts that a batch is computed in, one after the other; at most as many as it has examples."""
    clip_norm: float | None = None
    """Largest Euclidean norm of a gradient, which is scaled down to it."""
    autocast: Literal["off", "bf16", "fp16"] = "off"
    """Type that the forward passes of plain gradients use; Hessian-vector products are in float32."""
    autocast_evaluation: bool = False
    """Evaluate the model under `autocast` too, instead of in float32."""
    channels_last: bool = False
    """Store the weights of convolutions and their inputs channels-last."""
    tf32: bool = False
    """Allow TF32 in matrix products and convolutions in float32."""
    deterministic: bool | Literal["warn"] = False
    """Whether only deterministic algorithms are used; `warn` lets others pass, and the log names them."""
    cudnn_benchmark: bool = False
    """Whether cuDNN tries its algorithms out, for each new shape, and takes the fastest."""
    ranks: int = 1
    """Processes that share every batch, each with a GPU of its own, or on the CPU."""
    batch_norm: Literal["local", "synchronised"] = "local"
    """Batch that batch norm normalises by: the rank's own part of it, or, with several ranks, the whole."""
    drop_last: bool = False
    """Whether the last batch of an epoch is left out where it is smaller than the others."""


def _check_state_name(name: str) -> str:
    if not re.fullmatch(r"[\w.-]{1,100}", name):
        raise ValueError("must be the name of tensors in an optimizer's state, such as exp_avg")
    return name


class Diagnostics(Documented):
    """Records of the steps of a run, which they do not change."""

    every: Annotated[int, Field(ge=1, le=2**31 - 1)] = 20
    """Steps from one record to the next; the first record is that of this step."""
    record: tuple[DiagnosticName, ...] = ("update_norm", "gradient_norm")
    """Quantities of the step; see diagnostics.md."""
    state: tuple[Annotated[str, AfterValidator(_check_state_name)], ...] = ()
    """Names of tensors in the optimizer's state, whose distribution is recorded."""
    radius: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.05
    """Distance between the two points that `curvature_change` compares."""


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
        leave_out: Names, or patterns of names, of trainable parameters that the optimizer is meant to leave out. It
            changes nothing; without it they are an error (not part of the key).
        roles: Roles of the model's parameters by name or pattern, where they are not those that are found.
        no_decay: Roles whose parameters are not decayed, whatever `weight_decay` the optimizer has.
        epochs: Budget, in passes over the training data.
        batch_size: Examples per step.
        schedule: Schedule per hyperparameter of the optimizer's parameter groups, such as `lr`; `matrices.lr` is that
            of the groups whose `part` is `matrices`.
        protocol: What chooses the best epoch.
        reads_test: Whether the test data are read; the trials of a tuning leave them alone.
        synthetic: Whether the workload makes up data of the right shapes instead of reading its own.
        execution: How gradients are computed.
        diagnostics: What is recorded of the steps, if anything; part of the key, for a run without it cannot answer
            for one with it.
        seed: Root of all random streams of the run.
        timeout: Seconds after which the run is stopped (not part of the key).
        memory: GiB of the host's memory that each rank needs, if that is said (not part of the key).
        checkpoint_minutes: Minutes between checkpoints inside an epoch (not part of the key).
        measure: What is measured in addition to the training, which it does not change (not part of the key).
        sharpness: How sharpness is measured, if it is (not part of the key).
    """

    suite: str
    method: str
    workload_label: str
    workload: Component
    optimizer: Component
    create_graph: bool | None = None
    leave_out: tuple[str, ...] = ()
    roles: dict[str, ParameterRole] = {}
    no_decay: tuple[ParameterRole, ...] = ()
    epochs: int
    batch_size: int
    schedule: dict[str, Schedule] = {}
    protocol: Protocol = "holdout"
    reads_test: bool = True
    synthetic: bool = False
    execution: Execution = Execution()
    diagnostics: Diagnostics | None = None
    seed: int
    timeout: float | None = None
    memory: float | None = None
    checkpoint_minutes: float = 10.0
    measure: tuple[Measurement, ...] = ()
    sharpness: SharpnessSettings = SharpnessSettings()

    @property
    def decisive(self) -> dict[str, Any]:
        """All that decides the run's numbers, as JSON: what the key is a hash of."""
        content = self.model_dump(mode="json", exclude=_NOT_IN_KEY)
        if self.diagnostics is None:
            del content["diagnostics"]
        if self.reads_test:
            del content["reads_test"]
        for name in ("roles", "no_decay"):
            if not content[name]:
                del content[name]
        for name in _LATER_SETTINGS:
            if getattr(self.execution, name) == getattr(_DEFAULT_EXECUTION, name):
                del content["execution"][name]
        for component in (content["workload"], content["optimizer"]):
            if component["digest"]:  # a file is known by its content, wherever it lies
                component.update(_without_folders(component))
        return content

    @cached_property
    def key(self) -> str:
        """Hash of all that decides the run's numbers: 16 hexadecimal digits, equal across suites and labels."""
        return hashlib.sha256(canonical_json(self.decisive).encode()).hexdigest()[:16]

    @property
    def memory_stated(self) -> int:
        """Bytes of the host's memory that all its ranks need together, by what the suite says; 0 if it says nothing."""
        return int((self.memory or 0) * 2**30) * self.execution.ranks

    def __copy__(self) -> RunSpec:
        """Return a copy without the key, for `model_copy` changes fields that decide it."""
        copied = super().__copy__()
        copied.__dict__.pop("key", None)
        return copied

    def asking_for_sharpness(self, changes: Mapping[str, JsonValue]) -> RunSpec:
        """Return the spec with its sharpness to be measured, some of the settings changed.

        Raises:
            ValidationError: The changed settings have no meaning.
        """
        settings = SharpnessSettings.model_validate({**self.sharpness.model_dump(), **changes})
        measure = tuple(dict.fromkeys((*self.measure, "sharpness")))
        return self.model_copy(update={"measure": measure, "sharpness": settings})

    def is_answered_by(self, result: RunResult) -> bool:
        """Return whether a result answers all that was asked, what was to be measured included."""
        return result.conclusive and not self.lacks_sharpness(result)

    def lacks_sharpness(self, result: RunResult) -> bool:
        """Return whether a result is that of a finished run without the sharpness that is asked for."""
        wanted = "sharpness" in self.measure and result.outcome == "finished"
        return wanted and result.sharpness_settings != self.sharpness.digest


def _without_folders(value: Any) -> Any:
    """Return a component's content with the folders of the files that it names left out."""
    if isinstance(value, dict):
        return {name: _without_folders(each) for name, each in value.items()}
    is_file = isinstance(value, str) and re.fullmatch(r".+\.py:[\w.]+", value)
    return value.replace("\\", "/").rpartition("/")[2] if is_file else value


_DEFAULT_EXECUTION = Execution()

_LATER_SETTINGS = ("autocast_evaluation", "cudnn_benchmark", "drop_last")
"""Settings that came when there were results already: the keys of runs that do not use them stay what they were."""

_NOT_IN_KEY = {
    *("suite", "method", "workload_label", "leave_out", "timeout", "memory", "checkpoint_minutes", "measure"),
    "sharpness",
}
