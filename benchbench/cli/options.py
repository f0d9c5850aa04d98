"""Options and arguments that several commands have, each of them written once.

Every command lists them in the order of this file, its own options first.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchbench.cli import completion

if TYPE_CHECKING:
    from benchbench.api import Workspace

_EXECUTION = "Execution"
_PLACES = "Files and tracking"


class EngineName(StrEnum):
    """Where runs execute."""

    local = "local"
    inline = "inline"
    ray = "ray"
    slurm = "slurm"


class Format(StrEnum):
    """How tables are printed."""

    terminal = "terminal"
    markdown = "markdown"
    latex = "latex"
    html = "html"
    html_fragment = "html-fragment"
    csv = "csv"
    json = "json"


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
Synthetic = Annotated[
    bool, typer.Option("--synthetic", help="Rehearse on made-up data of the same shapes; a run of its own.")
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
Engine = Annotated[
    EngineName,
    typer.Option(
        "--engine",
        metavar="NAME",
        help="local: processes on this machine; inline: all in this one; ray, slurm: a cluster's nodes.",
        rich_help_panel=_EXECUTION,
    ),
]
Slots = Annotated[
    int | None,
    typer.Option(
        "--slots",
        metavar="N",
        min=1,
        help="Runs at a time; more than there are GPUs only with --slots-per-device.",
        show_default="one per GPU, or per core",
        rich_help_panel=_EXECUTION,
    ),
]
SlotsPerDevice = Annotated[
    int,
    typer.Option(
        "--slots-per-device",
        metavar="N",
        min=1,
        help="Runs that share a GPU, not with slurm; their times are in no table.",
        rich_help_panel=_EXECUTION,
    ),
]
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
RunsDir = Annotated[
    Path | None,
    typer.Option(
        "--runs-dir",
        metavar="DIR",
        help="Folder for the files that runs leave.",
        show_default=".benchbench/runs",
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


def workspace(
    *, tracking_uri: str | None = None, runs_dir: Path | None = None, data_dir: Path | None = None
) -> Workspace:
    """Return the workspace that options name."""
    from benchbench.api import Workspace

    here = Workspace()
    return Workspace(tracking_uri, runs_dir or here.runs_dir, data_dir or here.data)


def device_names(devices: str | None) -> list[str]:
    """Return the devices of `--devices`."""
    return list(dict.fromkeys(each.strip() for each in devices.split(","))) if devices is not None else []


def check_engine(engine: EngineName, address: str | None, *, no_wait: bool = False) -> None:
    """Check that the engine has what the other options say about it.

    Raises:
        BadInputError: It has not.
    """
    from benchbench.problems import BadInputError, Problem

    wrong = []
    if no_wait and engine is not EngineName.slurm:
        wrong.append(Problem("only --engine slurm goes on without this command", file="--no-wait", value=engine.value))
    if address is not None and engine is not EngineName.ray:
        wrong.append(Problem("only --engine ray has an address", file="--address", value=engine.value))
    if wrong:
        raise BadInputError(wrong)
