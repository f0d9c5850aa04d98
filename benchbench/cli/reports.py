"""Commands about results: report, compare, export, import."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from benchbench.cli import completion, options
from benchbench.cli.errors import errors_as_lines
from benchbench.cli.output import note_missing_store, print_results, print_tables

_PUBLICATION = "Published tables that come along, e.g. sassha-paper, or a YAML file of that form."
_BUNDLE = "Bundle for a leaderboard"


class ExportFormat(StrEnum):
    """How results are handed on."""

    csv = "csv"
    json = "json"


ExportFormatOption = Annotated[ExportFormat, typer.Option("--format", metavar="NAME", help="csv or json.")]


def report(
    suites: Annotated[
        list[str],
        typer.Argument(
            metavar="SUITE",
            help="YAML files, or the names of bundled suites; several get joint tables too.",
            show_default=False,
            autocompletion=completion.suites,
        ),
    ],
    imported: Annotated[
        list[Path],
        typer.Option(
            "--import", metavar="FILE", help="Show results that `export` wrote beside the suite's own. Repeatable."
        ),
    ] = [],
    mixed_devices: Annotated[
        bool, typer.Option("--mixed-devices", help="Put seconds of different devices beside each other.")
    ] = False,
    only: options.Only = [],
    overrides: options.Overrides = [],
    synthetic: options.Synthetic = False,
    code_from: options.CodeFrom = None,
    form: options.FormatOption = options.Format.terminal,
    tracking_uri: options.TrackingUri = None,
    runs_dir: options.RunsDir = None,
) -> None:
    """Print the tables of suites from what has been run. Runs nothing.

    A table is made for every entry under `tables` of the suite. Bold or a raised 1 is the best of a column, underlined,
    italic or a raised 2 the second best, and `*` no result; notes below say why.
    """
    from benchbench import api

    if mixed_devices:
        overrides = [*overrides, "mixed_devices=true"]
    with errors_as_lines():
        loaded = [
            api.load_suite(
                suite, overrides=overrides, only=only, synthetic=synthetic, code_from=code_from, thorough=False
            )
            for suite in suites
        ]
        note_missing_store(tracking_uri)
        results = [
            api.results(suite, imported=imported, tracking_uri=tracking_uri, runs_dir=runs_dir) for suite in loaded
        ]
        left_out = api.workloads_left_out(loaded, imported)
        print_results([suite for suite, _ in results], [rows for _, rows in results], form)
    for workload in left_out:
        typer.echo(f"imported results left out: no suite has the workload {workload}", err=True)


def compare(
    suite: options.SuiteArgument,
    publication: Annotated[
        str,
        typer.Option(
            "--with",
            metavar="NAME",
            help=_PUBLICATION,
            show_default=False,
            autocompletion=completion.publications,
        ),
    ],
    best_epoch: Annotated[
        bool, typer.Option("--best-epoch", help="Results after the best epoch, instead of the final one.")
    ] = False,
    only: options.Only = [],
    overrides: options.Overrides = [],
    synthetic: options.Synthetic = False,
    form: options.FormatOption = options.Format.terminal,
    tracking_uri: options.TrackingUri = None,
) -> None:
    """Print measured results beside published ones, with a verdict for each. Runs nothing.

    Workloads and methods are matched by their labels; what only one side has is listed below the table.
    """
    from benchbench import api

    with errors_as_lines():
        loaded = api.load_suite(suite, overrides=overrides, only=only, synthetic=synthetic, thorough=False)
        note_missing_store(tracking_uri)
        table = api.compare(loaded, publication, best_epoch=best_epoch, tracking_uri=tracking_uri)
    print_tables(table.title, [table], form)


def published(
    publication: Annotated[
        str,
        typer.Argument(metavar="NAME", help=_PUBLICATION, show_default=False, autocompletion=completion.publications),
    ],
    form: options.FormatOption = options.Format.terminal,
) -> None:
    """Print published tables as they were printed, in the layout of measured ones."""
    from benchbench.reporting import published as publications

    with errors_as_lines():
        found = publications.load(publication)
    print_tables(found.title, publications.tables(found), form)


def export(
    suite: options.SuiteArgument,
    only: options.Only = [],
    overrides: options.Overrides = [],
    synthetic: options.Synthetic = False,
    form: ExportFormatOption = ExportFormat.csv,
    tracking_uri: options.TrackingUri = None,
    runs_dir: options.RunsDir = None,
    bundle: Annotated[
        Path | None,
        typer.Option(
            "--bundle",
            metavar="FILE.zip",
            help="Write a bundle instead of printing; it needs --tuning.",
            rich_help_panel=_BUNDLE,
        ),
    ] = None,
    tuning: Annotated[
        str,
        typer.Option("--tuning", metavar="TEXT", help="How the hyperparameters were chosen.", rich_help_panel=_BUNDLE),
    ] = "",
    by: Annotated[
        str, typer.Option("--by", metavar="TEXT", help="Who hands the results in.", rich_help_panel=_BUNDLE)
    ] = "",
    contact: Annotated[
        str, typer.Option("--contact", metavar="TEXT", help="How to reach them.", rich_help_panel=_BUNDLE)
    ] = "",
    licence: Annotated[
        str, typer.Option("--licence", metavar="TEXT", help="Terms for the data.", rich_help_panel=_BUNDLE)
    ] = "",
    date: Annotated[
        str | None,
        typer.Option(
            "--date", metavar="YYYY-MM-DD", help="The day to state.", show_default="today", rich_help_panel=_BUNDLE
        ),
    ] = None,
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
        note_missing_store(tracking_uri)
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


def import_results(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="The folder in which the other program left its results.", show_default=False
        ),
    ],
    origin: Annotated[
        Origin,
        typer.Option("--from", metavar="NAME", help="The other program: algoperf or fob.", show_default=False),
    ],
    form: ExportFormatOption = ExportFormat.csv,
) -> None:
    """Print the results of another program in the form of `export`.

    Send the output to a file: `benchbench import FOLDER --from algoperf > results.csv`. Then
    `benchbench report SUITE --import results.csv` shows it beside the suite's own results.
    """
    from benchbench.reporting import exchange, importers

    with errors_as_lines():
        records = importers.READERS[origin.value](folder)
    typer.echo(exchange.to_json(records) if form is ExportFormat.json else exchange.to_csv(records))
