"""Submissions to a leaderboard: a suite, the files of its runs, and declarations about it."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from benchbench.values import EpochRecord, Frozen, RunResult, Suite

_Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
_Note = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)]


def _check_day(text: str) -> str:
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
        raise ValueError("must be a day such as 2026-01-31")
    datetime.date.fromisoformat(text)
    return text


class Declaration(Frozen):
    """Facts that the numbers do not show.

    Attributes:
        tuning: How the hyperparameters were chosen: what was tried, how often, and on which data.
        by: Who hands the results in.
        contact: How to reach them.
        licence: Terms under which the data may be used.
    """

    tuning: _Words
    by: _Note = ""
    contact: _Note = ""
    licence: _Note = ""


class Manifest(Frozen):
    """The content of a bundle's `manifest.json`.

    Attributes:
        format: Name and version of the form.
        declaration: What is declared about the results.
        date: The day on which the bundle was made.
        software: What it was made with.
        files: SHA-256 sum of every other file of the bundle, by its name there.
    """

    format: Literal["benchbench-bundle/1"] = "benchbench-bundle/1"
    declaration: Declaration
    date: Annotated[str, AfterValidator(_check_day)]
    software: _Note
    files: dict[str, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]]


@dataclass(frozen=True)
class StoredRun:
    """The files of a run.

    Attributes:
        result: How it ended and what it measured.
        records: Its epochs; none where only the result is known.
        log: What its process printed.
        study: Study that it is one of several trials of; `None`: it is a study of its own.
    """

    result: RunResult
    records: tuple[EpochRecord, ...] = ()
    log: str = ""
    study: int | None = None


@dataclass(frozen=True)
class Submission:
    """Results of one suite.

    Attributes:
        name: What tells it from other submissions.
        suite: The suite, every run spelled out.
        runs: What the runs left, by key; runs may be missing.
        manifest: What came with it, or `None` for results that were read from tracking.
        archive: The zip file it was read from, if any.
    """

    name: str
    suite: Suite
    runs: Mapping[str, StoredRun] = field(default_factory=dict)
    manifest: Manifest | None = None
    archive: Path | None = None
