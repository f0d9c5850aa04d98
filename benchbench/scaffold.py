"""The beginnings of a package with an optimizer or a workload: `benchbench new`."""

from __future__ import annotations

import importlib.util
import keyword
import re
from dataclasses import dataclass
from pathlib import Path
from string import Template

from benchbench.distribution import own_version
from benchbench.plugins.names import Kind, plugins
from benchbench.problems import BadInputError, Problem

_SKELETONS = Path(__file__).parent / "skeletons"
_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")


@dataclass(frozen=True)
class Package:
    """A package that has been begun.

    Attributes:
        folder: Where it lies.
        next_steps: What to do with it, as text.
    """

    folder: Path
    next_steps: str


def write(kind: Kind, name: str, parent: Path) -> Package:
    """Write the skeleton of a package into a new folder.

    Args:
        kind: What it offers.
        name: Name of the distribution and of what it offers, such as `sign-descent`.
        parent: Where the folder of that name is made.

    Returns:
        The package.

    Raises:
        BadInputError: The name cannot be used, or the folder exists.
    """
    module = name.replace("-", "_")
    folder = parent / name
    problem = _problem(kind, name, module, folder)
    if problem:
        raise BadInputError([Problem(problem, field="name", value=name)])
    words = {
        "name": name,
        "module": module,
        "class_name": "".join(word.capitalize() for word in module.split("_")),
        "benchbench": own_version(),
    }
    for template in sorted((_SKELETONS / kind).rglob("*.tmpl")):
        path = folder / Template(str(template.relative_to(_SKELETONS / kind))[: -len(".tmpl")]).substitute(words)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Template(template.read_text(encoding="utf-8")).substitute(words), encoding="utf-8")
    return Package(folder, _next_steps(kind, folder, words))


def _problem(kind: Kind, name: str, module: str, folder: Path) -> str | None:
    if not _NAME.fullmatch(name) or keyword.iskeyword(module):
        return "must be small letters and digits, words joined by - or _, and no word of Python's"
    if folder.exists():
        return f"{folder} exists already, and nothing is overwritten"
    if importlib.util.find_spec(module) is not None:
        return f"a module {module} is installed already"
    if name in plugins(kind):
        return f"there is a registered {kind} of that name already"
    return None


def _next_steps(kind: Kind, folder: Path, words: dict[str, str]) -> str:
    files = "\n".join(f"  {path.relative_to(folder)}" for path in sorted(folder.rglob("*")) if path.is_file())
    file = f"{words['module']}/{kind}.py"
    name = words["class_name"] if kind == "optimizer" else kind
    steps = [
        f"cd {folder}",
        f"benchbench check {file}:{name}",
        "python -m pytest",
        "benchbench run suite.yaml",
        "pip install --editable .",
    ]
    lines = "\n".join(f"  {step}" for step in steps)
    return f"{folder}:\n{files}\n\nNext: write {file}, then\n{lines}\n  benchbench list {kind}s"
