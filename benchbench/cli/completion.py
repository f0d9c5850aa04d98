"""Completion in a shell. Imports neither torch nor the code of a plugin."""

from __future__ import annotations

import os
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchbench.plugins.names import Kind
    from benchbench.values import Suite


def suites(incomplete: str) -> list[str]:
    """Return bundled suites, YAML files and folders that begin with the text."""
    from benchbench.suite import bundled

    return [*(name for name in bundled() if name.startswith(incomplete)), *_yaml_files(incomplete)]


def _yaml_files(incomplete: str) -> list[str]:
    names = []
    folder, _, start = incomplete.rpartition("/")
    entries = Path(folder or ("/" if incomplete.startswith("/") else ".")).glob(f"{escape(start)}*")
    prefix = incomplete[: len(incomplete) - len(start)]
    for entry in sorted(entries):
        if entry.is_dir() and not entry.name.startswith("."):
            names.append(f"{prefix}{entry.name}/")
        elif entry.suffix.lower() in (".yaml", ".yml"):
            names.append(prefix + entry.name)
    return names


def parts(incomplete: str) -> list[str]:
    """Return the selections that can follow in `--only`, from the suite on the command line."""
    before, comma, term = incomplete.rpartition(",")
    # As shells hand the command line over: typer knows no arguments before an option's value.
    words = (os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or "").split()
    suite = next(filter(None, map(_loaded, words)), None)
    if suite is None:
        terms = ["method=", "workload=", "seed="]
    else:
        terms = [f"method={label}" for label in dict.fromkeys(each.base or each.label for each in suite.methods)]
        terms += [f"workload={label}" for label in suite.workloads]
        terms += [f"seed={seed}" for seed in suite.seeds]
    return [before + comma + each for each in terms if each.startswith(term)]


def _loaded(argument: str) -> Suite | None:
    """Return the suite that an argument names, if it does."""
    from benchbench.problems import BadInputError
    from benchbench.suite import load

    try:
        return load(argument)
    except BadInputError:
        return None


def names(incomplete: str) -> list[str]:
    """Return installed optimizers, workloads, models and data sets that begin with the text."""
    from typing import get_args

    from benchbench.plugins.names import Kind

    return sorted({name for kind in get_args(Kind) for name in _offered(kind, incomplete)})


def optimizers(incomplete: str) -> list[str]:
    """Return optimizers of torch and other distributions that begin with the text."""
    return sorted(_offered("optimizer", incomplete))


def publications(incomplete: str) -> list[str]:
    """Return bundled published tables, YAML files and folders that begin with the text."""
    from benchbench.reporting.published import names

    return [*(name for name in names() if name.startswith(incomplete)), *_yaml_files(incomplete)]


def _offered(kind: Kind, incomplete: str) -> set[str]:
    from importlib.metadata import entry_points

    offered = {entry.name for entry in entry_points(group=f"benchbench.{kind}s")}
    known = offered | _of_torch() if kind == "optimizer" else offered
    return {name for name in known if name.startswith(incomplete)}


def _of_torch() -> set[str]:
    """Return the names of torch's own optimizers, from its source: importing it takes seconds."""
    import re
    from importlib.util import find_spec

    torch = find_spec("torch")
    if torch is None or torch.origin is None:
        return set()
    source = Path(torch.origin).with_name("optim") / "__init__.py"
    exported = re.findall(r'^    "([A-Z]\w*)",$', source.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {name.lower() for name in exported} - {"optimizer"}
