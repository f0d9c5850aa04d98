"""The command about figures: plot."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from benchbench.cli import options
from benchbench.cli.output import note_missing_store

Currency = Literal["epochs", "steps", "seconds", "gradients", "gc"]


class KindName(StrEnum):  # typer takes no list of literals
    """What a figure is about."""

    curves = "curves"
    histogram = "histogram"
    heatmap = "heatmap"
    sweep = "sweep"
    spectrum = "spectrum"
    pareto = "pareto"
    landscape = "landscape"
    ranks = "ranks"


def plot(
    *,
    suite: options.SuiteArgument,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to write into.", show_default=False)],
    kinds: Annotated[
        list[KindName],
        typer.Option(
            "--kind",
            metavar="NAME",
            help=f"What to draw: {', '.join(KindName)}. Repeatable.",
            show_default="all for which there are data",
        ),
    ] = [],
    metrics: Annotated[
        list[str],
        typer.Option("--metric", metavar="NAME", help="A metric or diagnostic, such as validation/loss. Repeatable."),
    ] = [],
    currency: Annotated[
        Currency | None,
        typer.Option(
            "--x",
            metavar="NAME",
            help="What training is counted in: epochs, steps, seconds, gradients, or gc (gradients in the "
            "unit GC (paper), where a Hessian-vector product counts three).",
            show_default="epochs for curves, gc for cost",
        ),
    ] = None,
    part: options.Part,
    places: options.ResultPlaces,
) -> None:
    """Draw figures of what has been run as PNG, SVG and PDF, and print the names of the files. Runs nothing.

    Methods look the same in all figures of a suite. Runs that diverged are shown as such.
    """
    from benchbench import api
    from benchbench.figures.drawing import save

    loaded = part.load(suite)
    note_missing_store(places.workspace)
    found = api.figures(
        loaded,
        kinds=[kind.value for kind in kinds],
        metrics=metrics,
        currency=currency,
        workspace=places.workspace,
    )
    files = save(found.figures, loaded.name, out)
    for file in files:
        typer.echo(file)
    if found.without_history:
        typer.echo(f"no history in a folder or in tracking: {'; '.join(found.without_history)}", err=True)
