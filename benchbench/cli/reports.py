"""Commands about results: report, compare, export, import."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from benchbench.cli import completion, options
from benchbench.cli.errors import EXIT_INCOMPLETE
from benchbench.cli.output import note_damage, note_missing_store, print_results, print_tables
from benchbench.problems import BadInputError, Problem

_PUBLICATION = "Published tables that come along, e.g. sassha-paper, or a YAML file of that form."
_BUNDLE = "Bundle for a leaderboard"


def report(
    *,
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
    part: options.Part,
    code_from: options.CodeFrom = None,
    form: options.FormatOption = "terminal",
    places: options.ResultPlaces,
) -> None:
    """Print the tables of suites from what has been run. Runs nothing.

    A table is made for every entry under `tables` of the suite. Bold or a raised 1 is the best of a column, underlined,
    italic or a raised 2 the second best, and `*` no result; notes below say why.
    """
    from benchbench import api

    if mixed_devices:
        part = replace(part, overrides=[*part.overrides, "mixed_devices=true"])
    loaded = [part.load(suite, code_from) for suite in suites]
    note_missing_store(places.workspace)
    results = [api.results(suite, imported=imported, workspace=places.workspace) for suite in loaded]
    left_out = api.workloads_left_out(loaded, imported)
    note_damage([row for _, rows in results for row in rows], places.workspace)
    print_results([suite for suite, _ in results], [rows for _, rows in results], form)
    for workload in left_out:
        typer.echo(f"imported results left out: no suite has the workload {workload}", err=True)


def compare(
    *,
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
    part: options.Part,
    form: options.FormatOption = "terminal",
    tracking_uri: options.TrackingUri = None,
) -> None:
    """Print measured results beside published ones, with a verdict for each. Runs nothing.

    Workloads and methods are matched by their labels; what only one side has is listed below the table.
    """
    from benchbench import api

    loaded, workspace = part.load(suite), api.Workspace(tracking_uri)
    note_missing_store(workspace)
    table = api.compare(loaded, publication, best_epoch=best_epoch, workspace=workspace)
    print_tables(table.title, [table], form)


def regress(
    *,
    suite: options.SuiteArgument,
    against: Annotated[
        str,
        typer.Option(
            "--against",
            metavar="PLACE",
            help="A folder in which the suite was run, the URI of a tracking store, or a bundle.",
            show_default=False,
        ),
    ],
    part: options.Part,
    form: options.FormatOption = "terminal",
    places: options.ResultPlaces,
) -> None:
    """Say which runs differ from the same runs made elsewhere: from which step on, by how much, with which versions.

    Run the suite in two environments, each in a folder of its own. Exit code 1 if a run differs or is missing.
    """
    from benchbench import api

    loaded = part.load(suite)
    note_missing_store(places.workspace)
    table = api.regress(loaded, against, workspace=places.workspace)
    print_tables(table.title, [table], form)
    if table.rows:
        raise typer.Exit(EXIT_INCOMPLETE)


def published(
    publication: Annotated[
        str,
        typer.Argument(metavar="NAME", help=_PUBLICATION, show_default=False, autocompletion=completion.publications),
    ],
    form: options.FormatOption = "terminal",
) -> None:
    """Print published tables as they were printed, in the layout of measured ones."""
    from benchbench.reporting import published as publications

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
    form: options.FormatOption = "terminal",
) -> None:
    """Print which methods reach their target and beat which others, at a known standard deviation of runs.

    The rule of the NanoGPT speedrun's optimizer track is `--sigma 0.0013 --margin 0.004 --per-step 0.000045`.
    """
    from benchbench.reporting import exchange
    from benchbench.reporting.records import RecordRule, record_tables

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
    *,
    suite: options.SuiteArgument,
    part: options.Part,
    form: Annotated[Literal["csv", "json"], typer.Option("--format", metavar="NAME", help="csv or json.")] = "csv",
    places: options.ResultPlaces,
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

    loaded, workspace = part.load(suite), places.workspace
    note_missing_store(workspace)
    if bundle:
        said = {"tuning": tuning, "by": by, "contact": contact, "licence": licence}
        api.export_bundle(loaded, bundle, said, date=date, workspace=workspace)
        return
    rows = api.rows(loaded, workspace=workspace)
    note_damage(rows, workspace)
    records = exchange.records(loaded, rows)
    typer.echo(exchange.to_json(records) if form == "json" else exchange.to_csv(records))


def import_results(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="The folder in which the other program left its results.", show_default=False
        ),
    ],
    origin: Annotated[
        Literal["algoperf", "fob", "modded-nanogpt"],
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

    if not shown and form not in (None, "csv", "json"):
        problem = Problem("without --table, allowed: csv, json", field="--format", value=form)
        raise BadInputError([problem])
    records = importers.READERS[origin](folder)
    if shown:
        suite, rows = exchange.as_suite(records)
        asked = suite.model_copy(update={"tables": tuple(shown)})
        print_results([asked], [rows], form or "terminal")
        return
    typer.echo(exchange.to_json(records) if form == "json" else exchange.to_csv(records))
