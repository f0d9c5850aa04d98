"""The distribution that benchbench is installed as; on the public index, `benchbench` is another project."""

from importlib.metadata import version

NAME = "benchbench-harness"


def own_version() -> str:
    """Return the version of benchbench that is installed."""
    return version(NAME)


def installing(extra: str) -> str:
    """Return the command that installs the packages of an optional feature."""
    return f"pip install '{NAME}[{extra}]'"
