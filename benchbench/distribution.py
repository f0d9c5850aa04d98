"""The distribution that benchbench is installed as; on the public index, `benchbench` is another project."""

from importlib.metadata import version

NAME = "benchbench-harness"


def own_version() -> str:
    """Return the version of benchbench that is installed."""
    return version(NAME)


def installing(extra: str) -> str:
    """Return the command that installs the packages of an optional feature."""
    return f"pip install '{NAME}[{extra}]'"


def git(*arguments: str) -> str | None:
    """Return what git says of the current folder, or `None` outside a repository or without git."""
    import subprocess

    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
