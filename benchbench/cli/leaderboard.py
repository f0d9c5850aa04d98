"""Commands about leaderboards: build, add, verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchbench.cli.common import EXIT_INCOMPLETE, app, errors_as_lines, print_listing
from benchbench.cli.options import DataDir, RunsDir, TrackingUri

board = typer.Typer(
    help="A static site over many submissions, and bundles that can be checked and run again.", no_args_is_help=True
)
app.add_typer(board, name="leaderboard")

Bundle = Annotated[Path, typer.Argument(help="A zip file that `benchbench export SUITE --bundle` wrote.")]


@board.command()
def build(
    results: Annotated[
        list[str],
        typer.Argument(
            metavar="RESULTS...", help="Bundles, folders that `leaderboard add` made, and suites that were run here."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder to write: a new one, or a site, which is replaced.")],
    title: Annotated[str, typer.Option("--title", help="Headline of the site.")] = "Leaderboard",
    tracking_uri: TrackingUri = None,
    runs_dir: RunsDir = None,
) -> None:
    """Write a static site that needs no server and no network. Runs and imports nothing that the results name."""
    from benchbench import api
    from benchbench.leaderboard import site, sources

    with errors_as_lines():
        submissions = sources.read_all(
            results,
            lambda suite: api.submission(
                api.load_suite(suite, thorough=False), tracking_uri=tracking_uri, runs_dir=runs_dir
            ),
        )
        runs = site.build(submissions, out, title)
    typer.echo(f"{out / 'index.html'}: {runs} runs")


@board.command()
def add(
    bundle: Bundle,
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="The leaderboard, made if it does not exist.")],
) -> None:
    """Check a bundle (form, sums, every method on every workload with every seed) and copy it into a leaderboard."""
    from benchbench.leaderboard import sources

    with errors_as_lines():
        kept = sources.add(bundle, to)
    typer.echo(str(kept))


@board.command()
def verify(
    bundle: Bundle,
    runs: Annotated[int, typer.Option("--runs", min=1, help="Runs to make again, drawn at random.")] = 2,
    draw: Annotated[
        int | None, typer.Option("--draw", min=0, help="Seed of the draw.", show_default="drawn and printed")
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option(
            "--tolerance",
            min=0.0,
            help="Largest difference of a metric, as a share of the claimed value, where hardware or versions differ "
            "(four standard deviations over the claim's seeds, if that is more); else it is 0.",
        ),
    ] = 0.05,
    data_dir: DataDir = Path("data"),
) -> None:
    """Run some of a bundle's runs again and compare. RUNS THE CODE that its suite names, if it is installed here.

    The exit code is 1 if a number is not what the bundle claims.
    """
    from benchbench.leaderboard import bundle as bundles
    from benchbench.leaderboard import verify as verifying

    with errors_as_lines():
        submission = bundles.read(bundle)
        chosen = verifying.draw(submission, runs, draw)
        typer.echo(f"drawn with --draw {chosen.seed}: {len(chosen.specs)} of {len(submission.runs)} runs", err=True)
        checks = list(verifying.verify(submission, chosen.specs, data_dir, tolerance))
    print_listing([check.as_row() for check in checks])
    wrong = sum(not check.holds for check in checks)
    typer.echo(f"\n{len(checks) - wrong} of {len(checks)} numbers are as claimed", err=True)
    if wrong:
        raise typer.Exit(EXIT_INCOMPLETE)
