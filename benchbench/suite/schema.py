"""What may stand in a suite file."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from benchbench.values import Diagnostics, Execution, Protocol, Schedule, Space, Tuned, Tuning
from benchbench.values.sharpness import SharpnessSettings
from benchbench.values.tuning import MOST_SEARCHED

TABLES = (
    "accuracy",
    "ranking",
    "workloads",
    "matched",
    "targets",
    "profile",
    "pareto",
    "cost",
    "cost-summary",
    "sharpness",
    "tuning",
)
"""Tables a suite can ask for."""

MEASUREMENTS = ("flops", "sharpness")
"""What a suite can have measured after the training."""

MOST_SEEDS = 1000

MOST_RANKS = 1024

LONGEST_LABEL = 100

_MOST_MEMORY = 2**20
"""GiB."""

_LARGEST_SEED = 2**32 - 1

_LARGEST_COUNT = 2**31 - 1


_JOINERS = "\u200c\u200d"
"""Invisible characters that scripts and emoji need."""


def check_label(label: str) -> str:
    """Return a label that can stand in a table.

    Raises:
        ValueError: It is empty, too long or has characters that cannot be seen and change what can.
    """
    if not label.strip():
        raise ValueError("a label must not be empty")
    if len(label) > LONGEST_LABEL:
        raise ValueError(f"a label has at most {LONGEST_LABEL} characters")
    if any(unicodedata.category(char) in ("Cc", "Zl", "Zp") for char in label):
        raise ValueError("a label must not have control characters")
    if any(unicodedata.category(char) == "Cf" and char not in _JOINERS for char in label):
        raise ValueError("a label must not have direction marks or other invisible characters")
    return label


def _check_table(name: str) -> str:
    if name not in TABLES:
        raise ValueError(f"unknown table; allowed: {', '.join(TABLES)}")
    return name


def _check_metric(name: str) -> str:
    # What follows the split is a task's choice.
    if not re.fullmatch(r"\w+/\S(.*\S)?", name) or not name.isprintable() or len(name) > LONGEST_LABEL:
        raise ValueError("must be the name of a metric, such as test/accuracy")
    return name


def _check_measurement(name: str) -> str:
    if name not in MEASUREMENTS:
        raise ValueError(f"unknown measurement; allowed: {', '.join(MEASUREMENTS)}")
    return name


def _check_distinct(values: list[Any]) -> list[Any]:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise ValueError(f"{value!r} is listed twice")
    return values


def _check_distinct_names(diagnostics: Diagnostics) -> Diagnostics:
    _check_distinct([*diagnostics.record])
    _check_distinct([*diagnostics.state])
    return diagnostics


def _check_slurm(options: dict[str, Any]) -> dict[str, Any]:
    for name, value in options.items():
        if not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
            raise ValueError(f"{name!r} is no option of sbatch: write it without dashes in front")
        # sbatch takes the beginning of an option for the option.
        if option := next((each for each in _OF_THE_ENGINE if each.startswith(name.replace("_", "-"))), None):
            raise ValueError(f"{option} is set by the engine" + ("" if len(option) == len(name) else f" ({name})"))
        if not isinstance(value, str | int | float):
            raise ValueError(  # noqa: TRY004 - what is wrong is a value of the file
                f"{name} must be text, a number, true or false"
            )
        if isinstance(value, str) and any(unicodedata.category(char) == "Cc" for char in value):
            raise ValueError(f"{name} must not have control characters")
    return options


_OF_THE_ENGINE = (
    *("array", "chdir", "error", "export", "export-file", "get-user-env", "input", "job-name", "nodes", "ntasks"),
    *("ntasks-per-node", "open-mode", "output", "parsable", "signal", "test-only", "wait", "wrap"),
)
"""Options of `sbatch` that request no resources: the command, its environment and files, and the output format."""

Label = Annotated[str, AfterValidator(check_label)]
Target = Annotated[str, Field(min_length=1, max_length=4096)]
MetricName = Annotated[str, AfterValidator(_check_metric)]
Count = Annotated[int, Field(ge=1, le=_LARGEST_COUNT)]


def _allow_short_form(schema: dict[str, Any]) -> None:
    """Add `{name: ...}`, short for `{lr: {name: ...}}`, to the JSON schema of schedules."""
    full = {key: schema.pop(key) for key in ("type", "additionalProperties")}
    schema["anyOf"] = [full["additionalProperties"], full]


Search = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=LONGEST_LABEL)], Space], Field(max_length=MOST_SEARCHED)
]

Schedules = Annotated[dict[str, Schedule], Field(json_schema_extra=_allow_short_form)]


def _check_deterministic(value: object) -> object:
    if value is None or isinstance(value, bool) or value == "warn":
        return value
    raise ValueError("must be true, false or warn")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Entry(BaseModel):
    """Something with free parameters beside its own keys: schedules, budgets, and how gradients are computed."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, JsonValue]
    schedule: Schedules = {}
    epochs: Count | None = None
    compile: bool | None = None
    accumulate: Count | None = None
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    autocast: Literal["off", "bf16", "fp16"] | None = None
    autocast_evaluation: bool | None = None
    channels_last: bool | None = None
    tf32: bool | None = None
    deterministic: Annotated[bool | Literal["warn"] | None, BeforeValidator(_check_deterministic)] = None
    cudnn_benchmark: bool | None = None
    ranks: Annotated[int, Field(ge=1, le=MOST_RANKS)] | None = None
    batch_norm: Literal["local", "synchronised"] | None = None
    drop_last: bool | None = None
    memory: Annotated[float, Field(gt=0, le=_MOST_MEMORY)] | None = None
    leave_out: Annotated[list[Annotated[str, Field(min_length=1)]], AfterValidator(_check_distinct)] | None = None

    @property
    def parameters(self) -> dict[str, JsonValue]:
        """What is handed to the factory."""
        return dict(self.__pydantic_extra__)

    @property
    def execution(self) -> dict[str, Any]:
        """What is said about how gradients are computed."""
        return {name: value for name in Execution.model_fields if (value := getattr(self, name)) is not None}


class OverrideEntry(_Entry):
    """What a method changes on one workload: hyperparameters, schedules, budget, how gradients are computed."""

    search: Search = {}


class WorkloadEntry(_Entry):
    """A workload, its budget and its parameters."""

    workload: Target | None = None
    batch_size: Count | None = None
    synthetic: bool | None = None
    group: Annotated[str, AfterValidator(check_label)] | None = None
    metrics: Annotated[list[MetricName], Field(min_length=1), AfterValidator(_check_distinct)] | None = None
    target: Annotated[float, Field(allow_inf_nan=False)] | None = None
    held_out_of: Label | None = None


class MethodEntry(_Entry):
    """A method: an optimizer and its hyperparameters."""

    category: Annotated[str, Field(max_length=LONGEST_LABEL)] | None = None
    optimizer: Target | None = None
    overrides: dict[Label, OverrideEntry] = {}
    sweep: dict[str, Annotated[list[JsonValue], Field(min_length=1)]] = {}
    search: Search = {}
    tuned: dict[Label, Tuned] = {}
    tuned_on: Literal["validation", "test"] | None = None
    create_graph: bool | None = None


class Defaults(_Model):
    """What holds for every workload and method that does not say otherwise."""

    workloads: WorkloadEntry = WorkloadEntry()
    methods: MethodEntry = MethodEntry()


class RayRequest(_Model):
    """What each rank of a run asks a Ray cluster for, in Ray's words."""

    num_cpus: Annotated[float, Field(gt=0)] | None = None
    num_gpus: Annotated[float, Field(ge=0)] | None = None
    memory: Annotated[float, Field(gt=0)] | None = None


class SuiteFile(_Model):
    """A suite of benchmark runs: every method on every workload with every seed."""

    name: Annotated[str, Field(pattern=r"^\w([\w .-]*\w)?$", max_length=60)]
    title: Annotated[str, Field(max_length=500)] = ""
    seeds: Annotated[
        list[Annotated[int, Field(ge=0, le=_LARGEST_SEED)]],
        Field(min_length=1, max_length=MOST_SEEDS),
        AfterValidator(_check_distinct),
    ]
    protocol: Protocol = "holdout"
    timeout: Annotated[float, Field(gt=0)] | None = None
    checkpoint_minutes: Annotated[float, Field(gt=0)] = 10.0
    measure: Annotated[
        list[Annotated[str, AfterValidator(_check_measurement)]],
        AfterValidator(_check_distinct),
    ] = []
    exclusive: bool = False
    mixed_devices: bool = False
    sharpness: SharpnessSettings = SharpnessSettings()
    diagnostics: Annotated[Diagnostics, AfterValidator(_check_distinct_names)] | None = None
    tuning: Tuning | None = None
    slurm: Annotated[dict[str, JsonValue], AfterValidator(_check_slurm)] = {}
    ray: RayRequest = RayRequest()
    defaults: Defaults = Defaults()
    workloads: Annotated[dict[Label, WorkloadEntry], Field(min_length=1)]
    methods: Annotated[dict[Label, MethodEntry], Field(min_length=1)]
    tables: Annotated[
        list[Annotated[str, AfterValidator(_check_table)]],
        Field(min_length=1),
        AfterValidator(_check_distinct),
    ] = ["accuracy", "cost"]
