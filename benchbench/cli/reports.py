"""Commands about results: report, compare, export, import."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from benchbench.cli import completion
from benchbench.cli.common import app, errors_as_lines
from benchbench.cli.options import Only, Overrides, RunsDir, SuiteArgument, Synthetic, TrackingUri
from benchbench.cli.output import Format, print_results, print_tables

FormatOption = Annotated[
    Format,
    typer.Option(
        "--format",
        help="How to print: `latex` needs booktabs and graphicx, `html` is a page, `html-fragment` its tables only, "
        "`csv` has unrounded numbers.",
    ),
]


class ExportFormat(StrEnum):
    """How results are handed on."""

    csv = "csv"
    json = "json"


@app.command()
def report(
    suites: Annotated[
        list[str],
        typer.Argument(
            metavar="SUITE...",
            help="YAML files, or the names of bundled suites; several get joint tables too.",
            autocompletion=completion.suites,
        ),
    ],
    only: Only = [],  # noqa: B006 - typer never changes a default
    overrides: Overrides = [],  # noqa: B006
    imported: Annotated[
        list[Path],
        typer.Option("--import", metavar="FILE", help="Show results that `export` wrote beside the suite's own."),
    ] = [],  # noqa: B006
    tracking_uri: TrackingUri = None,
    runs_dir: RunsDir = None,
    synthetic: Synthetic = False,
    form: FormatOption = Format.terminal,
) -> None:
    """Print the tables of suites from what has been run. Runs nothing.

    A table is made for every entry under `tables` of the suite. Bold or a raised 1 is the best of a column, underlined,
    italic or a raised 2 the second best, and `*` no result; notes below say why.
    """
    from benchbench import api

    with errors_as_lines():
        loaded = [
            api.load_suite(suite, overrides=overrides, only=only, synthetic=synthetic, thorough=False)
            for suite in suites
        ]
        results = [
            api.results(suite, imported=imported, tracking_uri=tracking_uri, runs_dir=runs_dir) for suite in loaded
        ]
        left_out = api.workloads_left_out(loaded, imported)
        print_results([suite for suite, _ in results], [rows for _, rows in results], form)
    for workload in left_out:
        typer.echo(f"imported results left out: no suite has the workload {workload}", err=True)


@app.command()
def compare(
    suite: SuiteArgument,
    publication: Annotated[
        str,
        typer.Option(
            "--with",
            metavar="NAME",
            help="Published tables that come along (`sassha-paper`), or a YAML file of that form.",
            show_default=False,
        ),
    ],
    only: Only = [],  # noqa: B006
    overrides: Overrides = [],  # noqa: B006
    best_epoch: Annotated[
        bool, typer.Option("--best-epoch", help="Results after the best epoch, instead of the final one.")
    ] = False,
    tracking_uri: TrackingUri = None,
    synthetic: Synthetic = False,
    form: FormatOption = Format.terminal,
) -> None:
    """Print measured results beside published ones, with a verdict for each. Runs nothing.

    Workloads and methods are matched by their labels; what only one side has is listed below the table.
    """
    from benchbench import api

    with errors_as_lines():
        loaded = api.load_suite(suite, overrides=overrides, only=only, synthetic=synthetic, thorough=False)
        table = api.compare(loaded, publication, best_epoch=best_epoch, tracking_uri=tracking_uri)
    print_tables(table.title, [table], form)


@app.command()
def published(
    publication: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Published tables that come along (`sassha-paper`), or a YAML file of that form.",
            show_default=False,
        ),
    ],
    form: FormatOption = Format.terminal,
) -> None:
    """Print published tables as they were printed, in the layout of measured ones."""
    from benchbench.reporting import published as publications

    with errors_as_lines():
        found = publications.load(publication)
    print_tables(found.title, publications.tables(found), form)


@app.command()
def export(
    suite: SuiteArgument,
    only: Only = [],  # noqa: B006
    overrides: Overrides = [],  # noqa: B006
    tracking_uri: TrackingUri = None,
    synthetic: Synthetic = False,
    form: Annotated[ExportFormat, typer.Option("--format", help="How to write them.")] = ExportFormat.csv,
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", metavar="FILE.zip", help="Write a bundle for a leaderboard instead of printing."),
    ] = None,
    tuning: Annotated[
        str, typer.Option("--tuning", help="With --bundle, required: how the hyperparameters were chosen.")
    ] = "",
    by: Annotated[str, typer.Option("--by", help="With --bundle: who hands the results in.")] = "",
    contact: Annotated[str, typer.Option("--contact", help="With --bundle: how to reach them.")] = "",
    licence: Annotated[str, typer.Option("--licence", help="With --bundle: terms for the data.")] = "",
    date: Annotated[
        str | None,
        typer.Option("--date", metavar="YYYY-MM-DD", help="With --bundle: the day to state.", show_default="today"),
    ] = None,
    runs_dir: RunsDir = None,
) -> None:
    """Print every result of a suite: one record per method, workload, seed and metric.

    Send the output to a file: `benchbench export SUITE > results.csv`. Elsewhere,
    `benchbench report SUITE --import results.csv` shows it; `benchbench schema --results` describes the form.

    With `--bundle`, a zip file has everything: suite, specs, results, epochs, logs and SHA-256 sums of it all, without
    the names of this machine and its folders.
    """
    from benchbench import api
    from benchbench.reporting import exchange

    with errors_as_lines():
        loaded = api.load_suite(suite, overrides=overrides, only=only, synthetic=synthetic, thorough=False)
        if bundle:
            said = {"tuning": tuning, "by": by, "contact": contact, "licence": licence}
            api.export_bundle(loaded, bundle, said, date=date, tracking_uri=tracking_uri, runs_dir=runs_dir)
            return
        records = api.export(loaded, tracking_uri=tracking_uri)
    typer.echo(exchange.to_json(records) if form is ExportFormat.json else exchange.to_csv(records))


class Origin(StrEnum):
    """Programs whose results can be read."""

    algoperf = "algoperf"
    fob = "fob"


@app.command("import")
def import_results(
    folder: Annotated[Path, typer.Argument(help="The folder in which the other program left its results.")],
    origin: Annotated[Origin, typer.Option("--from", help="The other program.")],
    form: Annotated[ExportFormat, typer.Option("--format", help="How to write them.")] = ExportFormat.csv,
) -> None:
    """Print the results of another program in the form of `export`.

    Send the output to a file: `benchbench import FOLDER --from algoperf > results.csv`. Then
    `benchbench report SUITE --import results.csv` shows it beside the suite's own results.
    """
    from benchbench.reporting import exchange, importers

    with errors_as_lines():
        records = importers.READERS[origin.value](folder)
    typer.echo(exchange.to_json(records) if form is ExportFormat.json else exchange.to_csv(records))
