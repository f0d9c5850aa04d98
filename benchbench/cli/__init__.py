"""The command line: each command parses, calls one function of the harness and prints what it returns."""

from __future__ import annotations

from typing import Annotated

import typer

from benchbench.cli import suites  # first: the help lists commands in the order in which they are imported

# isort: split
from benchbench.cli import tuning

# isort: split
from benchbench.cli import sharpness

# isort: split
from benchbench.cli import reports

# isort: split
from benchbench.cli import plots

# isort: split
from benchbench.cli import leaderboard

# isort: split
from benchbench.cli import plugins

# isort: split
from benchbench.cli import doctor
from benchbench.cli.common import app

__all__ = ["app", "doctor", "leaderboard", "main", "plots", "plugins", "reports", "sharpness", "suites", "tuning"]


def main() -> None:
    """Run the command line; the entry point of the console script."""
    app()


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"benchbench {version('benchbench')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass
