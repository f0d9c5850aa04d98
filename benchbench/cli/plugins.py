"""Commands about optimizers and workloads: list, show, check, new."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer

from benchbench.cli.common import Json, app, errors_as_lines, print_listing


class Listing(StrEnum):
    """What can be listed."""

    optimizers = "optimizers"
    workloads = "workloads"
    suites = "suites"


@app.command("list")
def list_names(
    what: Annotated[Listing, typer.Argument(help="What to list.", show_default=False)], as_json: Json = False
) -> None:
    """List the optimizers, workloads or suites that can be named, and the plugins that are broken."""
    with errors_as_lines():
        rows = _suite_rows() if what is Listing.suites else _plugin_rows(what)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        print_listing(rows)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="An optimizer, a workload or a bundled suite.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Show what is known of an optimizer or a workload: parameters, defaults, documentation, distribution."""
    from dataclasses import asdict

    from benchbench.registry import describe

    with errors_as_lines():
        description = describe(name)
    if as_json:
        typer.echo(json.dumps(asdict(description), indent=2))
        return
    plugin = description.plugin
    typer.echo(f"{plugin.name} ({plugin.kind}): {plugin.target}, from {plugin.distribution} {plugin.version}\n")
    print_listing(
        [
            {
                "parameter": each.name,
                "type": each.type,
                "default": "required" if each.default is None else each.default,
            }
            for each in description.parameters
        ]
    )
    if description.doc:
        typer.echo(f"\n{description.doc}")


def _plugin_rows(what: Listing) -> list[dict[str, str]]:
    from benchbench.plugins import Kind, plugins, status

    kind: Kind = "optimizer" if what is Listing.optimizers else "workload"
    return [
        {
            "name": plugin.name,
            "target": plugin.target,
            "distribution": f"{plugin.distribution} {plugin.version}",
            "status": status(plugin) or "ok",
        }
        for plugin in plugins(kind).values()
    ]


def _suite_rows() -> list[dict[str, str]]:
    from benchbench.problems import BadInputError
    from benchbench.suite import bundled, load

    rows = []
    for name, path in bundled().items():
        try:
            suite = load(path)
            about = {"title": suite.title, "runs": str(len(suite.specs))}
        except BadInputError as error:
            about = {"title": f"broken: {error.problems[0]}", "runs": ""}
        rows.append({"name": name, **about, "file": str(path)})
    return rows
