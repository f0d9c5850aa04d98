"""Changes to a suite from the command line: single values (`--set`) and selections (`--only`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from benchbench.problems import BadInputError, Problem, nearest_name
from benchbench.suite import yaml_source
from benchbench.suite.yaml_source import Document, FieldPath, dotted
from benchbench.values import Suite


def apply(document: Document, changes: Sequence[str]) -> list[Problem]:
    """Set values of a document, in place.

    Args:
        document: The document.
        changes: Such as `workloads.small.epochs=2`; the value is YAML.

    Returns:
        What is wrong with the changes.
    """
    problems: list[Problem] = []
    for change in changes:
        try:
            path, text = _split(change, document.data)
            _set(document, path, text)
        except BadInputError as error:
            problems += error.problems
    return problems


def _split(change: str, top: object) -> tuple[FieldPath, str]:
    # A key that has dots in it is recognised where it exists already.
    if any("\ud800" <= char <= "\udfff" for char in change):  # bytes that Python could not decode
        raise BadInputError([_bad(change, "must be UTF-8 text")])
    data: Any = top
    path: FieldPath = ()
    rest = change
    while True:
        indices = range(len(data)) if isinstance(data, list) else ()
        keys = [*data] if isinstance(data, dict) else [str(index) for index in indices]
        known = [key for key in keys if rest.startswith((f"{key}.", f"{key}="))]
        key = max(known, key=len, default=re.split("[.=]", rest, maxsplit=1)[0])
        separator, rest = rest[len(key) : len(key) + 1], rest[len(key) + 1 :]
        path = (*path, int(key) if isinstance(data, list) and known else key)
        if not separator or not key:
            raise BadInputError([_bad(change, "must have the form path.to.key=value")])
        if not known and (separator == "." or not isinstance(data, dict)):
            allowed = f"; allowed: {', '.join(keys)}" if keys else ""
            raise BadInputError([_bad(change, f"there is no {dotted(path)}{allowed}", nearest_name(key, keys))])
        if separator == "=":
            return path, rest
        data = data[path[-1]]


def _set(document: Document, path: FieldPath, text: str) -> None:
    try:
        value = yaml_source.parse(text, "--set", lines=False)
    except BadInputError as error:
        name = dotted(path)
        raise BadInputError([replace(problem, field=name) for problem in error.problems]) from None
    node = document.data
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value.data
    document.changed.append(path)


def _bad(change: str, message: str, nearest: str | None = None) -> Problem:
    return Problem(message, file="--set", value=change, nearest=nearest)


def select(suite: Suite, only: Sequence[str]) -> Suite:
    """Return the part of a suite that was asked for.

    Args:
        suite: The suite.
        only: Selections such as `method=A,workload=small,seed=0`: the same key twice takes both, different
            keys take what fits all. A swept method is taken as a whole by its label in the file.

    Returns:
        The suite with those runs.

    Raises:
        BadInputError: A selection is malformed or names what the suite does not have.
    """
    wanted: dict[str, set[str]] = {}
    problems: list[Problem] = []
    has: dict[str, list[str]] = {
        "method": [method.label for method in suite.methods],
        "workload": list(suite.workloads),
        "seed": [str(seed) for seed in suite.seeds],
    }
    for term in (term for text in only for term in re.split(r",(?=(?:method|workload|seed)=)", text)):
        key, equals, label = term.partition("=")
        if not equals or key not in has:
            message = "must have the form method=LABEL, workload=LABEL or seed=NUMBER"
            problems.append(Problem(message, file="--only", value=term, nearest=nearest_name(key, has)))
            continue
        chosen = [label] if label in has[key] else [each for each in has[key] if each.startswith(f"{label} (")]
        if not chosen:
            message = f"the suite has no such {key}; it has {', '.join(has[key])}"
            nearest = nearest_name(label, has[key])
            problems.append(Problem(message, file="--only", field=key, value=label, nearest=nearest))
        wanted.setdefault(key, set()).update(chosen)
    if problems:
        raise BadInputError(problems)
    return _selected(suite, lambda key, label: key not in wanted or label in wanted[key])


def _selected(suite: Suite, takes: Callable[[str, str], bool]) -> Suite:
    return suite.model_copy(
        update={
            "seeds": tuple(seed for seed in suite.seeds if takes("seed", str(seed))),
            "methods": tuple(method for method in suite.methods if takes("method", method.label)),
            "workloads": tuple(label for label in suite.workloads if takes("workload", label)),
            "targets": {label: target for label, target in suite.targets.items() if takes("workload", label)},
            "held_out": {
                label: base
                for label, base in suite.held_out.items()
                if takes("workload", label) and takes("workload", base)
            },
            "specs": tuple(
                spec
                for spec in suite.specs
                if takes("method", spec.method)
                and takes("workload", spec.workload_label)
                and takes("seed", str(spec.seed))
            ),
        }
    )
