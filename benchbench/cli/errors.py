"""Exit codes, and errors printed as single lines."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import typer

EXIT_INCOMPLETE = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130

_MOST_LINES = 100
"""Most problems of one input that are printed."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
"""Errors of a full disk or quota; they name no file."""


@contextmanager
def errors_as_lines() -> Iterator[None]:
    """Print errors that a user can act on as lines on standard error, and exit."""
    from benchbench.engines import EngineError
    from benchbench.plugins.names import PluginError
    from benchbench.problems import BadInputError
    from benchbench.scheduling.recorder import TrackingLostError
    from benchbench.tracking import TrackingError

    try:
        yield
    except BadInputError as error:
        for problem in error.problems[:_MOST_LINES]:
            typer.echo(f"error: {problem}", err=True)
        if (left := len(error.problems) - _MOST_LINES) > 0:
            typer.echo(f"error: and {left:,} more", err=True)
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
