"""What all commands share: the application, exit codes, options, and how errors and listings are printed."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer

EXIT_INCOMPLETE = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130

_FULL = (errno.ENOSPC, errno.EDQUOT)
"""Errors of a disk that takes no more, which name no file."""

app = typer.Typer(
    name="benchbench",
    help="Compare PyTorch optimizers fairly: seeded runs from a YAML suite, exact cost, tables with statistics.",
    epilog="Exit codes: 0 every run has a result, 1 some run broke, 2 bad input, 130 interrupted.",
    no_args_is_help=True,
    rich_markup_mode="markdown",  # joins the lines of a paragraph
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@contextmanager
def errors_as_lines() -> Iterator[None]:
    """Turn the errors that a user can act on into lines on standard error and an exit code."""
    from benchbench.engines import EngineError
    from benchbench.plugins import PluginError
    from benchbench.problems import BadInputError
    from benchbench.scheduling.recorder import TrackingLostError
    from benchbench.tracking import TrackingError

    try:
        yield
    except BadInputError as error:
        for problem in error.problems:
            typer.echo(f"error: {problem}", err=True)
        raise typer.Exit(EXIT_BAD_INPUT) from None
    except TrackingLostError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(EXIT_INCOMPLETE) from None
    except (EngineError, PluginError, TrackingError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(EXIT_BAD_INPUT) from None
    except OSError as error:
        if error.filename is None and error.errno not in _FULL:
            raise
        where = "" if error.filename is None else f"{error.filename}: "
        typer.echo(f"error: {where}{error.strerror}", err=True)
        raise typer.Exit(EXIT_BAD_INPUT) from None
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command runs what is missing", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None


def print_listing(rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows as a plain table, whatever control characters are in them shown as escapes."""
    from tabulate import tabulate

    from benchbench.problems import printable

    texts = [{name: printable(str(value)) for name, value in row.items()} for row in rows]
    typer.echo(tabulate(texts, headers="keys", tablefmt="simple", disable_numparse=True))
