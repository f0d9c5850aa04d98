"""Commands about suites: run, status, collect, plan, prepare, schema."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchbench.cli import options
from benchbench.cli.errors import EXIT_INCOMPLETE
from benchbench.cli.output import note_missing_store, print_listing, print_results
from benchbench.problems import printable

if TYPE_CHECKING:
    from benchbench.values import Row, Suite


def run(
    *,
    suite: options.SuiteArgument,
    part: options.Part,
    code_from: options.CodeFrom = None,
    force: options.Force = False,
    keep_stale: options.KeepStale = False,
    as_json: options.Json = False,
    execution: options.AddressedExecution,
    no_wait: options.NoWait = False,
    places: options.Places,
) -> None:
    """Run what is missing of a suite, then print its tables.

    Runs that are finished are not repeated: the same command continues after an interruption. Everything is tracked in
    MLflow; `mlflow ui` in the same folder shows it.
    """
    from benchbench import api
    from benchbench.cli.progress import ProgressDisplay

    execution.check(no_wait=no_wait)
    with ProgressDisplay() as display:
        loaded = part.load(suite, code_from)
        rows = api.run(
            loaded,
            engine=execution.engine,
            **execution.engine_options(),
            wait=not no_wait,
            force=force,
            keep_stale=keep_stale,
            workspace=places.workspace,
            observe=display.show,
            warn=display.warn,
        )
    if no_wait:
        typer.echo(f"`benchbench status {suite}` shows how far they are, `benchbench collect {suite}` their results")
    else:
        _print_tables(loaded, rows, as_json=as_json)


def _print_tables(suite: Suite, rows: Sequence[Row], *, as_json: bool) -> None:
    """Print the tables of a suite after its runs.

    Raises:
        Exit: A run of it has no result.
    """
    print_results([suite], [rows], "json" if as_json else "terminal")
    if not all(row.complete for row in rows):
        raise typer.Exit(EXIT_INCOMPLETE)


def status(
    *,
    suite: options.SuiteArgument,
    part: options.Part,
    as_json: options.Json = False,
    places: options.ResultPlaces,
) -> None:
    """Show how far every run of a suite is: done, queued, running, or to be run. Changes nothing."""
    from collections import Counter

    from benchbench import api

    loaded = part.load(suite)
    note_missing_store(places.workspace)
    lines = api.status(loaded, workspace=places.workspace)
    if as_json:
        typer.echo(json.dumps(lines, indent=2))
        return
    print_listing(lines)
    counts = Counter(str(line["state"]) for line in lines)
    typer.echo(f"\n{len(lines)} runs: {', '.join(f'{count} {state}' for state, count in counts.items())}")


def collect(
    *,
    suite: options.SuiteArgument,
    part: options.Part,
    as_json: options.Json = False,
    places: options.ResultPlaces,
) -> None:
    """Bring runs that were submitted with --no-wait and have ended into MLflow, then print the suite's tables."""
    from benchbench import api
    from benchbench.cli.progress import ProgressDisplay

    loaded = part.load(suite)
    with ProgressDisplay() as display:
        rows = api.collect(loaded, workspace=places.workspace, observe=display.show)
    _print_tables(loaded, rows, as_json=as_json)


def plan(
    *,
    suite: options.SuiteArgument,
    by_run: Annotated[bool, typer.Option("--runs", help="List the single runs, without estimates.")] = False,
    part: options.Part,
    code_from: options.CodeFrom = None,
    force: options.Force = False,
    keep_stale: options.KeepStale = False,
    as_json: options.Json = False,
    devices: options.Devices = None,
    places: options.Places,
) -> None:
    """Show what is to be run of a suite, and about what it costs on this machine. Changes nothing.

    The costs are those of the runs that are left, estimated from single gradients and a small problem: gradients,
    Hessian-vector products (HVPs), floating-point operations and hours on one device. Data may still be missing.
    """
    from benchbench import api, checks
    from benchbench.engines.slots import Placement, available_slots
    from benchbench.scheduling import plan_tables as planning

    loaded = part.load(suite, code_from)
    planned = api.plan(loaded, force=force, keep_stale=keep_stale, workspace=places.workspace)
    missing, remarks = checks.missing_data(loaded, places.data_dir), checks.remarks(loaded)
    chosen = options.device_names(devices)
    slots = [slot.name for slot in available_slots(Placement(devices=tuple(chosen)))]
    estimates = {} if by_run else api.estimates(loaded, workspace=places.workspace, devices=chosen)
    if as_json:
        runs, pairs = planning.runs(planned), planning.pairs(planned, estimates)
        typer.echo(json.dumps({"runs": runs, "estimates": pairs, "slots": slots}, indent=2))
    else:
        print_listing(planning.runs(planned) if by_run else planning.table(planned, estimates))
        if lines := planning.part_lines(planned, estimates):
            typer.echo("\n" + "\n".join(map(printable, lines)))
        typer.echo(f"\n{planning.summary(planned, estimates)}, on {len(slots)} slots: {', '.join(slots)}")
    for change in dict.fromkeys(change for item in planned for change in item.changes):
        typer.echo(f"stale results: {printable(change)}", err=True)
    for problem in missing:
        typer.echo(f"missing data: {problem}", err=True)
    for remark in remarks:
        typer.echo(f"warning: {remark}", err=True)
    for line in [line for item in planned if not item.settled for line in item.lost]:
        typer.echo(f"warning: {line}; the run is repeated", err=True)


def prepare(
    suite: options.SuiteArgument,
    only: options.Only = [],
    overrides: options.Overrides = [],
    code_from: options.CodeFrom = None,
    data_dir: options.DataDir = Path("data"),
) -> None:
    """Download and verify the data of a suite, ahead of its runs."""
    from benchbench import api

    loaded = api.load_suite(suite, overrides=overrides, only=only, code_from=code_from)
    for label in api.prepare(loaded, workspace=api.Workspace(data=data_dir)):
        typer.echo(f"{label}: ready")


def schema(
    results: Annotated[bool, typer.Option("--results", help="The schema of files that `export` writes.")] = False,
) -> None:
    """Print the JSON schema of suite files, for completion and checking in an editor."""
    if results:
        from benchbench.reporting.exchange import json_schema
    else:
        from benchbench.suite import json_schema
    typer.echo(json.dumps(json_schema(), indent=2))
