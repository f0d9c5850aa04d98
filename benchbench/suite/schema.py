"""What may stand in a suite file."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from benchbench.values import Diagnostics, Execution, ParameterRole, Protocol, Schedule, Space, Tuned, Tuning
from benchbench.values.sharpness import SharpnessSettings
from benchbench.values.tuning import MOST_SEARCHED

TABLES = (
    "accuracy",
    "ranking",
    "workloads",
    "robustness",
    "matched",
    "targets",
    "speedup",
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


def _check_metric(name: str) -> str:
    # What follows the split is a task's choice.
    if not re.fullmatch(r"\w+/\S(.*\S)?", name) or not name.isprintable() or len(name) > LONGEST_LABEL:
        raise ValueError("must be the name of a metric, such as test/accuracy")
    return name


def _check_distinct(values: list[Any]) -> list[Any]:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise ValueError(f"{value!r} is listed twice")
    return values


def _check_distinct_names(diagnostics: Diagnostics) -> Diagnostics:
    for names in (diagnostics.record, diagnostics.state):
        _check_distinct([*names])
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


def _one_of(what: str, names: tuple[str, ...]) -> Callable[[str], str]:
    """Return a check of a name that says what is allowed."""

    def check(name: str) -> str:
        if name not in names:
            raise ValueError(f"unknown {what}; allowed: {', '.join(names)}")
        return name

    return check


Label = Annotated[str, AfterValidator(check_label)]
Target = Annotated[str, Field(min_length=1, max_length=4096)]
Table = Annotated[str, AfterValidator(_one_of("table", TABLES)), Field(json_schema_extra={"enum": [*TABLES]})]
Measurement = Annotated[
    str, AfterValidator(_one_of("measurement", MEASUREMENTS)), Field(json_schema_extra={"enum": [*MEASUREMENTS]})
]
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
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def _of_execution(name: str) -> Any:
    """Return the description of a setting of how gradients are computed, with its default."""
    field = Execution.model_fields[name]
    default = "" if field.default is None else f" Default: {json.dumps(field.default)}."
    return Field(description=f"{field.description}{default}")


class _Entry(BaseModel):
    """Something with free parameters next to its own keys: schedules, budgets, and how gradients are computed."""

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True)
    __pydantic_extra__: dict[str, JsonValue]
    schedule: Schedules = {}
    """Schedules by hyperparameter; `{name: cosine}` is short for `{lr: {name: cosine}}`."""
    epochs: Count | None = None
    """Budget, in passes over the training data."""
    compile: Annotated[bool | None, _of_execution("compile")] = None
    accumulate: Annotated[Count | None, _of_execution("accumulate")] = None
    clip_norm: Annotated[Annotated[float, Field(gt=0)] | None, _of_execution("clip_norm")] = None
    autocast: Annotated[Literal["off", "bf16", "fp16"] | None, _of_execution("autocast")] = None
    autocast_evaluation: Annotated[bool | None, _of_execution("autocast_evaluation")] = None
    channels_last: Annotated[bool | None, _of_execution("channels_last")] = None
    tf32: Annotated[bool | None, _of_execution("tf32")] = None
    deterministic: Annotated[
        bool | Literal["warn"] | None, BeforeValidator(_check_deterministic), _of_execution("deterministic")
    ] = None
    cudnn_benchmark: Annotated[bool | None, _of_execution("cudnn_benchmark")] = None
    ranks: Annotated[Annotated[int, Field(ge=1, le=MOST_RANKS)] | None, _of_execution("ranks")] = None
    batch_norm: Annotated[Literal["local", "synchronised"] | None, _of_execution("batch_norm")] = None
    drop_last: Annotated[bool | None, _of_execution("drop_last")] = None
    memory: Annotated[float, Field(gt=0, le=_MOST_MEMORY)] | None = None
    """GiB of the machine's memory that a run needs, for each of its ranks: by this runs are placed; see engines.md."""
    leave_out: Annotated[list[Annotated[str, Field(min_length=1)]], AfterValidator(_check_distinct)] | None = None
    """Names of trainable parameters, or patterns such as `"*.bias"`, that the optimizer is meant to leave out. It
    changes nothing: without it, a trainable parameter in no group of the optimizer is an error."""
    no_decay: Annotated[list[ParameterRole], AfterValidator(_check_distinct)] | None = None
    """Roles whose parameters are not decayed, such as `[norm, bias]`: the optimizer gets them in parameter groups with
    a `weight_decay` of 0; see plugins.md."""

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
    """Search spaces by hyperparameter, for `benchbench tune`; see tuning.md."""


class WorkloadEntry(_Entry):
    """A workload, its budget and its parameters."""

    workload: Target | None = None
    """The registered workload, `module:attribute` or `path/to/file.py:attribute`; by default the label."""
    batch_size: Count | None = None
    """Examples per step."""
    synthetic: bool | None = None
    """Use synthetic data of the same shapes, as `--synthetic` does for every workload."""
    group: Annotated[str, AfterValidator(check_label)] | None = None
    """Header that its column shares with others: `CIFAR-10` above `ResNet-20`; the label of the column is that of the
    workload without it. A label `CIFAR-10 / ResNet-20` has its group in it."""
    metrics: Annotated[list[MetricName], Field(min_length=1), AfterValidator(_check_distinct)] | None = None
    """What its column shows, such as `[test/f1, test/accuracy]`: any metric that the results hold. By default the test
    results that are known, or else those of the metric that chooses the best epoch; see tables.md."""
    target: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """Value to reach of the metric that chooses the best epoch (the workload's `selection_metric`, on the split of the
    protocol), from below or from above as its `higher_is_better` says; for the tables `targets` and `profile`."""
    held_out_of: Label | None = None
    """Label of the workload that this one is a held-out variant of, for the table `profile`."""
    roles: dict[Annotated[str, Field(min_length=1)], ParameterRole] | None = None
    """Roles of the model's parameters by name, or by a pattern such as `"blocks.*.gate.weight"`, in place of those that
    are found; see plugins.md."""


class MethodEntry(_Entry):
    """A method: an optimizer and its hyperparameters."""

    category: Annotated[str, Field(max_length=LONGEST_LABEL)] | None = None
    """Group of rows in the tables."""
    optimizer: Target | None = None
    """A registered optimizer, any class of torch.optim, `module:attribute` or `path/to/file.py:attribute`."""
    overrides: dict[Label, OverrideEntry] = {}
    """Changes on single workloads, by label."""
    sweep: dict[str, Annotated[list[JsonValue], Field(min_length=1)]] = {}
    """Lists of values by hyperparameter: one row for every combination, labelled `METHOD (lr=0.1)`."""
    search: Search = {}
    """Search spaces by hyperparameter, for `benchbench tune`; see tuning.md."""
    tuned: dict[Label, Tuned] = {}
    """Record of the tuning, by workload; written by `benchbench tune`."""
    tuned_on: Literal["validation", "test"] | None = None
    """The data that its values were chosen on; rows with `test` carry a mark."""
    create_graph: bool | None = None
    """Keep the graph of gradients, for an optimizer that differentiates them itself."""


class Defaults(_Model):
    """What holds for every workload and method that does not say otherwise."""

    workloads: WorkloadEntry = WorkloadEntry()
    """For workloads."""
    methods: MethodEntry = MethodEntry()
    """For methods."""


class RayRequest(_Model):
    """What each rank of a run asks a Ray cluster for, in Ray's words."""

    num_cpus: Annotated[float, Field(gt=0)] | None = None
    """CPU cores."""
    num_gpus: Annotated[float, Field(ge=0)] | None = None
    """GPUs, or a share of one."""
    memory: Annotated[float, Field(gt=0)] | None = None
    """Bytes."""


class SuiteFile(_Model):
    """A suite of benchmark runs: every method on every workload with every seed."""

    name: Annotated[str, Field(pattern=r"^\w([\w .-]*\w)?$", max_length=60)]
    """Name of the suite, and of its MLflow experiment."""
    title: Annotated[str, Field(max_length=500)] = ""
    """Headline of the tables; by default the name."""
    seeds: Annotated[
        list[Annotated[int, Field(ge=0, le=_LARGEST_SEED)]],
        Field(min_length=1, max_length=MOST_SEEDS),
        AfterValidator(_check_distinct),
    ]
    """Distinct seeds: every method runs on every workload with each of them."""
    protocol: Protocol = "holdout"
    """`holdout`: a part of the training data chooses the best epoch, and the test data are read once, at the end.
    `paper`: the test data are evaluated after every epoch and choose the best one, as the SASSHA paper did."""
    timeout: Annotated[float, Field(gt=0)] | None = None
    """Seconds after which a run is stopped, with the outcome `timeout`."""
    checkpoint_minutes: Annotated[float, Field(gt=0)] = 10.0
    """Minutes between checkpoints inside an epoch; there is one at the end of every epoch, too. See engines.md."""
    measure: Annotated[list[Measurement], AfterValidator(_check_distinct)] = []
    """Measurements after the training. `flops`: operations per step, in the run of the first seed; see cost.md.
    `sharpness`: of every run's solution; see sharpness.md."""
    exclusive: bool = False
    """Run one at a time per GPU (per machine without one), so that times are comparable."""
    baseline: Label | None = None
    """Label of the method that the tables `speedup` and `workloads` compare with; by default the first one."""
    mixed_devices: bool = False
    """Whether tables put seconds of different devices next to each other, and say so; there are none otherwise.
    `benchbench report SUITE --mixed-devices` asks for it once."""
    robust_within: Annotated[float, Field(gt=0, le=100)] = 5.0
    """Percent of the best value within which settings count as near it, in tables of robustness; see statistics.md."""
    sharpness: SharpnessSettings = SharpnessSettings()
    """Settings of the sharpness measurement; see sharpness.md."""
    diagnostics: Annotated[Diagnostics, AfterValidator(_check_distinct_names)] | None = None
    """Records of the steps of every run, and part of its key; see diagnostics.md."""
    tuning: Tuning | None = None
    """Budget, sampler, seeds and finalists of a search; see tuning.md."""
    slurm: Annotated[dict[str, JsonValue], AfterValidator(_check_slurm)] = {}
    """What every run asks Slurm for: options of `sbatch`, such as `{partition: gpu, time: "4:00:00"}`; see
    engines.md."""
    ray: RayRequest = RayRequest()
    """Resources that each rank of a run requests from Ray; see engines.md."""
    defaults: Defaults = Defaults()
    """Defaults of all workloads and methods."""
    workloads: Annotated[dict[Label, WorkloadEntry], Field(min_length=1)]
    """Workloads by label: the columns of the tables. Any other key of one is a parameter of the workload."""
    methods: Annotated[dict[Label, MethodEntry], Field(min_length=1)]
    """Methods by label: the rows of the tables. Any other key of one is a hyperparameter of the optimizer; one that is
    called like a key of a method has `_` after it: `optimizer_: adamw`."""
    tables: Annotated[list[Table], Field(min_length=1), AfterValidator(_check_distinct)] = ["accuracy", "cost"]
    """Tables that `benchbench run` and `benchbench report` print; see tables.md."""
