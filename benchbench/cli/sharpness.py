"""The command about the solutions that runs have found: sharpness."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchbench.cli.common import EXIT_INCOMPLETE, Json, app, errors_as_lines, print_listing
from benchbench.cli.options import DataDir, EngineName, Only, Overrides, RunsDir, Synthetic, TrackingUri
from benchbench.cli.output import Format, print_tables

if TYPE_CHECKING:
    from pydantic import JsonValue

    from benchbench.runs.folder import RunFolder
    from benchbench.values import Row, Suite


class Dtype(StrEnum):
    """Type that all is computed in."""

    float32 = "float32"
    float64 = "float64"


class BatchNorm(StrEnum):
    """What batch norm normalises by."""

    eval = "eval"
    train = "train"


@app.command()
def sharpness(
    what: Annotated[
        str,
        typer.Argument(
            metavar="SUITE|RUN",
            help="A YAML file or the name of a bundled suite; or a run's folder, or its key.",
            show_default=False,
        ),
    ],
    examples: Annotated[
        int | None, typer.Option(min=1, help="Training examples to measure on.", show_default="the suite's, or all")
    ] = None,
    dtype: Annotated[Dtype | None, typer.Option(help="Type.", show_default="the suite's, or float32")] = None,
    batch_norm: Annotated[
        BatchNorm | None,
        typer.Option(
            "--batch-norm",
            help="Batch norm by running statistics (eval) or by those of each batch.",
            show_default="the suite's, or eval",
        ),
    ] = None,
    density: Annotated[bool, typer.Option("--density", help="The density of the spectrum as well.")] = False,
    only: Only = [],  # noqa: B006 - typer never changes a default
    overrides: Overrides = [],  # noqa: B006
    engine: Annotated[EngineName, typer.Option(help="A process per run, or all in this one.")] = EngineName.local,
    slots: Annotated[
        int | None, typer.Option(min=1, help="Runs at a time.", show_default="one per GPU, or per core")
    ] = None,
    tracking_uri: TrackingUri = None,
    runs_dir: RunsDir = None,
    data_dir: DataDir = Path("data"),
    synthetic: Synthetic = False,
    as_json: Json = False,
) -> None:
    """Measure how sharp the solutions of finished runs are, then print them. Trains nothing.

    Largest eigenvalue and trace of the Hessian, and how much the loss rises nearby, on the training data. What has been
    measured with the same settings is not measured again. A suite says more under `sharpness`.
    """
    from benchbench import api
    from benchbench.cli.progress import ProgressDisplay
    from benchbench.problems import BadInputError, Problem

    changes: dict[str, JsonValue] = {"examples": examples, "dtype": dtype, "batch_norm": batch_norm}
    changes = {name: value for name, value in changes.items() if value is not None}
    with errors_as_lines():
        found = api.find_run(what, runs_dir=runs_dir)
        if found is None:
            warm_up = engine is EngineName.local
            loaded = api.load_suite(
                what, overrides=overrides, only=only, data=data_dir, synthetic=synthetic, warm_up=warm_up
            )
        else:
            loaded = found[0]
            if only or overrides or synthetic:
                raise BadInputError([Problem("--only, --set and --synthetic are for suites", value=what)])
        if density and loaded.specs[0].sharpness.density is None:
            changes["density"] = {}
        with ProgressDisplay() as display:
            rows = api.measure(
                loaded,
                changes=changes,
                engine=engine.value,
                slots=slots,
                tracking_uri=tracking_uri,
                runs_dir=runs_dir if found is None else found[1].path.parent,
                data=data_dir,
                observe=display.show,
            )
    if found is None:
        _print_suite(loaded, rows, runs_dir, as_json=as_json)
    else:
        _print_run(rows[0], found[1], as_json=as_json)
    _name_what_is_missing(rows)


def _print_suite(suite: Suite, rows: Sequence[Row], runs_dir: Path | None, *, as_json: bool) -> None:
    from benchbench import api
    from benchbench.reporting.sharpness import sharpness_table
    from benchbench.runs.folder import RunFolder

    table = sharpness_table(suite, rows)
    if not as_json:
        print_tables(table.title, [table], Format.terminal)
        return
    folders = [RunFolder((runs_dir or api.RUNS_DIR) / row.spec.key) for row in rows]
    runs = [
        {
            "workload": row.spec.workload_label,
            "method": row.spec.method,
            "seed": row.spec.seed,
            "key": row.spec.key,
            "sharpness": None if (value := folder.sharpness()) is None else value.model_dump(mode="json"),
        }
        for row, folder in zip(rows, folders, strict=True)
    ]
    typer.echo(json.dumps({"table": table.model_dump(mode="json"), "runs": runs}, indent=2))


def _print_run(row: Row, folder: RunFolder, *, as_json: bool) -> None:
    from benchbench.reporting.sharpness import sharpness_listing

    found = folder.sharpness()
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
    """Name the runs that have no sharpness, each with the reason.

    Raises:
        Exit: There are some.
    """
    from benchbench.problems import printable

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
