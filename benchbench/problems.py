"""Problems of an input, in words a user can act on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pydantic import ValidationError

_LONGEST_VALUE = 80


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with an input, printed as one line.

    Attributes:
        message: What is wrong, and what is allowed.
        file: Where the input came from (a path, or the name of an option such as `--set`).
        line: Line in that file, from 1.
        field: Path of the field, such as `methods.SGD.lr`.
        value: The offending value as text.
        nearest: The allowed name that is closest to what was written.
    """

    message: str
    file: str = ""
    line: int | None = None
    field: str = ""
    value: str = ""
    nearest: str | None = None

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line is not None else self.file
        text = ": ".join(part for part in (where, self.field) if part)
        text = f"{text}: {self.message}" if text else self.message
        if self.value:
            text += f" (got {shorten(self.value)})"
        if self.nearest:
            text += f"; did you mean {self.nearest!r}?"
        return printable(text)


@dataclass(frozen=True)
class SourceLocation:
    """Location of a value in an input.

    Attributes:
        file: A path, or the name of an option such as `--set`.
        line: Line in that file, from 1.
        field: Path of the field, such as `workloads.small.epochs`.
    """

    file: str = ""
    line: int | None = None
    field: str = ""

    def problem(self, message: str, value: str = "", nearest: str | None = None) -> Problem:
        """Return a problem with the value that is written here."""
        return Problem(message, self.file, self.line, self.field, value, nearest)


class Find(Protocol):
    """Finds the most specific location of what has a method, a workload and a name, as far as they are given.

    The name is that of a parameter or another key; schedules go by names such as `schedule.lr`.
    """

    def __call__(self, *, method: str = "", workload: str = "", name: str = "") -> SourceLocation:
        """Return the location, which is empty where nothing is known."""


def _unknown(*, method: str = "", workload: str = "", name: str = "") -> SourceLocation:
    return SourceLocation()


@dataclass(frozen=True)
class SourceMap:
    """Locations of the parts of a suite. They are no part of a suite's value: all source maps are equal."""

    find: Find = field(default=_unknown, compare=False)


class BadInputError(ValueError):
    """An input cannot be used; carries every problem found in it.

    Attributes:
        problems: All problems, in the order of the input.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Return the problems without repetitions, in the order of their lines."""
    return sorted(dict.fromkeys(problems), key=lambda problem: problem.line or 0)


def invalid(error: ValidationError, file: str, line: int | None = None) -> list[Problem]:
    """Return what pydantic has found wrong with a file, or with a line of one."""
    return [
        Problem(
            details["msg"],
            file=file,
            line=line,
            field=".".join(map(str, details["loc"])),
            value="" if details["type"] in ("missing", "json_invalid") else shorten(str(details["input"])),
        )
        for details in error.errors()
    ]


def nearest_name(name: str, allowed: Iterable[str]) -> str | None:
    """Return the allowed name closest to `name`, or `None` when nothing is close."""
    matches = difflib.get_close_matches(name, list(allowed), n=1, cutoff=0.6)
    return matches[0] if matches else None


def shorten(text: str) -> str:
    """Return `text` cut to a length that keeps an error message on one line."""
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"


def printable(text: str) -> str:
    """Return `text` on one line, control characters (terminal escapes among them) shown as escapes."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
