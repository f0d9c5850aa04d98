"""Options and arguments that several commands have, each of them written once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from benchbench.cli import completion


class EngineName(StrEnum):
    """Where runs execute."""

    local = "local"
    inline = "inline"
    ray = "ray"
    slurm = "slurm"


SuiteArgument = Annotated[
    str,
    typer.Argument(
        help="A YAML file, or the name of a bundled suite.", show_default=False, autocompletion=completion.suites
    ),
]
Overrides = Annotated[
    list[str],
    typer.Option("--set", metavar="PATH=VALUE", help="Change a value of the suite, e.g. methods.SGD.lr=0.05."),
]
Only = Annotated[
    list[str],
    typer.Option(
        "--only",
        metavar="KEY=LABEL,...",
        help="Take a part of the suite, e.g. method=SASSHA,seed=0; also by workload.",
        autocompletion=completion.parts,
    ),
]
TrackingUri = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri",
        envvar="MLFLOW_TRACKING_URI",
        help="MLflow store.",
        show_default="sqlite:///mlflow.db",
    ),
]
RunsDir = Annotated[
    Path | None,
    typer.Option("--runs-dir", help="Folder for the files that runs leave.", show_default=".benchbench/runs"),
]
DataDir = Annotated[Path, typer.Option("--data-dir", envvar="BENCHBENCH_DATA", help="Folder in which data sets lie.")]
Synthetic = Annotated[
    bool, typer.Option("--synthetic", help="Rehearse on made-up data of the same shapes; a run of its own.")
]
Engine = Annotated[
    EngineName,
    typer.Option(
        "--engine", help="Where runs execute: processes on this machine, all in this one, or a cluster's nodes."
    ),
]
Slots = Annotated[
    int | None, typer.Option("--slots", min=1, help="Runs at a time.", show_default="one per GPU, or per core")
]
Devices = Annotated[
    str | None,
    typer.Option(
        "--devices",
        metavar="LIST",
        help="What to use of this machine: cpu, or GPUs such as 0,2.",
        show_default="all GPUs",
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address", help="A Ray cluster, for --engine ray.", show_default="RAY_ADDRESS, else one on this machine"
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Run again what is done already.")]
