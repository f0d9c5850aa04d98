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
    "BadInputError": "benchbench.problems",
    "Workspace": "benchbench.api",
    "compare": "benchbench.api",
    "export": "benchbench.api",
    "load_suite": "benchbench.api",
    "measure": "benchbench.api",
    "plot": "benchbench.api",
    "report": "benchbench.api",
    "run": "benchbench.api",
    "to_csv": "benchbench.reporting",
    "to_html": "benchbench.reporting",
    "to_latex": "benchbench.reporting",
    "to_markdown": "benchbench.reporting",
    "to_terminal": "benchbench.reporting",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is used, so that importing one room does not load the whole house.

    Raises:
        AttributeError: There is no such name.
    """
    if name not in _HOMES:
        raise AttributeError(f"module 'benchbench' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
