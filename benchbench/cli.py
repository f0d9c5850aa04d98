"""The command line: each command parses, calls one function of the harness and prints what it returns."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from benchbench.values import Row, Suite

EXIT_INCOMPLETE = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="benchbench",
    help="Compare PyTorch optimizers fairly: seeded runs from a YAML suite, exact cost, tables with statistics.",
    epilog="Exit codes: 0 every run has a result, 1 some run broke, 2 bad input, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class EngineName(StrEnum):
    """Where runs execute."""

    local = "local"
    inline = "inline"


class Format(StrEnum):
    """How tables are printed."""

    terminal = "terminal"
    markdown = "markdown"
    json = "json"


class Listing(StrEnum):
    """What can be listed."""

    optimizers = "optimizers"
    workloads = "workloads"
    suites = "suites"


SuiteArgument = Annotated[str, typer.Argument(help="A YAML file, or the name of a bundled suite.", show_default=False)]
Overrides = Annotated[
    list[str],
    typer.Option(
        "--set", metavar="PATH=VALUE", help="Change a value of the suite, e.g. workloads.digits-mlp.epochs=2."
    ),
]
Only = Annotated[
    list[str],
    typer.Option(
        "--only",
        metavar="KEY=LABEL,...",
        help="Take a part of the suite, e.g. method=SASSHA,workload=digits-mlp,seed=0.",
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
Force = Annotated[bool, typer.Option("--force", help="Run again what is done already.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


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


@app.command()
def run(
    suite: SuiteArgument,
    only: Only = [],  # noqa: B006 - typer never changes a default
    overrides: Overrides = [],  # noqa: B006
    engine: Annotated[EngineName, typer.Option(help="A process per run, or all in this one.")] = EngineName.local,
    slots: Annotated[
        int | None, typer.Option(min=1, help="Runs at a time.", show_default="one per GPU, or per core")
    ] = None,
    force: Force = False,
    tracking_uri: TrackingUri = None,
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """Run what is missing of a suite, then print its tables.

    Runs that are finished are not repeated: the same command continues after an interruption. Everything is tracked in
    MLflow; `mlflow ui` in the same folder shows it.
    """
    from benchbench import api
    from benchbench.progress import ProgressDisplay

    with _errors_as_lines():
        loaded = api.load_suite(suite, overrides=overrides, only=only)
        with ProgressDisplay() as display:
            rows = api.run(
                loaded,
                engine=engine.value,
                slots=slots,
                force=force,
                tracking_uri=tracking_uri,
                runs_dir=runs_dir,
                observe=display.show,
            )
    _print_results(loaded, rows, Format.json if as_json else Format.terminal)
    if any(row.result is None or not row.result.conclusive for row in rows):
        raise typer.Exit(EXIT_INCOMPLETE)


@app.command()
def plan(
    suite: SuiteArgument,
    only: Only = [],  # noqa: B006
    overrides: Overrides = [],  # noqa: B006
    force: Force = False,
    tracking_uri: TrackingUri = None,
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """Show the runs of a suite, which are done, and where the others would run. Changes nothing."""
    from benchbench import api
    from benchbench.engines.slots import available_slots

    with _errors_as_lines():
        loaded = api.load_suite(suite, overrides=overrides, only=only)
        planned = api.plan(loaded, force=force, tracking_uri=tracking_uri, runs_dir=runs_dir)
    rows = [
        {
            "workload": item.spec.workload_label,
            "method": item.spec.method,
            "seed": item.spec.seed,
            "epochs": item.spec.epochs,
            "state": item.state,
            "last outcome": item.result.outcome if item.result else "",
            "key": item.spec.key,
        }
        for item in planned
    ]
    slots = [slot.name for slot in available_slots()]
    if as_json:
        typer.echo(json.dumps({"runs": rows, "slots": slots}, indent=2))
        return
    _print_listing(rows)
    missing = sum(item.state == "to run" for item in planned)
    typer.echo(f"\n{len(planned)} runs, {missing} to run, on {len(slots)} slots: {', '.join(slots)}")


@app.command()
def report(
    suite: SuiteArgument,
    only: Only = [],  # noqa: B006
    overrides: Overrides = [],  # noqa: B006
    tracking_uri: TrackingUri = None,
    form: Annotated[Format, typer.Option("--format", help="How to print the tables.")] = Format.terminal,
) -> None:
    """Print the tables of a suite from what has been run."""
    from benchbench import api

    with _errors_as_lines():
        loaded = api.load_suite(suite, overrides=overrides, only=only, thorough=False)
        rows = api.rows(loaded, tracking_uri=tracking_uri)
    _print_results(loaded, rows, form)


@app.command("list")
def list_names(
    what: Annotated[Listing, typer.Argument(help="What to list.", show_default=False)], as_json: Json = False
) -> None:
    """List the optimizers, workloads or suites that can be named, and the plugins that are broken."""
    with _errors_as_lines():
        rows = _suite_rows() if what is Listing.suites else _plugin_rows(what)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        _print_listing(rows)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="An optimizer, a workload or a bundled suite.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Show what is known of an optimizer or a workload: parameters, defaults, documentation, distribution."""
    from dataclasses import asdict

    from benchbench.registry import describe

    with _errors_as_lines():
        description = describe(name)
    if as_json:
        typer.echo(json.dumps(asdict(description), indent=2))
        return
    plugin = description.plugin
    typer.echo(f"{plugin.name} ({plugin.kind}): {plugin.target}, from {plugin.distribution} {plugin.version}\n")
    _print_listing(
        [
            {
                "parameter": each.name,
                "type": each.type,
                "default": "required" if each.default is None else each.default,
            }
            for each in description.parameters
        ]
    )
    if description.doc:
        typer.echo(f"\n{description.doc}")


@app.command()
def schema() -> None:
    """Print the JSON schema of suite files, for completion and checking in an editor."""
    from benchbench.suite import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))


@contextmanager
def _errors_as_lines() -> Iterator[None]:
    """Turn the errors that a user can act on into lines on standard error and an exit code."""
    from benchbench.plugins import PluginError
    from benchbench.problems import BadInputError
    from benchbench.tracking import TrackingError

    try:
        yield
    except BadInputError as error:
        for problem in error.problems:
            typer.echo(f"error: {problem}", err=True)
        raise typer.Exit(EXIT_BAD_INPUT) from None
    except (PluginError, TrackingError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(EXIT_BAD_INPUT) from None
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command runs what is missing", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _print_results(suite: Suite, rows: Sequence[Row], form: Format) -> None:
    from benchbench.report import tables, to_markdown, to_terminal

    made = tables(suite, rows)
    if form is Format.json:
        content = {
            "suite": suite.name,
            "tables": [table.model_dump(mode="json") for table in made],
            "runs": [row.model_dump(mode="json") for row in rows],
        }
        typer.echo(json.dumps(content, indent=2))
        return
    terminal = sys.stdout.isatty()
    color = terminal and "NO_COLOR" not in os.environ
    width = shutil.get_terminal_size().columns if terminal else None
    texts = (
        [to_markdown(table) for table in made]
        if form is Format.markdown
        else [to_terminal(table, color=color, width=width) for table in made]
    )
    typer.echo("\n\n".join(texts))


def _plugin_rows(what: Listing) -> list[dict[str, str]]:
    from benchbench.plugins import Kind, plugins, status

    kind: Kind = "optimizer" if what is Listing.optimizers else "workload"
    return [
        {
            "name": plugin.name,
            "target": plugin.target,
            "distribution": f"{plugin.distribution} {plugin.version}",
            "status": status(plugin) or "ok",
        }
        for plugin in plugins(kind).values()
    ]


def _suite_rows() -> list[dict[str, str]]:
    from benchbench.problems import BadInputError
    from benchbench.suite import bundled, load

    rows = []
    for name, path in bundled().items():
        try:
            suite = load(path)
            about = {"title": suite.title, "runs": str(len(suite.specs))}
        except BadInputError as error:
            about = {"title": f"broken: {error.problems[0]}", "runs": ""}
        rows.append({"name": name, **about, "file": str(path)})
    return rows


def _print_listing(rows: Sequence[Mapping[str, object]]) -> None:
    from tabulate import tabulate

    from benchbench.problems import printable

    texts = [{name: printable(str(value)) for name, value in row.items()} for row in rows]
    typer.echo(tabulate(texts, headers="keys", tablefmt="simple", disable_numparse=True))
