"""The command that looks at this machine: doctor."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from benchbench.cli import options
from benchbench.cli.errors import EXIT_INCOMPLETE, errors_as_lines

_MARKS = {"ok": "ok     ", "missing": "missing", "broken": "BROKEN "}


def doctor(
    as_json: options.Json = False,
    tracking_uri: options.TrackingUri = None,
    runs_dir: options.RunsDir = None,
    data_dir: options.DataDir = Path("data"),
) -> None:
    """Say what this machine has for benchmarks, what is missing, and how to mend it. Starts and creates nothing.

    What is missing is needed by some suites only; the exit code is 1 if something that is there does not work.
    """
    from dataclasses import asdict

    from benchbench import api
    from benchbench.doctor import Finding, examine
    from benchbench.problems import printable

    findings: list[Finding] = []
    with errors_as_lines():
        for finding in examine(data=data_dir, runs_dir=runs_dir or api.RUNS_DIR, tracking_uri=tracking_uri):
            if not as_json:
                if not findings or findings[-1].part != finding.part:
                    typer.echo(finding.part)
                typer.echo(f"  {_MARKS[finding.state]}  {printable(f'{finding.name}: {finding.found}')}")
                if finding.remedy:
                    typer.echo(f"           -> {printable(finding.remedy)}")
            findings.append(finding)
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(EXIT_INCOMPLETE)
