"""Commands about suites: run, status, collect, plan, prepare, schema."""

from __future__ import annotations

import json
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
    Force,
    Only,
    Overrides,
    RunsDir,
    Slots,
    SuiteArgument,
    Synthetic,
    TrackingUri,
)
from benchbench.cli.output import Format, print_results


@app.command()
def run(
    suite: SuiteArgument,
    only: Only = [],  # noqa: B006 - typer never changes a default
    overrides: Overrides = [],  # noqa: B006
    engine: Engine = EngineName.local,
    slots: Slots = None,
    devices: Devices = None,
    slots_per_device: Annotated[
        int, typer.Option("--slots-per-device", min=1, help="Runs that share a GPU; their times are in no table.")
    ] = 1,
    address: Address = None,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Return once the runs are queued, for --engine slurm; see `collect`.")
    ] = False,
    force: Force = False,
    tracking_uri: TrackingUri = None,
    runs_dir: RunsDir = None,
    data_dir: DataDir = Path("data"),
    synthetic: Synthetic = False,
    as_json: Json = False,
) -> None:
    """Run what is missing of a suite, then print its tables.

    Runs that are finished are not repeated: the same command continues after an interruption. Everything is tracked in
    MLflow; `mlflow ui` in the same folder shows it.
    """
    from benchbench import api
    from benchbench.cli.progress import ProgressDisplay

    with errors_as_lines():
        _check_engine_options(engine, address, no_wait=no_wait)
        warm_up = engine is EngineName.local
        loaded = api.load_suite(
            suite, overrides=overrides, only=only, data=data_dir, synthetic=synthetic, warm_up=warm_up
        )
        with ProgressDisplay() as display:
            rows = api.run(
                loaded,
                engine=engine.value,
                slots=slots,
                devices=[each.strip() for each in devices.split(",")] if devices else (),
                slots_per_device=slots_per_device,
                address=address,
                wait=not no_wait,
                force=force,
                tracking_uri=tracking_uri,
                runs_dir=runs_dir,
                data=data_dir,
                observe=display.show,
                warn=display.warn,
            )
    if no_wait:
        typer.echo(f"`benchbench status {suite}` shows how far they are, `benchbench collect {suite}` their results")
        return
    print_results([loaded], [rows], Format.json if as_json else Format.terminal)
    if not all(row.complete for row in rows):
        raise typer.Exit(EXIT_INCOMPLETE)


def _check_engine_options(engine: EngineName, address: str | None, *, no_wait: bool) -> None:
    from benchbench.problems import BadInputError, Problem

    wrong = []
    if no_wait and engine is not EngineName.slurm:
        wrong.append(Problem("only --engine slurm goes on without this command", file="--no-wait", value=engine.value))
    if address is not None and engine is not EngineName.ray:
        wrong.append(Problem("only --engine ray has an address", file="--address", value=engine.value))
    if wrong:
        raise BadInputError(wrong)


@app.command()
def status(
    suite: SuiteArgument,
    only: Only = [],  # noqa: B006
    overrides: Overrides = [],  # noqa: B006
    tracking_uri: TrackingUri = None,
    runs_dir: RunsDir = None,
    synthetic: Synthetic = False,
    as_json: Json = False,
) -> None:
    """Show how far every run of a suite is: done, queued, running, or to be run. Changes nothing."""
    from collections import Counter

    from benchbench import api

    with errors_as_lines():
        loaded = api.load_suite(suite, overrides=overrides, only=only, synthetic=synthetic, thorough=False)
        lines = api.status(loaded, tracking_uri=tracking_uri, runs_dir=runs_dir)
    if as_json:
        typer.echo(json.dumps(lines, indent=2))
        return
    print_listing(lines)
    counts = Counter(str(line["state"]) for line in lines)
    typer.echo(f"\n{len(lines)} runs: {', '.join(f'{count} {state}' for state, count in counts.items())}")


@app.command()
def collect(
    suite: SuiteArgument,
    only: Only = [],  # noqa: B006
    overrides: Overrides = [],  # noqa: B006
    tracking_uri: TrackingUri = None,
    runs_dir: RunsDir = None,
    synthetic: Synthetic = False,
    as_json: Json = False,
) -> None:
    """Bring runs that were submitted with --no-wait and have ended into MLflow, then print the suite's tables."""
    from benchbench import api
    from benchbench.cli.progress import ProgressDisplay

    with errors_as_lines():
        loaded = api.load_suite(suite, overrides=overrides, only=only, synthetic=synthetic, thorough=False)
        with ProgressDisplay() as display:
            rows = api.collect(loaded, tracking_uri=tracking_uri, runs_dir=runs_dir, observe=display.show)
    print_results([loaded], [rows], Format.json if as_json else Format.terminal)
    if not all(row.complete for row in rows):
        raise typer.Exit(EXIT_INCOMPLETE)


@app.command()
def plan(
    suite: SuiteArgument,
    only: Only = [],  # noqa: B006
    overrides: Overrides = [],  # noqa: B006
    force: Force = False,
    tracking_uri: TrackingUri = None,
    runs_dir: RunsDir = None,
    data_dir: DataDir = Path("data"),
    synthetic: Synthetic = False,
    by_run: Annotated[bool, typer.Option("--runs", help="List the single runs, without estimates.")] = False,
    as_json: Json = False,
) -> None:
    """Show what is to be run of a suite, and about what it costs on this machine. Changes nothing.

    The costs are those of the runs that are left, estimated from single gradients and a small problem: gradients,
    Hessian-vector products (HVPs), floating-point operations and hours on one device. Data may still be missing.
    """
    from benchbench import api
    from benchbench.engines.slots import available_slots
    from benchbench.scheduling import plan_tables as planning

    with errors_as_lines():
        loaded = api.load_suite(suite, overrides=overrides, only=only, data=None, synthetic=synthetic)
        planned = api.plan(loaded, force=force, tracking_uri=tracking_uri, runs_dir=runs_dir)
        missing = api.missing_data(loaded, data=data_dir)
        estimates = {} if by_run else api.estimates(loaded, data=data_dir)
    slots = [slot.name for slot in available_slots()]
    if as_json:
        runs, pairs = planning.runs(planned), planning.pairs(planned, estimates)
        typer.echo(json.dumps({"runs": runs, "estimates": pairs, "slots": slots}, indent=2))
    else:
        print_listing(planning.runs(planned) if by_run else planning.table(planned, estimates))
        typer.echo(f"\n{planning.summary(planned, estimates)}, on {len(slots)} slots: {', '.join(slots)}")
    for problem in missing:
        typer.echo(f"missing data: {problem}", err=True)


@app.command()
def prepare(
    suite: SuiteArgument,
    only: Only = [],  # noqa: B006
    overrides: Overrides = [],  # noqa: B006
    data_dir: DataDir = Path("data"),
) -> None:
    """Download and verify the data of a suite, ahead of its runs."""
    from benchbench import api

    with errors_as_lines():
        loaded = api.load_suite(suite, overrides=overrides, only=only, thorough=False)
        for label in api.prepare(loaded, data=data_dir):
            typer.echo(f"{label}: ready")


@app.command()
def schema(
    results: Annotated[bool, typer.Option("--results", help="The schema of files that `export` writes.")] = False,
) -> None:
    """Print the JSON schema of suite files, for completion and checking in an editor."""
    if results:
        from benchbench.reporting.exchange import json_schema
    else:
        from benchbench.suite import json_schema
    typer.echo(json.dumps(json_schema(), indent=2))
