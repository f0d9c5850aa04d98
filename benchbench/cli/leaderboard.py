"""Commands about leaderboards: build, add, verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchbench.cli import completion, options
from benchbench.cli.errors import EXIT_INCOMPLETE
from benchbench.cli.output import print_listing

Bundle = Annotated[
    Path,
    typer.Argument(
        metavar="FILE.zip", help="What `benchbench export SUITE --bundle FILE.zip` wrote.", show_default=False
    ),
]


def build(
    *,
    results: Annotated[
        list[str],
        typer.Argument(
            metavar="RESULTS",
            help="Bundles, folders that `leaderboard add` made, files of results (.csv, .json), and suites run here.",
            show_default=False,
            autocompletion=completion.suites,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Folder to write: a new one, or a site, which is replaced.",
            show_default=False,
        ),
    ],
    title: Annotated[str, typer.Option("--title", metavar="TEXT", help="Headline of the site.")] = "Leaderboard",
    places: options.ResultPlaces,
) -> None:
    """Write a static site that needs no server and no network. Runs and imports nothing that the results name."""
    from benchbench import api
    from benchbench.leaderboard import site, sources

    workspace = places.workspace
    submissions = sources.read_all(results, lambda suite: api.submission(api.load_suite(suite), workspace=workspace))
    runs = site.build(submissions, out, title)
    typer.echo(f"{out / 'index.html'}: {runs} runs")


def add(
    bundle: Bundle,
    to: Annotated[
        Path,
        typer.Option("--to", metavar="DIR", help="The leaderboard, made if it does not exist.", show_default=False),
    ],
) -> None:
    """Check a bundle (form, sums, every method on every workload with every seed) and copy it into a leaderboard."""
    from benchbench.leaderboard import sources

    typer.echo(sources.add(bundle, to))


def verify(
    bundle: Bundle,
    runs: Annotated[int, typer.Option("--runs", metavar="N", min=1, help="Runs to make again, drawn at random.")] = 2,
    draw: Annotated[
        int | None,
        typer.Option("--draw", metavar="N", min=0, help="Seed of the draw.", show_default="drawn and printed"),
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option(
            "--tolerance",
            metavar="SHARE",
            min=0.0,
            help="Largest difference of a metric, as a share of the claimed value, where hardware or versions differ "
            "(four standard deviations over the claim's seeds, if that is more); else it is 0.",
        ),
    ] = 0.05,
    any_code: Annotated[
        bool, typer.Option("--trust-any-code", help="Import whatever the bundle names: any module, any file.")
    ] = False,
    code_from: options.CodeFrom = None,
    devices: options.Devices = None,
    data_dir: options.DataDir = Path("data"),
) -> None:
    """Run some of a bundle's runs again and compare.

    Its suite may name installed plugins and the files in the folder of --code-from. It is refused, before anything is
    imported, if it names other code.

    The exit code is 1 if a number is not what the bundle claims.
    """
    from benchbench.leaderboard import bundle as bundles
    from benchbench.leaderboard import verify as verifying

    submission = bundles.read(bundle)
    chosen = verifying.draw(submission, runs, draw)
    typer.echo(f"drawn with --draw {chosen.seed}: {len(chosen.specs)} of {len(submission.runs)} runs", err=True)
    names = options.device_names(devices)
    checks = [
        *verifying.verify(submission, chosen.specs, data_dir, tolerance, names, code_from, any_code=any_code),
    ]
    print_listing([check.as_row() for check in checks])
    wrong = sum(not check.holds for check in checks)
    typer.echo(f"\n{len(checks) - wrong} of {len(checks)} numbers are as claimed", err=True)
    if wrong:
        raise typer.Exit(EXIT_INCOMPLETE)
