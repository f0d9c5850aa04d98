"""The environment of a run: the machine, and the versions of everything that it imported."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, version

import torch

from benchbench.devices import use
from benchbench.distribution import git, own_version

_OWNERS = packages_distributions()
"""Names of distributions by top-level package, read once by the process that runs are forked from."""


def environment(device: torch.device, concurrent_runs: int, code: dict[str, str]) -> dict[str, str]:
    """Describe where a run was made, as plain text.

    Args:
        device: Where it ran.
        concurrent_runs: The most runs that there were on the device at a time.
        code: The versions of its plugins, whose distributions are named first.
    """
    return {
        "device": use.description(device),
        **use.versions(device),
        "threads": str(torch.get_num_threads()),
        "concurrent_runs": str(concurrent_runs),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": platform.node(),
        "torch": torch.__version__,
        "benchbench": own_version(),
        "packages": _imported([each.partition(" ")[0] for each in code.values()]),
        **_commit(),
    }


def _imported(first: list[str]) -> str:
    """Return the distributions that this process has imported modules of, with their versions."""
    packages = {name.partition(".")[0] for name in list(sys.modules)}
    owners = sorted({owner for package in packages for owner in _OWNERS.get(package, ())}, key=str.lower)
    versions = []
    for owner in dict.fromkeys((*first, *owners)):
        try:
            versions.append(f"{owner} {version(owner)}")
        except PackageNotFoundError:  # code that no distribution brings
            continue
    return ", ".join(versions)


def _commit() -> dict[str, str]:
    """Return the commit of the current folder and whether files differ from it, or nothing outside a repository."""
    commit, changed = git("rev-parse", "HEAD"), git("status", "--porcelain", "--untracked-files=no")
    if commit is None or changed is None:
        return {}
    return {"commit": f"{commit} with uncommitted changes" if changed else commit}
