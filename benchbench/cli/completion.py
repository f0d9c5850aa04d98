"""What a shell offers after a tab. Nothing here imports torch, or the code of a plugin."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchbench.values import Suite


def suites(incomplete: str) -> list[str]:
    """Return the bundled suites, and the YAML files and folders that begin so."""
    from benchbench.suite import bundled

    names = [name for name in bundled() if name.startswith(incomplete)]
    folder, _, start = incomplete.rpartition("/")
    entries = Path(folder or ("/" if incomplete.startswith("/") else ".")).glob(f"{_literal(start)}*")
    prefix = incomplete[: len(incomplete) - len(start)]
    for entry in sorted(entries):
        if entry.is_dir() and not entry.name.startswith("."):
            names.append(f"{prefix}{entry.name}/")
        elif entry.suffix.lower() in (".yaml", ".yml"):
            names.append(prefix + entry.name)
    return names


def parts(incomplete: str) -> list[str]:
    """Return the selections that can follow in `--only`, from the suite that was named before."""
    before, comma, term = incomplete.rpartition(",")
    suite = next(filter(None, map(_loaded, _words())), None)
    if suite is None:
        terms = ["method=", "workload=", "seed="]
    else:
        terms = [f"method={label}" for label in dict.fromkeys(each.base or each.label for each in suite.methods)]
        terms += [f"workload={label}" for label in suite.workloads]
        terms += [f"seed={seed}" for seed in suite.seeds]
    return [before + comma + each for each in terms if each.startswith(term)]


def _words() -> list[str]:
    """Return the command line so far, as shells hand it over: typer knows no arguments before an option's value."""
    return (os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or "").split()


def _loaded(argument: str) -> Suite | None:
    """Return the suite that an argument names, if it does."""
    from benchbench.problems import BadInputError
    from benchbench.suite import load

    try:
        return load(argument)
    except BadInputError:
        return None


def names(incomplete: str) -> list[str]:
    """Return the optimizers, workloads, models and data sets that distributions offer and that begin so."""
    from importlib.metadata import entry_points
    from typing import get_args

    from benchbench.plugins import Kind

    offered = {entry.name for kind in get_args(Kind) for entry in entry_points(group=f"benchbench.{kind}s")}
    return sorted(name for name in offered if name.startswith(incomplete))


def _literal(text: str) -> str:
    """Return a pattern that matches this text alone."""
    from glob import escape

    return escape(text)
