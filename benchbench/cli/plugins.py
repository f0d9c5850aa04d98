"""Commands about optimizers, workloads, models and data sets: list, show, check, new."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from benchbench.cli import completion, options
from benchbench.cli.errors import EXIT_INCOMPLETE
from benchbench.cli.output import print_listing
from benchbench.problems import printable

if TYPE_CHECKING:
    from benchbench.api.optimizers import ParameterInfo

Listing = Literal["optimizers", "workloads", "models", "datasets", "suites"]

_MOST_NAMES = 4
"""Names of parameters that a role is shown with."""


def list_names(
    what: Annotated[
        Listing, typer.Argument(metavar="WHAT", help=f"One of {', '.join(get_args(Listing))}.", show_default=False)
    ],
    as_json: options.Json = False,
) -> None:
    """List the optimizers, workloads, models, data sets or suites there are, and the plugins that are broken."""
    rows = _suite_rows() if what == "suites" else _plugin_rows(what)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        print_listing(rows)


def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="An optimizer, a workload, a model or a data set; `suite` for the keys of suite files.",
            show_default=False,
            autocompletion=completion.names,
        ),
    ],
    key: Annotated[
        str | None,
        typer.Argument(metavar="[KEY]", help="With `suite`: show what is below a key, such as methods.search."),
    ] = None,
    changes: Annotated[
        list[str],
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Set a parameter of a workload, such as model=resnet20. Repeatable."
        ),
    ] = [],
    as_json: options.Json = False,
    data_dir: options.DataDir = Path("data"),
) -> None:
    """Show the parameters and documentation of an optimizer, a workload, a model or a data set, or the keys of suites.

    Of a workload, it also lists the parameters of its model by their roles, by which optimizers and suites tell them
    apart. A plugin that is called `suite` comes before the keys; `benchbench show suite KEY` shows them all the same.
    """
    from dataclasses import asdict

    if key is not None or (name == "suite" and name not in completion.names(name)):
        from benchbench.problems import BadInputError, Problem
        from benchbench.suite.keys import keys

        if name != "suite":
            raise BadInputError([Problem("a key is one of suite files: `benchbench show suite KEY`", value=key or "")])
        rows = [asdict(each) for each in keys(key or "")]
        if as_json:
            typer.echo(json.dumps(rows, indent=2))
        else:
            print_listing(rows)
        return

    from benchbench.plugins.descriptions import describe

    description = describe(name)
    is_workload = description.plugin.kind == "workload"
    roles: list[ParameterInfo] | str = []
    if is_workload:
        from benchbench import api

        roles = api.model_parameters(name, changes, workspace=api.Workspace(data=data_dir))
    if as_json:
        known = [each._asdict() for each in roles] if isinstance(roles, list) else None
        typer.echo(json.dumps({**asdict(description), **({"model": known} if is_workload else {})}, indent=2))
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
    if isinstance(roles, str):
        typer.echo(f"\nThe parameters of its model are not listed: {printable(roles)}")
    elif roles:
        typer.echo("\nParameters of its model by role:\n")
        print_listing(_role_rows(roles))


def check(
    target: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="An optimizer, a workload or a data set: its name, module:attribute or path/to/file.py:attribute.",
            show_default=False,
            autocompletion=completion.names,
        ),
    ],
    changes: Annotated[
        list[str], typer.Option("--set", metavar="NAME=VALUE", help="Set a parameter, such as lr=0.1. Repeatable.")
    ] = [],
    create_graph: Annotated[
        bool, typer.Option("--create-graph", help="It differentiates gradients itself (as in a suite).")
    ] = False,
    batch_size: Annotated[int, typer.Option(metavar="N", min=1, help="Examples per step of a workload.")] = 32,
    as_json: options.Json = False,
    data_dir: options.DataDir = Path("data"),
) -> None:
    """Check an optimizer, a workload or a data set: a line per promise, exit code 1 if one is broken."""
    from dataclasses import asdict

    from benchbench import api

    found = []
    workspace = api.Workspace(data=data_dir)
    for verdict in api.check_component(
        target, changes, create_graph=create_graph or None, batch_size=batch_size, workspace=workspace
    ):
        found.append(verdict)
        if not as_json:
            reason = f": {verdict.reason}" if verdict.reason else ""
            typer.echo(f"{verdict.grade:<7} {verdict.promise}{reason}")
    if as_json:
        typer.echo(json.dumps([asdict(verdict) for verdict in found], indent=2))
    if any(verdict.grade == "FAIL" for verdict in found):
        raise typer.Exit(EXIT_INCOMPLETE)


def new(
    kind: Annotated[
        Literal["optimizer", "workload"],
        typer.Argument(metavar="KIND", help="optimizer or workload.", show_default=False),
    ],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name, such as sign-descent.", show_default=False)],
    folder: Annotated[
        Path,
        typer.Option(
            "--in", metavar="DIR", help="Where to make the folder of that name.", show_default="the current folder"
        ),
    ] = Path(),
) -> None:
    """Begin a package with an optimizer or a workload of your own: code, test, suite and entry point."""
    from benchbench import scaffold

    made = scaffold.write(kind, name, folder)
    typer.echo(made.next_steps)


def _role_rows(parameters: Sequence[ParameterInfo]) -> list[dict[str, str]]:
    """Return a row per role: how many parameters have it, how many numbers these are, and some of their names."""
    by_role: dict[str, list[ParameterInfo]] = {}
    for each in parameters:
        by_role.setdefault(each.role, []).append(each)
    return [
        {
            "role": role,
            "parameters": str(len(members)),
            "numbers": f"{sum(math.prod(each.shape) for each in members):,}",
            "names": ", ".join(each.name for each in members[:_MOST_NAMES])
            + (f" and {rest} more" if (rest := len(members) - _MOST_NAMES) > 0 else ""),
        }
        for role, members in by_role.items()
    ]


def _plugin_rows(what: Listing) -> list[dict[str, str]]:
    from benchbench.plugins.names import Kind, plugins, status

    kinds: dict[str, Kind] = {f"{kind}s": kind for kind in get_args(Kind)}
    return [
        {
            "name": plugin.name,
            "target": plugin.target,
            "distribution": f"{plugin.distribution} {plugin.version}",
            "status": status(plugin) or "ok",
        }
        for plugin in plugins(kinds[what]).values()
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
