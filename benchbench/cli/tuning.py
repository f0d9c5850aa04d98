"""Commands that write suites: tune, match."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchbench.cli import options
from benchbench.cli.errors import EXIT_INCOMPLETE
from benchbench.cli.output import print_listing, print_tables
from benchbench.problems import BadInputError, Problem, printable

if TYPE_CHECKING:
    from benchbench.tuning.study import StudyStatus
    from benchbench.values import Suite


def tune(
    *,
    suite: options.SuiteArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE.yaml", help="Write a suite with the chosen values, ready for `benchbench run`."
        ),
    ] = None,
    report: Annotated[bool, typer.Option("--report", help="Run nothing: show how far the searches are.")] = False,
    figures: Annotated[
        Path | None,
        typer.Option("--figures", metavar="DIR", help="Draw the best of k trials, and trials by hyperparameter."),
    ] = None,
    part: options.Part,
    code_from: options.CodeFrom = None,
    as_json: options.Json = False,
    execution: options.AddressedExecution,
    places: options.Places,
) -> None:
    """Choose the hyperparameters of a suite: the same budget for every method, on data that the result never sees.

    The suite names search spaces (`search`) and a budget (`tuning`). Trials are judged on a held-out part of the
    training data; the best are trained again on other seeds; `--out` writes the winners into a suite, which trains them
    on fresh seeds and reads the test data once. The same command continues after an interruption.
    """
    from benchbench import api
    from benchbench.cli.progress import ProgressDisplay

    execution.check()
    if out is not None and part.only:
        raise BadInputError([Problem("is written when all of the suite is tuned: not with --only", file="--out")])
    if out is not None and part.synthetic:
        raise BadInputError([Problem("values that made-up data have chosen are not written", file="--out")])
    with ProgressDisplay() as display:
        loaded = part.load(suite, code_from)
        statuses = (
            api.tuning_state(loaded, workspace=places.workspace)
            if report
            else api.tune(
                loaded,
                engine=execution.engine,
                **execution.engine_options(),
                workspace=places.workspace,
                observe=display.show,
                warn=display.warn,
            )
        )
    _print_statuses(loaded, statuses, as_json=as_json)
    if figures is not None:
        from benchbench.figures.drawing import save
        from benchbench.figures.tuning import tuning_figures

        for file in save(tuning_figures(statuses), loaded.name, figures):
            typer.echo(f"drawn: {file}", err=True)
    if out is not None:
        api.write_tuned(suite, statuses, out, overrides=part.overrides, warn=_warn)
        typer.echo(f"written: {out}; `benchbench run {out}` trains the winners on fresh seeds", err=True)
    if any(each.winner is None for each in statuses):
        raise typer.Exit(EXIT_INCOMPLETE)


def _print_statuses(suite: Suite, statuses: Sequence[StudyStatus], *, as_json: bool) -> None:
    from benchbench.tuning.best_of import best_of_table, search_robustness_table
    from benchbench.tuning.listing import listing, remarks

    if as_json:
        typer.echo(json.dumps(listing(statuses, plain=True), indent=2))
        return
    print_listing(listing(statuses))
    for remark in remarks(statuses):
        typer.echo(remark)
    typer.echo()
    robustness = search_robustness_table(suite.title, statuses, suite.robust_within)
    print_tables(suite.title, [best_of_table(suite.title, statuses), robustness], "terminal")


def _warn(text: str) -> None:
    typer.echo(f"warning: {printable(text)}", err=True)


def match(
    suite: options.SuiteArgument,
    out: Annotated[Path, typer.Option("--out", metavar="FILE.yaml", help="The suite to write.", show_default=False)],
    overrides: options.Overrides = [],
) -> None:
    """Write a suite in which all methods train at the same compute, e.g. SAM at half the steps of SGD.

    The epochs of a workload are taken as those of a method that computes one gradient a step; a method whose steps cost
    more gets fewer, in whole epochs. Schedules that count epochs are scaled along. Runs nothing.
    """
    from benchbench import api

    loaded = api.load_suite(suite, overrides=overrides)
    api.write_matched(suite, loaded, out, overrides=overrides, warn=_warn)
    typer.echo(f"written: {out}", err=True)
