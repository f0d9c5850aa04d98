"""benchbench: an optimizer-agnostic benchmark harness for PyTorch.

From a notebook or a script:

    import benchbench

    suite = benchbench.load_suite("digits")
    benchbench.run(suite)
    for table in benchbench.report(suite):
        print(benchbench.to_markdown(table))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchbench.api import Workspace, compare, export, load_suite, measure, plot, report, run
    from benchbench.problems import BadInputError
    from benchbench.reporting import to_csv, to_html, to_latex, to_markdown, to_terminal

__all__ = [
    "BadInputError",
    "Workspace",
    "compare",
    "export",
    "load_suite",
    "measure",
    "plot",
    "report",
    "run",
    "to_csv",
    "to_html",
    "to_latex",
    "to_markdown",
    "to_terminal",
]

_HOMES = {
    "benchbench.api": ("Workspace", "compare", "export", "load_suite", "measure", "plot", "report", "run"),
    "benchbench.problems": ("BadInputError",),
    "benchbench.reporting": ("to_csv", "to_html", "to_latex", "to_markdown", "to_terminal"),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that importing one package does not load all of them.

    Raises:
        AttributeError: There is no such name.
    """
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module 'benchbench' has no attribute {name!r}")
