"""Suites: from a YAML file, or the name of a bundled one, to frozen values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import JsonValue

from benchbench.problems import BadInputError, Problem, in_order, nearest_name
from benchbench.suite import changes, yaml_source
from benchbench.suite.changes import select
from benchbench.suite.confinement import confined
from benchbench.suite.expansion import Expansion
from benchbench.suite.keys import json_schema
from benchbench.suite.schema import TABLES
from benchbench.suite.validation import validate
from benchbench.values import Suite

__all__ = ["TABLES", "bundled", "confined", "find", "json_schema", "load", "read", "select", "settings"]


def load(path: str | Path, *, overrides: Sequence[str] = (), only: Sequence[str] = ()) -> Suite:
    """Load a suite file.

    Args:
        path: The file, or the name of a bundled suite.
        overrides: Changes such as `workloads.small.epochs=2`.
        only: Selections such as `method=A,seed=0`, see `select`.

    Returns:
        The suite or its selected part, with every run spelled out.

    Raises:
        BadInputError: The file cannot be used; carries every problem found.
    """
    suite, problems = read(path, overrides=overrides)
    if suite is not None and only:
        try:
            suite = select(suite, only)
        except BadInputError as error:
            problems += error.problems
    if suite is None or problems:
        raise BadInputError(in_order(problems))
    return suite


def read(path: str | Path, *, overrides: Sequence[str] = ()) -> tuple[Suite | None, list[Problem]]:
    """Read as much of a suite file as can be understood.

    Args:
        path: The file, or the name of a bundled suite.
        overrides: Changes such as `workloads.small.epochs=2`.

    Returns:
        The suite and what is wrong with it. Where there are problems, the suite only serves to look for more.
    """
    try:
        file = find(path)
        document = yaml_source.read(file)
    except BadInputError as error:
        return None, list(error.problems)
    problems = changes.apply(document, overrides)
    content, violations = validate(document)
    problems += violations
    if content is None:
        return None, in_order(problems)
    expansion = Expansion(content, document, file.parent)
    suite = expansion.suite()
    return suite, in_order(problems + expansion.problems)


def settings(overrides: Sequence[str]) -> dict[str, JsonValue]:
    """Return values from the command line by name.

    Args:
        overrides: Such as `lr=0.1`; the value is YAML.

    Raises:
        BadInputError: One has another form, or is no YAML.
    """
    document = yaml_source.parse("{}", "--set")
    problems = changes.apply(document, overrides)
    if problems:
        raise BadInputError(problems)
    return dict(document.data)


def bundled() -> dict[str, Path]:
    """Return the suites that come with the package, by name."""
    package = Path(__file__).parent.parent
    # In a wheel they lie in the package; in a checkout, next to it.
    installed = package / "bundled_suites"
    folder = installed if installed.is_dir() else package.parent / "suites"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find(name_or_path: str | Path) -> Path:
    """Return the file of a suite.

    Args:
        name_or_path: A path that ends in `.yaml` or `.yml`, or the name of a bundled suite.

    Returns:
        Its path; whether a file lies there is found out when it is read.

    Raises:
        BadInputError: There is no bundled suite of that name.
    """
    if isinstance(name_or_path, Path) or name_or_path.lower().endswith((".yaml", ".yml")):
        return Path(name_or_path)
    suites = bundled()
    if name_or_path in suites:
        return suites[name_or_path]
    message = f"unknown suite; allowed: a path to a .yaml file, or one of {', '.join(suites)}"
    raise BadInputError([Problem(message, value=name_or_path, nearest=nearest_name(name_or_path, suites))])
