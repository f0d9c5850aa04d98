"""benchbench: an optimizer-agnostic benchmark harness for PyTorch.

From a notebook or a script:

    import benchbench

    suite = benchbench.load_suite("digits")
    benchbench.run(suite)
    for table in benchbench.report(suite):
        print(table)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchbench.api import load_suite, report, run
    from benchbench.problems import BadInputError

__all__ = ["BadInputError", "load_suite", "report", "run"]


def __getattr__(name: str) -> Any:
    """Load a public name when it is used, so that importing one floor does not load the whole house.

    Raises:
        AttributeError: There is no such name.
    """
    if name not in __all__:
        raise AttributeError(f"module 'benchbench' has no attribute {name!r}")
    from benchbench import api

    return getattr(api, name)
