"""Checks a document against the schema of suite files and says in words what is wrong."""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from benchbench.problems import Problem, nearest_name
from benchbench.suite.keys import allowed
from benchbench.suite.schema import MEASUREMENTS, TABLES, SuiteFile
from benchbench.suite.yaml_source import Document, FieldPath
from benchbench.values.schedules import SCHEDULES

_STAND_INS = {"name": "suite", "seeds": [0]}

_WORDS = {
    "missing": "is required",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text (in quotes where it reads as something else)",
    "literal_error": "must be {expected}",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "too_short": "must not be empty",
    "too_long": "must have at most {max_length} entries",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must be a file name: letters and digits, inside also spaces and . _ -",
    "value_error": "{error}",
    "union_tag_invalid": "unknown schedule; allowed: {expected_tags}",
    "union_tag_not_found": f"a schedule needs a name: {', '.join(SCHEDULES)}",
}


def validate(document: Document) -> tuple[SuiteFile | None, list[Problem]]:
    """Check a document against the schema, and spell out its short forms.

    Args:
        document: A document whose top level is a mapping.

    Returns:
        The suite file and its problems. Where there are problems, the file lacks what they are about, so that
        the rest can still be looked at; it is `None` when too little is left.
    """
    document.data = _spelled_out(document.data)
    data = copy.deepcopy(document.data)
    problems = {
        path: document.problem(path, "must be a finite number", value_text(value))
        for path, value in _scalars(data, ())
        if isinstance(value, float) and not math.isfinite(value)
    }
    _remove(data, problems)
    try:
        return _validated(data), list(problems.values())
    except ValidationError as error:
        for details in error.errors():
            if details["type"] == "too_short" and details["input"]:
                continue  # pydantic counts the valid items only, and the others have their own problems
            path = _path(details, data)
            problems.setdefault(path, _problem(document, path, details))
    _remove(data, problems)
    try:
        return _validated(_STAND_INS | data), list(problems.values())
    except ValidationError:
        return None, list(problems.values())


def value_text(value: object) -> str:
    """Return a value as it could stand in the file."""
    return json.dumps(value, ensure_ascii=False)


def _validated(data: dict[str, Any]) -> SuiteFile:
    # JSON has exactly the types that YAML 1.2 has, and here pydantic is strict about them without refusing a
    # list for a tuple or an integer for a float.
    return SuiteFile.model_validate_json(json.dumps(data), strict=True)


def _spelled_out(data: dict[str, Any]) -> dict[str, Any]:
    """Return the data without `x-` keys, `schedule: {name: ...}` written as `schedule: {lr: {name: ...}}`."""
    data = {key: value for key, value in data.items() if not key.startswith("x-")}
    entries = [entry for key in ("defaults", "workloads", "methods") for entry in _mappings(data.get(key))]
    overrides = [override for entry in entries for override in _mappings(entry.get("overrides"))]
    for entry in entries + overrides:
        schedule = entry.get("schedule")
        if isinstance(schedule, dict) and isinstance(schedule.get("name"), str):
            entry["schedule"] = {"lr": schedule}
    return data


def _mappings(value: object) -> list[dict[str, Any]]:
    return [each for each in value.values() if isinstance(each, dict)] if isinstance(value, dict) else []


def _scalars(value: object, path: FieldPath) -> Iterator[tuple[FieldPath, object]]:
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _scalars(item, (*path, key))
    else:
        yield path, value


def _remove(data: dict[str, Any], paths: Iterable[FieldPath]) -> None:
    """Remove what stands at the paths; schedules, sweeps, search spaces and lists as a whole."""
    for path in paths:
        ends = [
            index
            for index, key in enumerate(path)
            if key in ("schedule", "sweep", "search", "tuned", "tuning") or isinstance(key, int)
        ]
        whole = path[: ends[0] + (not isinstance(path[ends[0]], int))] if ends else path
        node: Any = data
        for key in whole[:-1]:
            node = node.get(key, {})
        node.pop(whole[-1], None)


def _path(details: ErrorDetails, top: object) -> FieldPath:
    """Return where an error stands in the data; pydantic's own location also names the members of unions."""
    data: Any = top
    path: list[str | int] = []
    for part in details["loc"]:
        inside = part in data if isinstance(data, dict) else isinstance(data, list) and part in range(len(data))
        if inside:
            path.append(part)
            data = data[part]
    if details["type"] == "missing":
        path.append(details["loc"][-1])
    return tuple(path)


def _problem(document: Document, path: FieldPath, details: ErrorDetails) -> Problem:
    kind, value = details["type"], details["input"]
    context = details.get("ctx", {})
    if kind == "extra_forbidden":
        names = allowed(details["loc"][:-1])
        message = f"unknown key; allowed: {', '.join(names)}"
        return document.problem(path, message, nearest=nearest_name(str(path[-1]), names))
    message = _WORDS[kind].format(**context) if kind in _WORDS else details["msg"]
    if kind == "union_tag_invalid":
        return document.problem(path, message, context["tag"], nearest_name(context["tag"], SCHEDULES))
    names = re.findall("'([^']*)'", context["expected"]) if kind == "literal_error" else []
    if kind == "value_error":
        names = [*{"tables": TABLES, "measure": MEASUREMENTS}.get(str(path[0]), ())]
    text = "" if kind == "missing" else value_text(value)
    return document.problem(path, message, text, nearest_name(str(value), names) if names else None)
