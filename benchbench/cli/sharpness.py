"""The command about trained models: sharpness."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from benchbench.cli import completion, options
from benchbench.cli.errors import EXIT_INCOMPLETE
from benchbench.cli.output import print_listing, print_tables
from benchbench.problems import BadInputError, Problem, printable

if TYPE_CHECKING:
    from pydantic import JsonValue

    from benchbench.api import Workspace
    from benchbench.runs.folder import RunFolder
    from benchbench.values import Row, Suite


def sharpness(
    *,
    what: Annotated[
        str,
        typer.Argument(
            metavar="SUITE|RUN",
            help="A YAML file or the name of a bundled suite; or a run's folder, or its key.",
            show_default=False,
            autocompletion=completion.suites,
        ),
    ],
    examples: Annotated[
        int | None,
        typer.Option(
            "--examples",
            metavar="N",
            min=1,
            help="Training examples to measure on.",
            show_default="the suite's, or all",
        ),
    ] = None,
    dtype: Annotated[
        Literal["float32", "float64"] | None,
        typer.Option("--dtype", metavar="NAME", help="float32 or float64.", show_default="the suite's, or float32"),
    ] = None,
    batch_norm: Annotated[
        Literal["eval", "train"] | None,
        typer.Option(
            "--batch-norm",
            metavar="MODE",
            help="Batch norm by running statistics (eval) or by those of each batch (train).",
            show_default="the suite's, or eval",
        ),
    ] = None,
    density: Annotated[bool, typer.Option("--density", help="The density of the spectrum as well.")] = False,
    part: options.Part,
    code_from: options.CodeFrom = None,
    as_json: options.Json = False,
    execution: options.Execution,
    places: options.Places,
) -> None:
    """Measure how sharp the solutions of finished runs are, then print them. Trains nothing.

    Largest eigenvalue and trace of the Hessian, and how much the loss rises nearby, on the training data. What has been
    measured with the same settings is not measured again. A suite says more under `sharpness`.
    """
    from benchbench import api
    from benchbench.cli.progress import ProgressDisplay

    asked: dict[str, JsonValue] = {"examples": examples, "dtype": dtype, "batch_norm": batch_norm}
    changes = {name: value for name, value in asked.items() if value is not None}
    with ProgressDisplay() as display:
        found = api.find_run(what, workspace=places.workspace)
        if found is None:
            loaded = part.load(what, code_from)
        else:
            loaded, folder = found
            places = replace(places, runs_dir=folder.path.parent)
            if part != options.Part() or code_from:
                message = "--only, --set, --synthetic and --code-from are for suites"
                raise BadInputError([Problem(message, value=what)])
        if density and loaded.specs[0].sharpness.density is None:
            changes["density"] = {}
        rows = api.measure(
            loaded,
            changes=changes,
            engine=execution.engine,
            **execution.engine_options(),
            workspace=places.workspace,
            observe=display.show,
            warn=display.warn,
        )
    if found is None:
        _print_suite(loaded, rows, places.workspace, as_json=as_json)
    else:
        _print_run(rows[0], found[1], as_json=as_json)
    _name_what_is_missing(rows)


def _print_suite(suite: Suite, rows: Sequence[Row], workspace: Workspace, *, as_json: bool) -> None:
    from benchbench.reporting.sharpness import sharpness_table

    table = sharpness_table(suite, rows)
    if not as_json:
        print_tables(table.title, [table], "terminal")
        return
    found = [workspace.folder(row.spec.key).sharpness().get(row.spec.sharpness.digest) for row in rows]
    runs = [
        {
            "workload": row.spec.workload_label,
            "method": row.spec.method,
            "seed": row.spec.seed,
            "key": row.spec.key,
            "sharpness": value and value.model_dump(mode="json"),
        }
        for row, value in zip(rows, found, strict=True)
    ]
    typer.echo(json.dumps({"table": table.model_dump(mode="json"), "runs": runs}, indent=2))


def _print_run(row: Row, folder: RunFolder, *, as_json: bool) -> None:
    from benchbench.reporting.sharpness import sharpness_listing

    found = folder.sharpness().get(row.spec.sharpness.digest)
    if found is None or row.result is None:
        return
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
        return
    facts = found.surface
    print_listing(sharpness_listing(found, row.result))
    typer.echo(
        f"\n{facts.examples:,} {found.data}; batches of {-(-facts.examples // facts.batches)} or fewer; "
        f"batch norm: {facts.batch_norm}; {facts.dtype}; {facts.parameters:,} weights"
    )


def _name_what_is_missing(rows: Sequence[Row]) -> None:
    """Print the runs that have no sharpness, each with the reason.

    Raises:
        Exit: There are some.
    """
    incomplete = [row for row in rows if not row.complete]
    for row in incomplete:
        spec = row.spec
        reason = "the run has not finished"
        if row.result and row.result.conclusive:
            reason = row.result.sharpness_missing or "its weights are gone"
        typer.echo(
            printable(f"not measured: {spec.method} · {spec.workload_label} · seed {spec.seed}: {reason}"), err=True
        )
    if incomplete:
        raise typer.Exit(EXIT_INCOMPLETE)
