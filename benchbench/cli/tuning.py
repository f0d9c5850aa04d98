"""Commands that write suites: tune, match."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from benchbench.cli.common import EXIT_INCOMPLETE, Json, app, errors_as_lines, print_listing
from benchbench.cli.options import (
    Address,
    DataDir,
    Devices,
    Engine,
    EngineName,
    Only,
    Overrides,
    RunsDir,
    Slots,
    SuiteArgument,
    Synthetic,
    TrackingUri,
)
from benchbench.cli.output import Format, print_tables


@app.command()
def tune(
    suite: SuiteArgument,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.yaml", help="Write a suite with the chosen values, ready for `benchbench run`."),
    ] = None,
    report: Annotated[bool, typer.Option("--report", help="Run nothing: show how far the searches are.")] = False,
    figures: Annotated[
        Path | None,
        typer.Option("--figures", metavar="DIR", help="Draw the best of k trials, and trials by hyperparameter."),
    ] = None,
    only: Only = [],  # noqa: B006 - typer never changes a default
    overrides: Overrides = [],  # noqa: B006
    engine: Engine = EngineName.local,
    slots: Slots = None,
    devices: Devices = None,
    address: Address = None,
    tracking_uri: TrackingUri = None,
    runs_dir: RunsDir = None,
    data_dir: DataDir = Path("data"),
    synthetic: Synthetic = False,
    as_json: Json = False,
) -> None:
    """Choose the hyperparameters of a suite: the same budget for every method, on data that the result never sees.

    The suite names search spaces (`search`) and a budget (`tuning`). Trials are judged on a held-out part of the
    training data; the best are trained again on other seeds; `--out` writes the winners into a suite, which trains them
    on fresh seeds and reads the test data once. The same command continues after an interruption.
    """
    from benchbench import api
    from benchbench.cli.progress import ProgressDisplay
    from benchbench.figures.drawing import save
    from benchbench.figures.tuning import tuning_figures
    from benchbench.reporting.best_of import best_of_table
    from benchbench.tuning.listing import listing

    with errors_as_lines():
        if out is not None:
            _check_whole(only, synthetic=synthetic)
        loaded = api.load_suite(suite, overrides=overrides, only=only, synthetic=synthetic, thorough=False)
        if report:
            standings = api.tuning_state(loaded, tracking_uri=tracking_uri, runs_dir=runs_dir)
        else:
            with ProgressDisplay() as display:
                standings = api.tune(
                    loaded,
                    engine=engine.value,
                    slots=slots,
                    devices=[each.strip() for each in devices.split(",")] if devices else (),
                    address=address,
                    tracking_uri=tracking_uri,
                    runs_dir=runs_dir,
                    data=data_dir,
                    observe=display.show,
                    warn=display.warn,
                )
        if as_json:
            typer.echo(json.dumps(listing(standings, plain=True), indent=2))
        else:
            print_listing(listing(standings))
            typer.echo()
            print_tables(loaded.title, [best_of_table(loaded.title, standings)], Format.terminal)
        if figures is not None:
            for file in save(tuning_figures(standings), loaded.name, figures):
                typer.echo(f"drawn: {file}", err=True)
        if out is not None:
            api.write_tuned(suite, standings, out, overrides=overrides)
            typer.echo(f"written: {out}; `benchbench run {out}` trains the winners on fresh seeds", err=True)
    if any(each.winner is None for each in standings):
        raise typer.Exit(EXIT_INCOMPLETE)


def _check_whole(only: Sequence[str], *, synthetic: bool) -> None:
    from benchbench.problems import BadInputError, Problem

    if only:
        raise BadInputError([Problem("is written when all of the suite is tuned: not with --only", file="--out")])
    if synthetic:
        raise BadInputError([Problem("values that made-up data have chosen are not written", file="--out")])


@app.command()
def match(
    suite: SuiteArgument,
    out: Annotated[Path, typer.Option("--out", metavar="FILE.yaml", help="The suite to write.", show_default=False)],
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Write a suite in which all methods train at the same compute, e.g. SAM at half the steps of SGD.

    The epochs of a workload are taken as those of a method that computes one gradient a step; a method whose steps cost
    more gets fewer, in whole epochs. Schedules that count epochs are scaled along. Runs nothing.
    """
    from benchbench import api

    with errors_as_lines():
        loaded = api.load_suite(suite, overrides=overrides, thorough=False)
        api.write_matched(suite, loaded, out, overrides=overrides)
    typer.echo(f"written: {out}", err=True)
