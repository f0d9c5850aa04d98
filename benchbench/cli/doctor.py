"""The command that looks at this machine: doctor."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

from benchbench.cli import options
from benchbench.cli.errors import EXIT_INCOMPLETE

if TYPE_CHECKING:
    from benchbench.doctor import Finding

_MARKS = {"ok": "ok     ", "missing": "missing", "broken": "BROKEN "}
_INDENT = " " * 11
"""Indentation of what was found, below the mark."""


def doctor(
    *,
    timeout: Annotated[
        int,
        typer.Option(
            metavar="SECONDS", min=1, max=3600, help="How long a plugin, a cluster or the store may take to answer."
        ),
    ] = 20,
    as_json: options.Json = False,
    address: options.Address = None,
    places: options.Places,
) -> None:
    """Say what this machine has for benchmarks, what is missing, and how to mend it. Starts and creates nothing.

    What is missing is needed by some suites only; the exit code is 1 if something that is there does not work.
    """
    from dataclasses import asdict

    from benchbench.doctor import examine

    findings: list[Finding] = []
    where = places.workspace
    for finding in examine(
        data=where.data, runs_dir=where.runs_dir, tracking_uri=where.tracking_uri, address=address, seconds=timeout
    ):
        if not as_json:
            if not findings or findings[-1].part != finding.part:
                typer.echo(finding.part)
            typer.echo(_shown(finding))
        findings.append(finding)
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(EXIT_INCOMPLETE)


def _shown(finding: Finding) -> str:
    from benchbench.problems import printable

    lines = _fitted(f"  {_MARKS[finding.state]}  ", printable(f"{finding.name}: {finding.found}"), _INDENT)
    if finding.remedy:
        lines += _fitted(f"{_INDENT}-> ", printable(finding.remedy), f"{_INDENT}   ")
    return "\n".join(lines)


def _fitted(start: str, text: str, indent: str) -> list[str]:
    """Return the lines of a text; a terminal's width breaks it between words, so that paths can still be copied."""
    if not sys.stdout.isatty():
        return [start + text]
    width = shutil.get_terminal_size().columns
    return textwrap.wrap(
        text, width, initial_indent=start, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
