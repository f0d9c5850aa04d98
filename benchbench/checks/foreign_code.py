"""Calling code that is not ours, and saying what went wrong in it."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout

import torch
from pydantic import JsonValue

from benchbench.plugins.names import describe_exception
from benchbench.processes.state import process_state_kept


def called(function: Callable[[], object]) -> tuple[object, str]:
    """Return what foreign code returns, or a description of what it raises.

    The process and its random state stay as they are, warnings are left to the log of the run itself, and what it
    prints goes to standard error, away from tables.

    Raises:
        KeyboardInterrupt: On Ctrl-C.
    """
    with (
        process_state_kept(),
        warnings.catch_warnings(),
        torch.random.fork_rng(devices=[]),
        redirect_stdout(sys.stderr),
    ):
        warnings.simplefilter("ignore")
        try:
            return function(), ""
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - SystemExit included
            return None, describe_exception(error)


def blamed(message: str, given: Mapping[str, JsonValue]) -> str:
    """Return the parameter that a message names, or whose value it shows, or an empty text."""
    for name in sorted(given, key=len, reverse=True):
        if re.search(rf"\b{re.escape(name)}\b", message):
            return name
    # The last word first: "invalid value at index 1: 1.5" is about the 1.5.
    for word in reversed(message.split()):
        for name, value in given.items():
            if any(_shows(word, each) for each in (value if isinstance(value, list) else [value])):
                return name
    return ""


def _shows(word: str, value: JsonValue) -> bool:
    word = word.strip(",;:'\"()[]")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return word == str(value)
    try:
        return float(word) == value
    except ValueError:
        return False
