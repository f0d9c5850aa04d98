"""The command line: each command parses, calls one function of the harness and prints what it returns."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Annotated

import typer

from benchbench.cli import doctor, leaderboard, plots, plugins, reports, sharpness, suites, tuning
from benchbench.cli.options import spelled_out
from benchbench.cli.parsing import Command, Commands

__all__ = ["app", "main"]

_COMMANDS: dict[str, dict[str, Callable[..., None]]] = {
    "Suites": {
        "run": suites.run,
        "plan": suites.plan,
        "prepare": suites.prepare,
        "status": suites.status,
        "collect": suites.collect,
        "tune": tuning.tune,
        "match": tuning.match,
        "sharpness": sharpness.sharpness,
        "schema": suites.schema,
    },
    "Results": {
        "report": reports.report,
        "compare": reports.compare,
        "published": reports.published,
        "plot": plots.plot,
        "export": reports.export,
        "import": reports.import_results,
        "regress": reports.regress,
        "z-test": reports.z_test,
    },
    "Optimizers, workloads, this machine": {
        "list": plugins.list_names,
        "show": plugins.show,
        "check": plugins.check,
        "new": plugins.new,
        "doctor": doctor.doctor,
    },
}
"""Commands by their heading in the help, in its order."""

_LEADERBOARD: dict[str, Callable[..., None]] = {
    "build": leaderboard.build,
    "add": leaderboard.add,
    "verify": leaderboard.verify,
}


def main() -> None:
    """Run the command line; the entry point of the console script."""
    try:
        app()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # all is in order: Ctrl-C ends the interpreter without a traceback


def _version(wanted: bool) -> None:
    if wanted:
        from benchbench.distribution import own_version

        typer.echo(f"benchbench {own_version()}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


def _application() -> typer.Typer:
    app = typer.Typer(
        name="benchbench",
        cls=Commands,
        help="Compare PyTorch optimizers fairly: seeded runs from a YAML suite, exact cost, tables with statistics.",
        epilog="Exit codes: 0 every run has a result, 1 some run broke, 2 bad input, 130 interrupted.",
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for panel, commands in _COMMANDS.items():
        for name, function in commands.items():
            app.command(name, cls=Command, rich_help_panel=panel)(spelled_out(function))
    board = typer.Typer(
        cls=Commands,
        help="A static site over many submissions, and bundles that can be checked and run again.",
        no_args_is_help=True,
    )
    for name, function in _LEADERBOARD.items():
        board.command(name, cls=Command)(spelled_out(function))
    app.add_typer(board, name="leaderboard", rich_help_panel="Results")
    return app


app = _application()
