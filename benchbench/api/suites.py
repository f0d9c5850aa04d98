"""Loading suites, checking them, and getting their data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchbench import suite as suites
from benchbench.api.workspace import HERE, Workspace
from benchbench.problems import BadInputError
from benchbench.values import Suite


def load_suite(
    suite: str | Path,
    *,
    overrides: Sequence[str] = (),
    only: Sequence[str] = (),
    synthetic: bool = False,
    code_from: Path | None = None,
) -> Suite:
    """Read a suite and spell out its runs. Whether they can be run is checked by what runs them.

    Args:
        suite: Path of a YAML file, or the name of a bundled suite.
        overrides: Changes such as `workloads.digits-mlp.epochs=2`.
        only: Selections such as `method=SASSHA,seed=0`.
        synthetic: Make up the data of every workload that can do so; this imports the workloads' code.
        code_from: For a suite by someone else: the one folder whose files it may name as code, next to registered
            plugins. Without it, a suite may name any code.

    Raises:
        BadInputError: The suite cannot be used; carries every problem found.
    """
    loaded = suites.load(suite, overrides=overrides, only=only)
    if code_from is not None:
        loaded = suites.confined(loaded, code_from)
    if synthetic:
        from benchbench.checks import with_synthetic_data

        loaded = with_synthetic_data(loaded)
    return loaded


def as_suite(suite: Suite | str | Path) -> Suite:
    """Return a suite that is loaded already as it is, or else load it."""
    return suite if isinstance(suite, Suite) else load_suite(suite)


def check(suite: Suite, *, workspace: Workspace = HERE, may_be_missing: bool = False) -> None:
    """Check everything about a suite that can be known before its first run starts; this imports its plugins.

    Args:
        suite: The suite.
        workspace: Where data sets are.
        may_be_missing: Accept missing data; a workload that lacks none is tried.

    Raises:
        BadInputError: A run could not be set up; carries every problem found.
    """
    from benchbench.checks import problems

    if found := problems(suite, workspace.data, may_be_missing=may_be_missing):
        raise BadInputError(found)


def prepare(suite: Suite, *, workspace: Workspace = HERE) -> Iterator[str]:
    """Download and verify the data of a suite.

    Args:
        suite: The suite.
        workspace: Where data sets are put.

    Yields:
        The label of each workload, once its data is there.

    Raises:
        BadInputError: A workload or its parameters cannot be used, or data cannot be had.
    """
    from benchbench.checks import prepare as prepare_workloads

    yield from prepare_workloads(suite, workspace.data)
