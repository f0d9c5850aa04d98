"""Commands about results: report, compare, export, import."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from benchbench.cli import completion, options
from benchbench.cli.errors import errors_as_lines
from benchbench.cli.output import note_damage, note_missing_store, print_results, print_tables
from benchbench.problems import BadInputError, Problem

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
    workspace = options.workspace(tracking_uri=tracking_uri, runs_dir=runs_dir)
    with errors_as_lines():
        loaded = [
            api.load_suite(suite, overrides=overrides, only=only, synthetic=synthetic, code_from=code_from)
            for suite in suites
        ]
        note_missing_store(tracking_uri)
        results = [api.results(suite, imported=imported, workspace=workspace) for suite in loaded]
        left_out = api.workloads_left_out(loaded, imported)
        note_damage([row for _, rows in results for row in rows], workspace)
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
        loaded = api.load_suite(suite, overrides=overrides, only=only, synthetic=synthetic)
        note_missing_store(tracking_uri)
        table = api.compare(
            loaded, publication, best_epoch=best_epoch, workspace=options.workspace(tracking_uri=tracking_uri)
        )
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


def z_test(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="Results that `import` or `export` wrote.", show_default=False),
    ],
    sigma: Annotated[
        float,
        typer.Option(
            "--sigma", metavar="X", help="Standard deviation of one run, known beforehand.", show_default=False
        ),
    ],
    margin: Annotated[
        float,
        typer.Option("--margin", metavar="X", help="Least (target - mean) * sqrt(n).", show_default=False),
    ],
    per_step: Annotated[
        float | None,
        typer.Option(
            "--per-step",
            metavar="X",
            help="What a step less is worth in the metric.",
            show_default="methods with other numbers of steps are not compared",
        ),
    ] = None,
    target: Annotated[
        float | None,
        typer.Option("--target", metavar="X", help="What has to be reached.", show_default="what the results say"),
    ] = None,
    form: options.FormatOption = options.Format.terminal,
) -> None:
    """Print which methods reach their target and beat which others, at a known standard deviation of runs.

    The rule of the NanoGPT speedrun's optimizer track is `--sigma 0.0013 --margin 0.004 --per-step 0.000045`.
    """
    from benchbench.reporting import exchange
    from benchbench.reporting.records import RecordRule, record_tables

    with errors_as_lines():
        problems = [
            Problem(f"must be a finite number{' above 0' if name == '--sigma' else ''}", field=name, value=str(value))
            for name, value in (
                ("--sigma", sigma),
                ("--margin", margin),
                ("--per-step", per_step),
                ("--target", target),
            )
            if value is not None and (not math.isfinite(value) or (name == "--sigma" and value <= 0))
        ]
        if problems:
            raise BadInputError(problems)
        suite, rows = exchange.as_suite(exchange.read_all(files))
        if target is not None:
            suite = suite.model_copy(update={"targets": dict.fromkeys(suite.workloads, target)})
        tables = record_tables(suite, rows, RecordRule(sigma=sigma, margin=margin, per_step=per_step))
    print_tables(suite.title, tables, form)


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

    workspace = options.workspace(tracking_uri=tracking_uri, runs_dir=runs_dir)
    with errors_as_lines():
        loaded = api.load_suite(suite, overrides=overrides, only=only, synthetic=synthetic)
        note_missing_store(tracking_uri)
        if bundle:
            said = {"tuning": tuning, "by": by, "contact": contact, "licence": licence}
            api.export_bundle(loaded, bundle, said, date=date, workspace=workspace)
            return
        rows = api.rows(loaded, workspace=workspace)
        note_damage(rows, workspace)
        records = exchange.records(loaded, rows)
    typer.echo(exchange.to_json(records) if form is ExportFormat.json else exchange.to_csv(records))


class Origin(StrEnum):
    """Programs whose results can be read."""

    algoperf = "algoperf"
    fob = "fob"
    modded_nanogpt = "modded-nanogpt"


def import_results(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="The folder in which the other program left its results.", show_default=False
        ),
    ],
    origin: Annotated[
        Origin,
        typer.Option(
            "--from", metavar="NAME", help="The other program: algoperf, fob or modded-nanogpt.", show_default=False
        ),
    ],
    shown: Annotated[
        list[str],
        typer.Option("--table", metavar="NAME", help="Print this table of the results, as in a suite. Repeatable."),
    ] = [],
    form: Annotated[
        options.Format | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="csv or json; with --table any that `report` has.",
            show_default="csv, with --table terminal",
        ),
    ] = None,
) -> None:
    """Print the results of another program in the form of `export`, or tables of them.

    Send the output to a file: `benchbench import FOLDER --from algoperf > results.csv`. Then
    `benchbench report SUITE --import results.csv` shows it beside the suite's own results, and
    `benchbench leaderboard build results.csv --out site` makes a site of it.
    """
    from benchbench.reporting import exchange, importers

    with errors_as_lines():
        if not shown and form not in (None, options.Format.csv, options.Format.json):
            problem = Problem("without --table, allowed: csv, json", field="--format", value=str(form))
            raise BadInputError([problem])
        records = importers.READERS[origin.value](folder)
        if shown:
            suite, rows = exchange.as_suite(records)
            asked = suite.model_copy(update={"tables": tuple(shown)})
            print_results([asked], [rows], form or options.Format.terminal)
            return
    typer.echo(exchange.to_json(records) if form is options.Format.json else exchange.to_csv(records))
