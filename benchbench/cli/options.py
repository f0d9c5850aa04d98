"""Options and arguments that several commands share, and groups of them.

Every command lists them in the order of this file, its own options first.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast, get_type_hints

import typer

from benchbench.cli import completion

if TYPE_CHECKING:
    from benchbench.api import Workspace
    from benchbench.api.engines import EngineOptions
    from benchbench.values import Suite

_EXECUTION = "Execution"
_PLACES = "Files and tracking"


Format = Literal["terminal", "markdown", "latex", "html", "html-fragment", "csv", "json"]

SuiteArgument = Annotated[
    str,
    typer.Argument(
        metavar="SUITE",
        help="A YAML file, or the name of a bundled suite.",
        show_default=False,
        autocompletion=completion.suites,
    ),
]
Only = Annotated[
    list[str],
    typer.Option(
        "--only",
        metavar="KEY=LABEL",
        help="Take a part of the suite: by method, workload and seed, such as method=SASSHA,seed=0. Repeatable.",
        autocompletion=completion.parts,
    ),
]
Overrides = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Change a value of the suite, such as methods.SGD.lr=0.05. Repeatable.",
    ),
]
CodeFrom = Annotated[
    Path | None,
    typer.Option(
        "--code-from",
        metavar="DIR",
        help="For a suite by someone else: refuse all code but installed plugins and the files in this folder.",
        show_default=False,
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Run again what is done already.")]
KeepStale = Annotated[
    bool,
    typer.Option("--keep-stale", help="Keep results that other versions of the plugins' code have made."),
]
FormatOption = Annotated[
    Format,
    typer.Option(
        "--format",
        metavar="NAME",
        help="terminal, markdown, latex (needs booktabs and graphicx), html (a page), html-fragment (its tables only), "
        "csv (unrounded numbers) or json.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Devices = Annotated[
    str | None,
    typer.Option(
        "--devices",
        metavar="LIST",
        help="What to use of this machine: cpu, or GPUs such as 0,2, by number or UUID. On a cluster: cpu.",
        show_default="all GPUs",
        rich_help_panel=_EXECUTION,
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="ADDRESS",
        help="A Ray cluster, for --engine ray.",
        show_default="RAY_ADDRESS, else one on this machine",
        rich_help_panel=_EXECUTION,
    ),
]
NoWait = Annotated[
    bool,
    typer.Option(
        "--no-wait",
        help="Return once the runs are queued, for --engine slurm; see `collect`.",
        rich_help_panel=_EXECUTION,
    ),
]
TrackingUri = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri",
        metavar="URI",
        envvar="MLFLOW_TRACKING_URI",
        help="MLflow store.",
        show_default="sqlite:///mlflow.db",
        rich_help_panel=_PLACES,
    ),
]
DataDir = Annotated[
    Path,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        envvar="BENCHBENCH_DATA",
        help="Folder in which data sets lie.",
        rich_help_panel=_PLACES,
    ),
]


@dataclass(frozen=True)
class Part:
    """The part of a suite that a command works on, and changes to it."""

    only: Only = field(default_factory=list)
    overrides: Overrides = field(default_factory=list)
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="Rehearse on made-up data of the same shapes; a run of its own.")
    ] = False

    def load(self, suite: str, code_from: Path | None = None) -> Suite:
        """Load this part of a suite.

        Raises:
            BadInputError: The suite cannot be used.
        """
        from benchbench import api

        return api.load_suite(
            suite, overrides=self.overrides, only=self.only, synthetic=self.synthetic, code_from=code_from
        )


@dataclass(frozen=True)
class Execution:
    """Engine, devices and slots of runs."""

    engine: Annotated[
        Literal["local", "inline", "ray", "slurm"],
        typer.Option(
            "--engine",
            metavar="NAME",
            help="local: processes on this machine; inline: all in this one; ray, slurm: a cluster's nodes.",
            rich_help_panel=_EXECUTION,
        ),
    ] = "local"
    slots: Annotated[
        int | None,
        typer.Option(
            "--slots",
            metavar="N",
            min=1,
            help="Runs at a time; more than there are GPUs only with --slots-per-device.",
            show_default="one per GPU, or per core",
            rich_help_panel=_EXECUTION,
        ),
    ] = None
    slots_per_device: Annotated[
        int,
        typer.Option(
            "--slots-per-device",
            metavar="N",
            min=1,
            help="Runs that share a GPU, not with slurm; their times are in no table.",
            rich_help_panel=_EXECUTION,
        ),
    ] = 1
    devices: Devices = None

    def engine_options(self) -> EngineOptions:
        """Return the options of the engine."""
        devices = device_names(self.devices)
        return {"slots": self.slots, "devices": devices, "slots_per_device": self.slots_per_device}


@dataclass(frozen=True)
class AddressedExecution(Execution):
    """Execution where a cluster can be named."""

    address: Address = None

    def engine_options(self) -> EngineOptions:
        """Return the options of the engine."""
        return {**super().engine_options(), "address": self.address}

    def check(self, *, no_wait: bool = False) -> None:
        """Check that the engine has what the other options say about it.

        Raises:
            BadInputError: It has not.
        """
        from benchbench.problems import BadInputError, Problem

        wrong = []
        if no_wait and self.engine != "slurm":
            message = "only --engine slurm goes on without this command"
            wrong.append(Problem(message, file="--no-wait", value=self.engine))
        if self.address is not None and self.engine != "ray":
            wrong.append(Problem("only --engine ray has an address", file="--address", value=self.engine))
        if wrong:
            raise BadInputError(wrong)


@dataclass(frozen=True)
class ResultPlaces:
    """Tracking store and folder of runs."""

    tracking_uri: TrackingUri = None
    runs_dir: Annotated[
        Path | None,
        typer.Option(
            "--runs-dir",
            metavar="DIR",
            help="Folder for the files that runs leave.",
            show_default=".benchbench/runs",
            rich_help_panel=_PLACES,
        ),
    ] = None

    @property
    def workspace(self) -> Workspace:
        """The same as one value."""
        from benchbench.api import Workspace

        return Workspace(self.tracking_uri, self.runs_dir or Workspace.runs_dir)


@dataclass(frozen=True)
class Places(ResultPlaces):
    """Tracking store, folder of runs, and folder of data sets."""

    data_dir: DataDir = Path("data")

    @property
    def workspace(self) -> Workspace:
        """The same as one value."""
        return replace(super().workspace, data=self.data_dir)


def device_names(devices: str | None) -> list[str]:
    """Return the devices of `--devices`."""
    return list(dict.fromkeys(each.strip() for each in devices.split(","))) if devices is not None else []


def spelled_out(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command with its groups of options (`Part`, ...) replaced by single options, as typer needs them."""
    signature = inspect.signature(command, eval_str=True)
    parameters, groups = list[inspect.Parameter](), dict[str, Any]()
    for name, parameter in signature.parameters.items():
        if not is_dataclass(group := parameter.annotation):
            parameters.append(parameter)
            continue
        groups[name], hints, unset = group, get_type_hints(group, include_extras=True), cast(Any, group)()
        parameters += [
            parameter.replace(name=each.name, annotation=hints[each.name], default=getattr(unset, each.name))
            for each in fields(group)
        ]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{each.name: given.pop(each.name) for each in fields(group)})
        command(**given)

    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run
